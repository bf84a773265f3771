"""Kubeflow's Terminate hits an evaluation on SageMaker: its transform job is stopped, however soon the pod is gone."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.emulators.pod_end import DEATHS, SOON, PodProcesses
from tests.emulators.sagemaker import SageMakerEmulator
from tests.engines.sagemaker.tuning_jobs import CREDENTIALS
from tests.engines.sagemaker_transform.conftest import Found

pytestmark = pytest.mark.slow

CASES = [*((seconds, "DescribeTransformJob") for seconds in DEATHS), (DEATHS[0], "CreateTransformJob")]


@pytest.mark.parametrize(("seconds", "moment"), CASES)
def test_transform_job_is_stopped_though_the_container_is_gone_soon(
    seconds: float, moment: str, found: Found, storage_url: str, tmp_path: Path
) -> None:
    with SageMakerEmulator(storage_url=storage_url) as emulator:
        account, arguments = found.component_inputs(tmp_path / "pod")
        account["sagemaker_options"] = {"poll_seconds": 600.0}
        document: dict[str, Any] = {"account": account, "arguments": arguments}
        command = [sys.executable, "-m", "tests.engines.sagemaker_transform.launcher_process", json.dumps(document)]
        pod = PodProcesses(command, {**CREDENTIALS, **found.variables(emulator)}, tmp_path / "log")
        deadline = time.monotonic() + 60
        while not emulator.count(moment):
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.002)
        asked = pod.terminate(seconds)
        while not emulator.count("StopTransformJob"):
            assert time.monotonic() - asked < 60
            time.sleep(0.002)
        heard = time.monotonic() - asked
        pod.wait()
        (job,) = emulator.service.transform_jobs.values()
    print(f"gone after {seconds} s: the stop arrived after {heard:.3f} s")
    assert heard < SOON
    assert job.status == "Stopped"
