"""Terminate and retry on the stand-in for KFP's backend, with what runs on SageMaker."""

import time
from pathlib import Path

import pytest

from kfp_image_tuning.delivery.compilation import compile_pipeline
from kfp_image_tuning.pipelines.image_tuning import PIPELINES
from tests.emulators.kfp_backend import Backend, Run
from tests.emulators.pod_end import DEATHS, SOON
from tests.emulators.training_jobs import CurveRunner
from tests.pipelines.component_environment import declared_environment
from tests.pipelines.sagemaker_account import BUCKET, ROLE, Account, account, storage_server
from tests.pipelines.small_runs import ONE_THREAD, SMALL_SEARCH, config_maps
from tests.pipelines.terminating import terminate, wait_for_phase

pytestmark = pytest.mark.slow

PARAMETERS = {
    **SMALL_SEARCH,
    "data_images": f"s3://{BUCKET}/digits",
    "tune_role": ROLE,
    "tune_bucket": BUCKET,
    "tune_max_trials": 500,
    "tune_sagemaker_options": {"poll_seconds": 0.2},
}


def terminate_and_hear(backend: Backend, run: Run, used: Account, operation: str) -> float:
    """Terminate; seconds until SageMaker has got a call."""
    before = used.emulator.count(operation)
    asked = time.monotonic()
    backend.terminate(run)
    while used.emulator.count(operation) == before:
        assert time.monotonic() - asked < 60, run.explain()
        time.sleep(0.002)
    heard = time.monotonic() - asked
    terminate(backend, run)
    return heard


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seconds", DEATHS)
def test_jobs_are_stopped_and_a_retry_takes_what_they_had_reached(seconds: float, digits: Path, tmp_path: Path) -> None:
    with storage_server() as (url, storage), account(url, storage, CurveRunner(storage=storage)) as used:
        service = used.emulator.service
        service.transform_seconds = 240.0
        with Backend(
            tmp_path / "backend",
            declared_environment(),
            environment={**ONE_THREAD, **used.variables},
            config_maps=config_maps(),
            death_seconds=seconds,
        ) as backend:
            for file in digits.rglob("*.png"):
                storage.upload_file(str(file), BUCKET, f"digits/{file.relative_to(digits)}")
            run = backend.start(compile_pipeline(PIPELINES["sagemaker"]), PARAMETERS)
            used.emulator.seconds_per_poll = 30.0
            wait_for_phase(run, "sagemaker-tuning", lambda log: "completed (3/500 done)" in log)
            used.emulator.seconds_per_poll = 0.0
            heard = terminate_and_hear(backend, run, used, "StopHyperParameterTuningJob")
            (job,) = service.tuning_jobs.values()
            used.emulator.clock.skip(60)
            job.advance(used.emulator.clock.now())
            assert job.status == "Stopped"
            backend.retry(run)
            wait_for_phase(run, "sagemaker-evaluation", lambda log: used.emulator.count("DescribeTransformJob") > 1)
            heard_next = terminate_and_hear(backend, run, used, "StopTransformJob")
            (transform,) = service.transform_jobs.values()
            assert transform.status == "Stopped"
            used.emulator.seconds_per_poll = 60.0
            backend.retry(run)
            run.wait(300)
            assert run.state == "SUCCEEDED", run.explain()
            assert service.models == {}
            assert len(service.tuning_jobs) == 1
            assert [each.status for each in service.transform_jobs.values()] == ["Stopped", "Completed"]
    print(f"gone after {seconds} s: tuning job told to stop after {heard:.3f} s, transform after {heard_next:.3f} s")
    assert max(heard, heard_next) < SOON
