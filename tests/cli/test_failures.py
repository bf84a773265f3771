"""Whatever is wrong with files, packages or names: one message and a way out, never a traceback, from every command."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow

EXTRAS = ("torch", "safetensors", "optuna", "kfp", "kubernetes", "boto3", "pyarrow", "mlxtend")
Typed = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def typed(tmp_path: Path) -> Typed:
    """Types a command in a folder with images, a data set, and files that nobody can read."""
    for label, name in enumerate("ab"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(10):
            pixels = np.full((8, 8, 3), 20 * number + label, np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{number}.png")
    (tmp_path / "garbage").write_bytes(bytes(range(256)))
    (tmp_path / "deep.json").write_text('{"a":' * 100_000)
    (tmp_path / "circle.yaml").write_text("a: &a\n  b: *a\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "kubeconfig").write_bytes(b"\xff")

    def type_it(line: str, *, without: tuple[str, ...] = (), stdout: str = "") -> "subprocess.CompletedProcess[str]":
        program = f"import sys\nfor name in {without!r}:\n    sys.modules[name] = None\n"
        program += "from kfp_image_tuning.cli.command_line import main\nsys.exit(main())"
        return subprocess.run(
            [sys.executable, "-c", program, *line.split()],
            stdout=open(stdout, "w") if stdout else subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            cwd=tmp_path,
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "KUBECONFIG": "kubeconfig"},
        )

    return type_it


def error_of(done: "subprocess.CompletedProcess[str]", code: str) -> str:
    """The one message of a command that failed."""
    assert "Traceback" not in done.stderr, done.stderr
    assert f"Error [{code}]: " in done.stderr, done.stderr
    return done.stderr.partition(f"Error [{code}]: ")[2]


@pytest.mark.parametrize("place", ["garbage/out", "/proc/out"])
@pytest.mark.parametrize(
    "command",
    [
        "run --data images",
        "prepare --data images",
        "evaluate --model folder --dataset images",
        "compile",
        "demo",
        "predict --model folder images",
    ],
)
def test_output_that_cannot_be_written(command: str, place: str, typed: Typed) -> None:
    done = typed(f"{command} --output {place}")
    assert done.returncode == 1
    assert error_of(done, "file").count("\n") == 1


@pytest.mark.parametrize(
    ("command", "code", "extra"),
    [
        ("run --data images --output out", "environment", "pipelines,local"),
        ("compile --output out.yaml", "environment", "pipelines"),
        ("install --namespace team", "environment", "katib"),
        ("demo --output out", "environment", "demo"),
        ("prepare --data images.parquet --output out", "environment", "parquet"),
        ("evaluate --model folder --dataset dataset --output out", "environment", "train"),
    ],
)
def test_base_install_names_the_extra(command: str, code: str, extra: str, typed: Typed, tmp_path: Path) -> None:
    (tmp_path / "images.parquet").write_bytes(b"PAR1")
    assert typed("prepare --data images --output dataset", without=EXTRAS).returncode == 0
    done = typed(command, without=EXTRAS)
    assert done.returncode == 1
    assert f"'kfp-image-tuning[{extra}]'" in error_of(done, code)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("compile --output x.yaml --values garbage", "compilation"),
        ("compile --output x.yaml --values circle.yaml", "compilation"),
        ("compile --output x.yaml --values folder", "compilation"),
        ("install --namespace team", "installation"),
        ("plan --data garbage", "dataset"),
        ("plan --data run", "document"),
        ("prepare --data garbage --output out", "dataset"),
        ("report --run run", "document"),
        ("report --run garbage", "run-directory"),
        ("run --resume --output run", "document"),
        ("run --data images --output run2 --baseline garbage", "parameters"),
        ("evaluate --model garbage --dataset run/dataset --output out", "document"),
    ],
)
def test_input_that_cannot_be_read(command: str, code: str, typed: Typed, tmp_path: Path) -> None:
    (tmp_path / "run" / "dataset").mkdir(parents=True)
    for name in ("run.json", "result.json", "dataset/dataset.json"):
        (tmp_path / "run" / name).write_bytes((tmp_path / "deep.json").read_bytes())
    error_of(typed(command), code)


@pytest.mark.parametrize("name", ["garbage", "deep.json", "circle.yaml", "folder", "nowhere"])
@pytest.mark.parametrize("option", ["--search-space", "--katib-options", "--sagemaker-options"])
def test_file_of_an_option_that_cannot_be_read(option: str, name: str, typed: Typed) -> None:
    done = typed(f"plan {option} {name}")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 2
    assert name in done.stderr


def test_names_of_files_do_nothing_to_a_terminal(typed: Typed, tmp_path: Path) -> None:
    (tmp_path / "images" / "a" / "bad\x1b[2J\nError\udcff.png").write_bytes(b"x")
    (tmp_path / "images" / "a").rename(tmp_path / "images" / "a\x1b[31m\x9b")
    refused = typed("prepare --data images --output out --max-invalid-images 0")
    assert r"a\x1b[31m\x9b/bad\x1b[2J\nError\udcff.png" in error_of(refused, "dataset")
    taken = typed("prepare --data images --output o\x1b[0mut")
    assert taken.returncode == 0
    planned = typed("plan --data o\x1b[0mut")
    assert planned.returncode == 0
    assert not any("\x1b" in text or "\x9b" in text for text in (refused.stderr, taken.stdout, planned.stdout))


def test_full_output_is_an_error(typed: Typed) -> None:
    done = typed("plan", stdout="/dev/full")
    assert done.returncode == 1
    assert error_of(done, "disk")
