"""Evaluations that are killed or told to end: one transform job, the same evaluation, no model left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kfp_image_tuning.evaluation.evaluation import Evaluation
from tests.emulators.sagemaker import SageMakerEmulator
from tests.engines.sagemaker.tuning_jobs import CREDENTIALS
from tests.engines.sagemaker_transform.conftest import BUCKET, OPTIONS, Found
from tests.evaluation.digits import write_digits

pytestmark = pytest.mark.slow

Moment = Callable[[list[str], Any], bool]
"""Whether a moment has come, from the calls of this process and the client of S3."""


@pytest.fixture
def emulator(storage_url: str) -> Iterator[SageMakerEmulator]:
    with SageMakerEmulator(storage_url=storage_url, seconds_per_poll=60.0) as running:
        yield running


def start(found: Found, emulator: SageMakerEmulator, folder: Path, poll_seconds: float = 0.1) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    account, arguments = found.component_inputs(folder)
    account["sagemaker_options"] = {**OPTIONS, "poll_seconds": poll_seconds}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.engines.sagemaker_transform.launcher_process",
            json.dumps({"account": account, "arguments": arguments}),
        ],
        env=kept | CREDENTIALS | found.variables(emulator),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def called(operation: str, times: int = 1) -> Moment:
    return lambda calls, storage: calls.count(operation) >= times


def stored(part: str, count: int) -> Moment:
    def reached(calls: list[str], storage: Any) -> bool:
        listed = storage.list_objects_v2(Bucket=BUCKET, Prefix=f"kfp-image-tuning/{part}")
        return bool(listed["KeyCount"] >= count)

    return reached


MOMENTS: list[tuple[str, Moment]] = [
    ("before anything", lambda calls, storage: True),
    ("some images sent", stored("test-images", 5)),
    ("making the model", called("CreateModel")),
    ("launching the job", called("CreateTransformJob")),
    ("following", called("DescribeTransformJob", 2)),
    ("job over", stored("predictions", 30)),
    ("deleting the model", called("DeleteModel")),
]


def comparable(path: Path) -> dict[str, Any]:
    """What must be the same whoever looked on."""
    document = Evaluation.load(path).to_dict()
    return {name: value for name, value in document.items() if name != "throughput"}


def test_evaluation_killed_in_each_phase_goes_on_with_its_own_job_and_ends_in_the_same_evaluation(
    found: Found, emulator: SageMakerEmulator, storage: Any, storage_url: str
) -> None:
    with SageMakerEmulator(storage_url=storage_url, seconds_per_poll=60.0) as undisturbed:
        found.evaluate(undisturbed)
    expected = comparable(found.folder / "evaluation.json")
    for part in ("test-images", "predictions"):
        for entry in storage.list_objects_v2(Bucket=BUCKET, Prefix=f"kfp-image-tuning/{part}")["Contents"]:
            storage.delete_object(Bucket=BUCKET, Key=entry["Key"])
    for name, moment in MOMENTS:
        launcher = start(found, emulator, found.folder / "pod")
        deadline, before = time.monotonic() + 60, len(emulator.calls)
        while launcher.poll() is None and not moment([call for call, _ in emulator.calls[before:]], storage):
            assert time.monotonic() < deadline, name
            time.sleep(0.002)
        launcher.kill()
        launcher.communicate()
    launcher = start(found, emulator, found.folder / "pod")
    output, _ = launcher.communicate(timeout=120)
    assert launcher.returncode == 0, output
    assert comparable(found.folder / "pod" / "evaluation.json") == expected
    assert len(emulator.service.transform_jobs) == 1
    assert emulator.service.models == {}


def test_images_that_fail_are_scored_after_a_restart_as_before(
    found: Found, emulator: SageMakerEmulator, storage: Any
) -> None:
    found.dataset = write_digits(found.folder / "damaged", counts=(60, 20, 30), damaged=2)
    emulator.service.predictor = Picky()
    for moment in (called("DescribeTransformJob"), None):
        launcher = start(found, emulator, found.folder / "pod")
        before = len(emulator.calls)
        while moment and not moment([call for call, _ in emulator.calls[before:]], storage):
            assert launcher.poll() is None
            time.sleep(0.002)
        if moment:
            launcher.kill()
        output, _ = launcher.communicate(timeout=120)
    evaluation = Evaluation.load(found.folder / "pod" / "evaluation.json")
    assert (evaluation.images, evaluation.images_in_split) == (28, 30)
    assert "2 of 30 test images could not be scored" in output
    assert len(emulator.service.transform_jobs) == 1
    assert emulator.service.models == {}


class Picky:
    """Knows no image that is not one."""

    def predict(self, model_uri: str, image: bytes) -> list[float]:
        if not image.startswith((b"\x89PNG", b"\xff\xd8")):
            raise ValueError("no image")
        return [0.91] + [0.01] * 9


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_stops_the_transform_job_at_once_and_deletes_the_model(
    found: Found, emulator: SageMakerEmulator, number: signal.Signals
) -> None:
    emulator.seconds_per_poll = 0.0
    # Stopping does not wait for the next look: that would be in ten minutes.
    launcher = start(found, emulator, found.folder / "pod", poll_seconds=600.0)
    deadline = time.monotonic() + 60
    while emulator.count("DescribeTransformJob") == 0:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    emulator.faults.add("throttling", "StopTransformJob", times=2)
    calls = len(emulator.calls)
    launcher.send_signal(number)
    output, _ = launcher.communicate(timeout=120)
    assert launcher.returncode == 1
    assert (
        f"\nkfp-image-tuning: ERROR engine\nthe evaluation was stopped by {number.name}, and its transform job ic-"
        in output
    )
    (job,) = emulator.service.transform_jobs.values()
    assert job.status == "Stopped"
    assert [call for call, _ in emulator.calls[calls:]] == ["StopTransformJob"] * 3 + ["DeleteModel"]
    assert emulator.service.models == {}


def test_job_that_was_stopped_is_followed_by_a_new_one(found: Found, emulator: SageMakerEmulator) -> None:
    emulator.seconds_per_poll = 0.0
    launcher = start(found, emulator, found.folder / "pod")
    while emulator.count("DescribeTransformJob") == 0:
        time.sleep(0.01)
    launcher.terminate()
    launcher.communicate(timeout=120)
    emulator.seconds_per_poll = 60.0
    launcher = start(found, emulator, found.folder / "pod")
    output, _ = launcher.communicate(timeout=120)
    assert launcher.returncode == 0, output
    assert [job.status for job in emulator.service.transform_jobs.values()] == ["Stopped", "Completed"]
    assert emulator.service.models == {}
