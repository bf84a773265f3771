"""Kubeflow's Terminate hits a step on SageMaker: its job is stopped, however soon the container is gone."""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.emulators.pod_end import DEATHS, SOON, PodProcesses
from tests.emulators.sagemaker import SageMakerEmulator
from tests.engines.sagemaker.test_restarts import finished
from tests.engines.sagemaker.tuning_jobs import CREDENTIALS, OPTIONS, small_search

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("seconds", DEATHS)
def test_tuning_job_is_stopped_though_the_container_is_gone_soon(seconds: float, tmp_path: Path) -> None:
    with SageMakerEmulator(seconds_per_poll=5.0) as emulator:
        options = replace(OPTIONS, endpoint_url=emulator.url, run="pipeline-1/tune")
        document = {"options": options.to_dict(), "search": small_search(trials=500).to_dict()}
        (tmp_path / "search.json").write_text(json.dumps(document))
        command = [sys.executable, "-m", "tests.engines.sagemaker.launcher_process"]
        command += [str(tmp_path / "search.json"), str(tmp_path / "result.json")]
        pod = PodProcesses(command, CREDENTIALS, tmp_path / "log")
        deadline = time.monotonic() + 60
        while not finished(1)([], tmp_path):
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.01)
        asked = pod.terminate(seconds)
        while not emulator.count("StopHyperParameterTuningJob"):
            assert time.monotonic() - asked < 60
            time.sleep(0.002)
        heard = time.monotonic() - asked
        pod.wait()
        (job,) = emulator.service.tuning_jobs.values()
        emulator.clock.skip(3600)
        job.advance(emulator.clock.now())
    print(f"gone after {seconds} s: the stop arrived after {heard:.3f} s")
    assert heard < SOON
    assert job.status == "Stopped"
