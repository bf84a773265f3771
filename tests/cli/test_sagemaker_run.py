"""``kfp-image-tuning run --engine sagemaker`` as a whole: images, S3, tuning job, transform job, report."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from kfp_image_tuning.evaluation.evaluation import Evaluation
from kfp_image_tuning.search.result import TuningResult
from tests.emulators.real_training import TrainedPredictor, TrainingRunner
from tests.emulators.training_jobs import CurveRunner
from tests.pipelines.sagemaker_account import BUCKET, ROLE, Account, account, storage_server

pytestmark = pytest.mark.slow

Words = list[str | Path]
COMMAND = [sys.executable, "-m", "kfp_image_tuning.cli.command_line"]
SPACE = {"optimizer": "sgd", "mini_batch_size": 16, "momentum": 0.9, "learning_rate": {"min": 0.05, "max": 0.2}}
ENGINE = ["--engine", "sagemaker", "--role", ROLE, "--sagemaker-options", '{"poll_seconds": 0.3}']
SEARCH = ["--test-fraction", "0.2", "--search-space", json.dumps(SPACE)]


def start(account: Account, *arguments: str | Path) -> "subprocess.Popen[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        env=kept | account.variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(account: Account, *arguments: str | Path) -> str:
    process = start(account, *arguments)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


@pytest.fixture(scope="module")
def storage() -> Iterator[tuple[str, Any]]:
    with storage_server() as server:
        yield server


@pytest.fixture(scope="module")
def finished(
    digits: Path, storage: tuple[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, str, Account]]:
    """A run whose trials have trained, what it printed, and the account that it ran in."""
    folder = tmp_path_factory.mktemp("sagemaker")
    runner, predictor = TrainingRunner(storage[1], folder / "containers"), TrainedPredictor(storage[1])
    with account(*storage, runner, predictor) as used:
        arguments: Words = [
            "--data",
            digits,
            "--bucket",
            BUCKET,
            "--max-trials",
            "2",
            "--epochs",
            "4",
            "--min-accuracy",
            "0.6",
        ]
        output = run(used, "run", *ENGINE, *SEARCH, *arguments, "--output", folder / "run")
        yield folder / "run", output, used


def test_best_model_is_trained_on_sagemaker_and_measured_by_a_transform_job(
    finished: tuple[Path, str, Account],
) -> None:
    folder, output, used = finished
    result, evaluation = TuningResult.load(folder / "result.json"), Evaluation.load(folder / "evaluation.json")
    (job,) = used.emulator.service.tuning_jobs.values()
    assert {trial.name for trial in result.trials} == {training_job.name for training_job in job.jobs}
    best = result.best_trial
    assert best is not None
    assert evaluation.selection is not None
    assert evaluation.selection.trial == best.name
    assert evaluation.accuracy > 0.6
    assert (evaluation.coverage, evaluation.throughput.device) == (1.0, "ml.m5.xlarge")
    assert len(used.emulator.service.transform_jobs) == 1
    assert used.emulator.service.models == {}
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert best.name in page
    assert "digit-3" in page
    assert [path.name for path in (folder / "model").iterdir()] == ["model.tar.gz"]
    for heading in ("1/3 Preparing images", "2/3 Searching hyperparameters", "3/3 Evaluating the best model"):
        assert heading in output
    assert "#/hyper-tuning-jobs/ic-" in output
    assert "the model: model.tar.gz" in output
    assert f"kfp-image-tuning run --data {job_source(result)}" in output
    assert "--engine sagemaker" in evaluation.reproduction_command
    assert f"--role {ROLE} --bucket {BUCKET}" in evaluation.reproduction_command


def job_source(result: TuningResult) -> str:
    words = result.reproduction_command.split()
    return words[words.index("--data") + 1]


def test_repeated_run_starts_nothing_and_comes_to_the_same(finished: tuple[Path, str, Account]) -> None:
    folder, _, used = finished
    before = json.loads((folder / "evaluation.json").read_text())["right_answers"]
    output = run(used, "run", "--resume", "--output", folder)
    assert len(used.emulator.service.tuning_jobs) == len(used.emulator.service.transform_jobs) == 1
    assert "was there already" in output
    assert json.loads((folder / "evaluation.json").read_text())["right_answers"] == before


def test_offline_evaluation_measures_the_same_model_without_sagemaker(finished: tuple[Path, str, Account]) -> None:
    folder, _, used = finished
    by_transform = Evaluation.load(folder / "evaluation.json")
    calls = len(used.emulator.calls)
    run(used, "run", "--resume", "--output", folder, "--evaluate", "offline")
    offline = Evaluation.load(folder / "evaluation.json")
    assert offline.throughput.device == "cpu"
    assert offline.right_answers == by_transform.right_answers
    assert not {call for call, _ in used.emulator.calls[calls:]} & {"CreateModel", "CreateTransformJob"}


def test_plan_prints_the_request_that_a_run_would_send_and_spends_nothing(
    finished: tuple[Path, str, Account], digits: Path
) -> None:
    folder, _, used = finished
    (job,) = used.emulator.service.tuning_jobs.values()
    shared = ["plan", *ENGINE, "--max-trials", "2", "--epochs", "4", "--search-space", json.dumps(SPACE)]
    calls = len(used.emulator.calls)
    prepared = f"s3://{BUCKET}/" + next(
        entry["Key"].rpartition("/")[0]
        for entry in used.storage.list_objects_v2(Bucket=BUCKET)["Contents"]
        if entry["Key"].endswith("/dataset.json")
    )
    for data in (["--data", prepared], ["--data", folder, "--bucket", BUCKET],
                 ["--data", digits, "--bucket", BUCKET, "--test-fraction", "0.2"]):  # fmt: skip
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        done = subprocess.run(
            [*COMMAND, *shared, *map(str, data)],
            env=kept | used.variables, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        request = json.loads(done.stdout)
        assert without_identity(request) == without_identity(job.request)
        assert "Cost: at most 12.0 instance-hours of ml.g4dn.xlarge" in done.stderr
    assert len(used.emulator.calls) == calls


def test_data_set_in_the_bucket_is_used_where_it_is(
    finished: tuple[Path, str, Account], storage: tuple[str, Any], tmp_path: Path
) -> None:
    for path in (finished[0] / "dataset").rglob("*.*"):
        storage[1].upload_file(str(path), BUCKET, f"mine/{path.relative_to(finished[0] / 'dataset')}")
    with account(*storage, CurveRunner(storage=storage[1]), seconds_per_poll=600.0) as used:
        arguments: Words = [
            "--data",
            f"s3://{BUCKET}/mine",
            "--max-trials",
            "3",
            "--epochs",
            "2",
            "--output",
            tmp_path / "run",
        ]
        output = run(used, "run", *ENGINE, *arguments)
        (job,) = used.emulator.service.tuning_jobs.values()
    sources = {
        channel["DataSource"]["S3DataSource"]["S3Uri"]
        for definition in job.request["TrainingJobDefinitions"]
        for channel in definition["InputDataConfig"]
    }
    assert sources == {f"s3://{BUCKET}/mine/train/train.rec", f"s3://{BUCKET}/mine/validation/validation.rec"}
    assert "Prepared already" in output
    assert "MB sent" not in output


def without_identity(request: Mapping[str, Any]) -> dict[str, Any]:
    """A request without what names its run."""
    return {name: value for name, value in request.items() if name not in ("HyperParameterTuningJobName", "Tags")}


Moment = Callable[[list[str], Any], bool]
"""Whether a moment has come, from the calls of this process and the client of S3."""


def called(operation: str, times: int = 1) -> Moment:
    return lambda calls, storage: calls.count(operation) >= times


def stored(part: str, count: int = 1) -> Moment:
    def reached(calls: list[str], storage: Any) -> bool:
        listed = storage.list_objects_v2(Bucket=BUCKET, Prefix=f"killed/{part}")
        return bool(listed["KeyCount"] >= count)

    return reached


MOMENTS: list[tuple[str, Moment]] = [
    ("data set on its way", stored("datasets")),
    ("launching", called("CreateHyperParameterTuningJob")),
    ("following", called("ListTrainingJobsForHyperParameterTuningJob", 3)),
    ("test images on their way", stored("test-images", 3)),
    ("launching the transform", called("CreateTransformJob")),
    ("deleting the model", called("DeleteModel")),
]


@pytest.mark.timeout(900)
def test_pipeline_killed_in_each_phase_goes_on_with_its_own_jobs_to_the_same_result(
    digits: Path, storage: tuple[str, Any], tmp_path: Path
) -> None:
    def place() -> Any:
        return account(*storage, CurveRunner(storage=storage[1]), seconds_per_poll=60.0)

    whole: Words = ["--data", digits, "--bucket", f"{BUCKET}/killed", "--max-trials", "5", "--epochs", "3"]
    with place() as used:
        arguments: Words = ["run", *ENGINE, *SEARCH, *whole, "--output", tmp_path / "killed"]
        for name, moment in MOMENTS:
            process, before = start(used, *arguments), len(used.emulator.calls)
            deadline = time.monotonic() + 120
            while process.poll() is None and not moment([c for c, _ in used.emulator.calls[before:]], used.storage):
                assert time.monotonic() < deadline, name
                time.sleep(0.002)
            kill_all(process)
            arguments = ["run", "--resume", "--output", tmp_path / "killed"]
        run(used, *arguments)
        assert len(used.emulator.service.tuning_jobs) == len(used.emulator.service.transform_jobs) == 1
        assert used.emulator.service.models == {}
        (stopped,) = used.emulator.service.tuning_jobs.values()
        assert stopped.status == "Completed"
    # The same run in a world where nothing happens to it.
    (tmp_path / "undisturbed").mkdir()
    shutil.copy(tmp_path / "killed/run.json", tmp_path / "undisturbed")
    with place() as used:
        run(used, "run", "--resume", "--output", tmp_path / "undisturbed")
    results = [TuningResult.load(tmp_path / name / "result.json") for name in ("killed", "undisturbed")]
    trials = [
        [(t.name, t.status, t.hyperparameters, t.objective, t.history) for t in result.trials] for result in results
    ]
    assert trials[0] == trials[1]
    evaluations = [Evaluation.load(tmp_path / name / "evaluation.json") for name in ("killed", "undisturbed")]
    assert evaluations[0].scores == evaluations[1].scores
    assert evaluations[0].right_answers == evaluations[1].right_answers


def kill_all(process: "subprocess.Popen[str]") -> None:
    """End a run as a machine does that goes down: no process of it says good-bye."""
    # It may have ended a moment ago.
    with suppress(FileNotFoundError):
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            with suppress(ProcessLookupError):
                os.killpg(int(child), signal.SIGKILL)
    process.kill()
    process.communicate()


def test_killed_command_leaves_its_tuning_job_to_the_next(
    digits: Path, storage: tuple[str, Any], tmp_path: Path
) -> None:
    with account(*storage, CurveRunner(storage=storage[1]), seconds_per_poll=20.0) as used:
        arguments: Words = ["--data", digits, "--bucket", BUCKET, "--max-trials", "5", "--epochs", "3"]
        process = start(used, "run", *ENGINE, *SEARCH, *arguments, "--output", tmp_path / "run")
        deadline = time.monotonic() + 120
        while "ListTrainingJobsForHyperParameterTuningJob" not in [call for call, _ in used.emulator.calls]:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
        process.communicate(timeout=120)
        run(used, "run", "--resume", "--output", tmp_path / "run")
        assert "StopHyperParameterTuningJob" not in [call for call, _ in used.emulator.calls]
        (job,) = used.emulator.service.tuning_jobs.values()
        assert job.status == "Completed"


def test_stopped_run_stops_its_tuning_job_and_says_what_became_of_it(
    digits: Path, storage: tuple[str, Any], tmp_path: Path
) -> None:
    with account(*storage, CurveRunner(storage=storage[1]), seconds_per_poll=20.0) as used:
        arguments: Words = ["--data", digits, "--bucket", BUCKET, "--max-trials", "40", "--epochs", "3"]
        process = start(used, "run", *ENGINE, *SEARCH, *arguments, "--output", tmp_path / "run")
        deadline = time.monotonic() + 120
        while used.emulator.count("DescribeTrainingJob") == 0:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.terminate()
        output, _ = process.communicate(timeout=120)
        (job,) = used.emulator.service.tuning_jobs.values()
    assert process.returncode == 128 + signal.SIGTERM, output
    assert job.status in ("Stopping", "Stopped")
    assert TuningResult.load(tmp_path / "run/result.json").status == "stopped"
