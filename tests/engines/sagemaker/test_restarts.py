"""Launchers that are killed, and clouds that fail: exactly one tuning job, and the same result."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kfp_image_tuning.search.result import Trial, TuningResult
from kfp_image_tuning.search.search import Search
from tests.emulators.sagemaker import SageMakerEmulator
from tests.engines.sagemaker.tuning_jobs import CREDENTIALS, OPTIONS, run_on, small_search

pytestmark = pytest.mark.slow

Moment = Callable[[list[str], Path], bool]
"""Whether a moment has come, from the calls of this launcher and the folder of its result."""


def start(emulator: SageMakerEmulator, search: Search, folder: Path) -> subprocess.Popen[str]:
    """Start a launcher."""
    options = replace(OPTIONS, endpoint_url=emulator.url, run="pipeline-1/tune")
    document = {"options": options.to_dict(), "search": search.to_dict()}
    (folder / "search.json").write_text(json.dumps(document))
    command = [sys.executable, "-m", "tests.engines.sagemaker.launcher_process"]
    return subprocess.Popen(
        [*command, str(folder / "search.json"), str(folder / "result.json")],
        env=os.environ | CREDENTIALS,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def comparable(trials: tuple[Trial, ...]) -> list[dict[str, Any]]:
    """What must be the same whoever looked on; times differ from one emulator to the next."""
    left_out = ("started_at", "finished_at")
    return [{name: value for name, value in vars(trial).items() if name not in left_out} for trial in trials]


def called(operation: str) -> Moment:
    return lambda calls, folder: operation in calls


def finished(count: int) -> Moment:
    def reached(calls: list[str], folder: Path) -> bool:
        path = folder / "result.json"
        return path.is_file() and sum(t["status"] != "running" for t in json.loads(path.read_text())["trials"]) >= count

    return reached


MOMENTS: list[tuple[str, Moment]] = [
    ("before the launch", lambda calls, folder: True),
    ("in the launch", called("CreateHyperParameterTuningJob")),
    ("just launched", called("DescribeHyperParameterTuningJob")),
    ("first look", called("ListTrainingJobsForHyperParameterTuningJob")),
    ("first trial ended", finished(1)),
    ("last trial ended", finished(6)),
]


def test_launcher_killed_in_each_phase_attaches_to_its_own_job_and_ends_in_the_same_result(tmp_path: Path) -> None:
    search = small_search()
    with SageMakerEmulator(seconds_per_poll=60.0) as undisturbed:
        expected = run_on(undisturbed, search, tmp_path, run="pipeline-1/tune")
    with SageMakerEmulator(seconds_per_poll=60.0) as emulator:
        for name, moment in MOMENTS:
            launcher = start(emulator, search, tmp_path)
            deadline = time.monotonic() + 60
            before = len(emulator.calls)
            while launcher.poll() is None and not moment([call for call, _ in emulator.calls[before:]], tmp_path):
                assert time.monotonic() < deadline, name
                time.sleep(0.002)
            launcher.send_signal(signal.SIGKILL)
            launcher.wait()
        launcher = start(emulator, search, tmp_path)
        output, _ = launcher.communicate(timeout=120)
        assert launcher.returncode == 0, output
        assert len(emulator.service.tuning_jobs) == 1
        assert len(emulator.service.tags) == 1
    result = TuningResult.load(tmp_path / "result.json")
    assert comparable(result.trials) == comparable(expected.trials)
    assert result.best_trial is not None
    assert result.engine_details["best_model_uri"] == expected.engine_details["best_model_uri"]


def test_sigterm_stops_the_tuning_job_and_keeps_its_result(tmp_path: Path) -> None:
    with SageMakerEmulator(seconds_per_poll=5.0) as emulator:
        launcher = start(emulator, small_search(trials=500), tmp_path)
        deadline = time.monotonic() + 60
        while not finished(1)([], tmp_path):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        launcher.terminate()
        output, _ = launcher.communicate(timeout=120)
        (job,) = emulator.service.tuning_jobs.values()
    assert launcher.returncode == 0, output
    assert job.status == "Stopped"
    result = TuningResult.load(tmp_path / "result.json")
    assert (result.status, result.stop_reason) == ("stopped", "stopped by SIGTERM")
    assert result.best_trial is not None


def test_two_hundred_faults_lose_nothing_and_start_nothing_twice(tmp_path: Path) -> None:
    search = small_search(trials=12)
    with SageMakerEmulator(seconds_per_poll=60.0) as undisturbed:
        expected = run_on(undisturbed, search, tmp_path)
    with SageMakerEmulator(seconds_per_poll=60.0) as emulator:
        kinds = ("throttling", "internal", "unavailable", "reset", "lost_response", "expired_token")
        emulator.faults.scatter(200, kinds, rate=0.5)  # type: ignore[arg-type]
        result = run_on(emulator, search, tmp_path)
        assert len(emulator.faults.injected) == 200
        assert len(emulator.service.tuning_jobs) == 1
        (job,) = emulator.service.tuning_jobs.values()
        assert len(job.jobs) == 12
    assert comparable(result.trials) == comparable(expected.trials)
