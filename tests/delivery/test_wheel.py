"""The wheel works by itself: installed in an empty environment, outside the checkout, without torch."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def test_wheel_holds_all_packages_and_their_documents(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    wanted = [*(ROOT / "src").rglob("*"), *(ROOT / "components").rglob("*"), *(ROOT / "pipelines").rglob("*")]
    for path in wanted:
        name = path.relative_to(ROOT).as_posix().removeprefix("src/kfp_image_tuning/")
        if "/tests/" in name:
            continue
        if path.suffix in (".py", ".css", ".js", ".sh") or path.name.endswith(".schema.json"):
            assert f"kfp_image_tuning/{name}" in held, f"{name} is not in the wheel"
    assert not [name for name in held if "tests" in name.split("/")]


@pytest.mark.timeout(600)
def test_installed_wheel_answers_and_compiles(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    install = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, "--no-deps", str(wheel)], check=True, cwd=tmp_path)
    program = str(environment / "bin" / "kfp-image-tuning")
    assert (
        "usage:" in subprocess.run([program, "--help"], capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    )

    subprocess.run([*install, f"{wheel}[pipelines]"], check=True, cwd=tmp_path)
    target = tmp_path / "pipeline.yaml"
    done = subprocess.run(
        [program, "compile", "--output", str(target)], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    ours = tmp_path / "ours.yaml"
    here = [sys.executable, "-m", "kfp_image_tuning.cli.command_line", "compile", "--output", str(ours)]
    subprocess.run(here, check=True, capture_output=True)
    assert target.read_bytes() == ours.read_bytes(), "a wheel compiles what the checkout compiles"
