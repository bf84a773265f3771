"""However a command ends: on a full disk, when its reader goes, by Ctrl-C: one message at most, and no traceback."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kfp_image_tuning.dataset.document import Dataset
from tests.model.random_model import write_random_model

COMMAND = [sys.executable, "-m", "kfp_image_tuning"]


@pytest.fixture(scope="module")
def place(digits: Path, prepared_digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images, a data set and a model."""
    folder = tmp_path_factory.mktemp("place")
    shutil.copytree(digits, folder / "images")
    shutil.copytree(prepared_digits, folder / "dataset")
    write_random_model(folder / "model", Dataset.load(folder / "dataset"))
    return folder


@pytest.mark.parametrize(
    ("command", "most_bytes"),
    [
        ("prepare --data images --output full-1", 10_000),
        ("run --data images --output full-2", 20_000),
        ("evaluate --model model --dataset dataset --output full-3", 100),
        ("compile --output full-4.yaml", 1_000),
        ("predict --model model images --output full-5", 100),
        ("export --model model --format mxnet --output full-6", 1_000),
    ],
)
def test_full_disk_is_told_as_such(command: str, most_bytes: int, place: Path) -> None:
    done = subprocess.run(
        [*COMMAND, *command.split()],
        capture_output=True,
        text=True,
        check=False,
        cwd=place,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes)),
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Error [disk]: "), done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("command", "first"),
    [
        ("run --data images --output gone-1 --max-trials 1 --epochs 1", "1/3 "),
        ("prepare --data images --output gone-2", "images: 240 images"),
        ("plan --data dataset", "Images: "),
        ("predict --model model images", "images/"),
        ("completion bash", "#"),
        ("export --help", "usage: "),
    ],
)
def test_reader_that_goes_after_the_first_line_is_no_error(command: str, first: str, place: Path) -> None:
    line = f"{' '.join(COMMAND)} {command} | head -n 1"
    done = subprocess.run(line, shell=True, capture_output=True, text=True, check=False, cwd=place)
    assert first in done.stdout
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


def test_interrupted_command_ends_with_one_line(place: Path) -> None:
    """One that waits for its input, as soon as it has loaded what it needs."""
    waiting = subprocess.Popen(
        [*COMMAND, "predict", "--model", "model", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=place,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while "libtorch" not in Path(f"/proc/{waiting.pid}/maps").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(waiting.pid, signal.SIGINT)
    output, error = waiting.communicate(timeout=60)
    assert (waiting.returncode, output, error) == (130, "", "Interrupted.\n")
