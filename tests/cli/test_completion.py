"""Scripts with which shells complete our commands: bash does it for real, others get a script."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "kfp_image_tuning.cli.command_line"]
COMPLETED = """\
source {script}
COMP_WORDS=(kfp-image-tuning {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_found=$(complete -p kfp-image-tuning); _found=${{_found##*-F }}; ${{_found%% *}}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script for bash."""
    path = tmp_path_factory.mktemp("completion") / "completion.bash"
    with path.open("w", encoding="utf-8") as file:
        subprocess.run([*COMMAND, "completion", "bash"], stdout=file, check=True)
    return path


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("pre", {"prepare", "predict"}),
        ("run --max-t", {"--max-trials"}),
        ("run --engine ", {"local", "katib", "sagemaker"}),
        ("run --data x --strategy h", {"hyperband"}),
        ("prepare --data ima", {"images"}),
        ("report --run ima", {"images"}),
        ("compile --js", {"--json"}),
        ("completion z", {"zsh"}),
    ],
)
def test_bash_completes(words: str, found: set[str], script: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    typed = f"{words} ''" if words.endswith(" ") else words
    program = COMPLETED.format(script=script, words=typed)
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert set(done.stdout.split()) == found, done.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_take_their_scripts(shell: str) -> None:
    done = subprocess.run([*COMMAND, "completion", shell], capture_output=True, text=True, check=True)
    assert "--max-trials" in done.stdout.replace("-l max-trials", "--max-trials")
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=done.stdout, text=True, check=True)


def test_unknown_shells_are_refused() -> None:
    done = subprocess.run([*COMMAND, "completion", "csh"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "bash, zsh, fish" in done.stderr
