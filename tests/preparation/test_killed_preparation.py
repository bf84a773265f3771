"""What is on the disk after a preparation was killed, ran out of disk, or was joined by another."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kfp_image_tuning.core.errors import DatasetError, NetworkError
from kfp_image_tuning.dataset.document import Dataset
from kfp_image_tuning.preparation.preparation import prepare_dataset
from kfp_image_tuning.preparation.workspace import Workspace
from tests.preparation.corpus import make_folder, silent, snapshot

# Stops for good when it comes to a function, so that the test can kill it there.
PROGRAM = """
import sys, time, importlib
from pathlib import Path
from kfp_image_tuning.preparation import preparation
data, output, module, name, calls, workers = sys.argv[1:]
owner = importlib.import_module("kfp_image_tuning." + module)
if "." in name:
    owner, name = getattr(owner, name.split(".")[0]), name.split(".")[1]
original, left = getattr(owner, name), [int(calls)]
def stop(*arguments, **options):
    left[0] -= 1
    if left[0] < 0:
        print("reached", flush=True)
        time.sleep(600)
    return original(*arguments, **options)
setattr(owner, name, stop)
preparation.prepare_dataset(data, Path(output), workers=int(workers), progress=lambda line: None)
"""
JOB = "preparation.job"

STAGES = {
    "before the images are looked at": (JOB, "scan_images", 0, 1),
    "while images are converted": (JOB, "convert_images", 1, 1),
    "while workers convert images": (JOB, "identify_pixels", 0, 2),
    "while the splits are written": (JOB, "write_split", 1, 1),
    "before dataset.json": ("dataset.document", "Dataset.save", 0, 1),
    "before the data set appears": ("preparation.workspace", "Workspace.publish", 0, 1),
}


@pytest.mark.parametrize(("module", "name", "calls", "workers"), STAGES.values(), ids=STAGES)
def test_killed_preparation_leaves_no_data_set_and_the_next_one_is_whole(
    tmp_path: Path, module: str, name: str, calls: int, workers: int
) -> None:
    folder, output = make_folder(tmp_path / "data", count=30), tmp_path / "out"
    command = [sys.executable, "-c", PROGRAM, str(folder), str(output), module, name, str(calls), str(workers)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "reached\n"
        children = child_processes(process.pid)
        assert len(children) >= (workers if workers > 1 else 0)
        with pytest.raises(DatasetError, match="another preparation is writing it"):
            prepare_dataset(str(folder), output, progress=silent)
        process.send_signal(signal.SIGKILL)
    wait_for_end(children)
    assert not output.exists()
    with pytest.raises(DatasetError):
        Dataset.load(output)
    assert (tmp_path / ".out.partial").is_dir()

    prepare_dataset(str(folder), output, workers=1, progress=silent).verify()
    prepare_dataset(str(folder), tmp_path / "undisturbed", workers=1, progress=silent)
    assert snapshot(output) == snapshot(tmp_path / "undisturbed")
    assert sorted(os.listdir(tmp_path)) == ["data", "out", "undisturbed"]


def child_processes(parent: int) -> list[int]:
    return [int(line) for line in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def wait_for_end(processes: list[int]) -> None:
    """Workers go by themselves when their parent is killed."""
    end = time.monotonic() + 60
    while any(is_running(process) for process in processes):
        assert time.monotonic() < end, "workers outlive their parent"
        time.sleep(0.05)


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("limit", [20_000, 60_000])
@pytest.mark.parametrize("workers", [1, 2])
def test_full_disk_is_one_clear_error_and_leaves_nothing(tmp_path: Path, limit: int, workers: int) -> None:
    folder = make_folder(tmp_path / "data", count=60)
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from kfp_image_tuning.preparation.preparation import prepare_dataset\n"
        "from kfp_image_tuning.core.errors import DiskError\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "try:\n"
        f"    prepare_dataset(sys.argv[1], Path(sys.argv[2]), workers={workers}, progress=lambda line: None)\n"
        "except DiskError as error:\n"
        "    print(error)\n"
    )
    command = [sys.executable, "-c", program, str(folder), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "the disk is full (File too large), so no data set was written and nothing is left behind" in done.stdout
    assert len(done.stdout.splitlines()) == 1
    assert os.listdir(tmp_path) == ["data"]


def test_killed_worker_is_an_error(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data", count=30)
    program = (
        "import os, signal, sys, threading, time\n"
        "from pathlib import Path\n"
        "from kfp_image_tuning.preparation import job, preparation\n"
        "from kfp_image_tuning.core.errors import DatasetError\n"
        "def kill(*arguments):\n"
        "    for child in Path(f'/proc/{os.getpid()}/task/{os.getpid()}/children').read_text().split():\n"
        "        if b'spawn_main' in Path(f'/proc/{child}/cmdline').read_bytes():\n"
        "            os.kill(int(child), signal.SIGKILL)\n"
        "    return original(*arguments)\n"
        "original, job.identify_pixels = job.identify_pixels, kill\n"
        "preparation.Workers.count = property(lambda self: 2, lambda self, count: None)\n"
        "try:\n"
        "    preparation.prepare_dataset(sys.argv[1], Path(sys.argv[2]), workers=2, progress=lambda line: None)\n"
        "except DatasetError as error:\n"
        "    print(error)\n"
    )
    for number in range(3):
        (folder / f"cat/copy{number}.jpg").write_bytes((folder / "cat/000.jpg").read_bytes())
    command = [sys.executable, "-c", program, str(folder), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "a worker process was killed while it prepared images" in done.stdout
    assert os.listdir(tmp_path) == ["data"]


def test_older_data_set_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    folder, output = make_folder(tmp_path / "data"), tmp_path / "out"
    prepare_dataset(str(folder), output, workers=1, progress=silent)
    before = snapshot(output)
    (folder / "cat/bad.jpg").write_bytes(b"bad")
    with pytest.raises(DatasetError):
        prepare_dataset(str(folder), output, max_invalid_images=0, workers=1, progress=silent)
    assert snapshot(output) == before
    prepare_dataset(str(folder), output, max_invalid_images=1, workers=1, progress=silent)
    assert snapshot(output) != before


def test_workspace_keeps_downloads_after_a_failure(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match="ConnectionResetError"):
        fail_after_half_a_download(tmp_path / "out")
    with Workspace(tmp_path / "out") as workspace:
        assert (workspace.downloads / "half").read_bytes() == b"half"
    assert os.listdir(tmp_path) == []


def fail_after_half_a_download(output: Path) -> None:
    with Workspace(output) as workspace:
        workspace.downloads.mkdir()
        (workspace.downloads / "half").write_bytes(b"half")
        raise ConnectionResetError


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    small = make_folder(tmp_path / "small", ["a", "b"], 250, 64, 64)
    large = tmp_path / "large"
    for path in small.rglob("*.jpg"):
        for copy in range(10):
            target = large / path.parent.name / f"{path.stem}-{copy}.jpg"
            target.parent.mkdir(parents=True, exist_ok=True)
            data = path.read_bytes()
            # Other pixels at a place that the checksum-free JPEG does not mind: the quantisation table.
            target.write_bytes(data[:25] + bytes([data[25] + copy]) + data[26:])
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from kfp_image_tuning.preparation.preparation import prepare_dataset\n"
        "options = {'image_shape': (3, 48, 48), 'workers': 2, 'progress': lambda line: None}\n"
        "prepare_dataset(sys.argv[1], Path(sys.argv[2]), **options)\n"
        "print(sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))\n"
    )
    peaks = []
    for folder in (small, large):
        command = [sys.executable, "-c", program, str(folder), str(tmp_path / f"{folder.name}-out")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout) * 1024)
    # 4,500 more images are 55 MB of pixels and 8 MB of records.
    assert peaks[1] - peaks[0] < 12 << 20, f"peak grew from {peaks[0]:,} to {peaks[1]:,} bytes"


def test_a_script_that_each_worker_would_run_again_is_told_what_it_lacks(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data", count=30)
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "from kfp_image_tuning.preparation.preparation import prepare_dataset\n"
        "prepare_dataset(sys.argv[1], Path(sys.argv[2]), workers=2, progress=lambda line: None)\n"
    )
    command = [sys.executable, str(script), str(folder), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if "DatasetError:" in line]
    assert errors
    for line in errors:
        assert '`if __name__ == "__main__":`' in line
