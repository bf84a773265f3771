"""The engine against the emulator: launch, attach, follow, stop; and what goes wrong on the way."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kfp_image_tuning.core.errors import EngineError
from kfp_image_tuning.engines.sagemaker.aws.calls import LONGEST_PAUSE, Backoff, TransientError
from kfp_image_tuning.engines.sagemaker.engine import SageMakerEngine
from kfp_image_tuning.search.budget import Budget
from kfp_image_tuning.search.result import TuningResult
from tests.emulators.faults import FaultKind
from tests.emulators.recorded_curves import recorded_curve
from tests.emulators.sagemaker import SageMakerEmulator
from tests.emulators.training_jobs import NO_CAPACITY, CurveRunner
from tests.engines.sagemaker.tuning_jobs import OPTIONS, credentials, run_on, small_search

CREATE = "CreateHyperParameterTuningJob"
STOP = "StopHyperParameterTuningJob"


@pytest.fixture
def emulator() -> Iterator[SageMakerEmulator]:
    with SageMakerEmulator(seconds_per_poll=120.0) as running:
        yield running


def only_job(emulator: SageMakerEmulator) -> Any:
    (job,) = emulator.service.tuning_jobs.values()
    return job


def test_a_search_ends_in_a_result_with_every_training_job(emulator: SageMakerEmulator, tmp_path: Path) -> None:
    lines: list[str] = []
    result = run_on(emulator, small_search(), tmp_path, lines)
    job = only_job(emulator)
    assert (result.status, len(result.trials)) == ("completed", 6)
    assert {trial.name for trial in result.trials} == {training_job.name for training_job in job.jobs}
    best = result.best_trial
    assert best is not None
    assert best.name == job.best.name == result.engine_details["best_training_job"]
    assert best.model_uri == f"s3://images/models/{best.name}/output/model.tar.gz"
    assert result.engine_details["best_model_uri"] == best.model_uri
    assert [epoch.epoch for epoch in best.history] == [0, 1, 2]
    assert best.best_epoch == 2
    assert best.objective == best.history[2].validation_accuracy
    assert result.engine_details["billed_instance_hours"] > 0
    assert TuningResult.load(tmp_path / "result.json") == result
    assert any("https://us-east-1.console.aws.amazon.com/sagemaker/home" in line for line in lines)
    assert any("validation:accuracy" in line for line in lines)


def test_trials_show_typed_values_of_what_their_optimizer_uses(emulator: SageMakerEmulator, tmp_path: Path) -> None:
    result = run_on(emulator, small_search(search_mode="flat"), tmp_path)
    for trial in result.trials:
        values = trial.hyperparameters
        assert isinstance(values["mini_batch_size"], int)
        assert isinstance(values["learning_rate"], float)
        assert ("momentum" in values) == (values["optimizer"] in ("sgd", "nag"))


def test_repeated_command_attaches_to_the_job_that_has_ended(emulator: SageMakerEmulator, tmp_path: Path) -> None:
    first = run_on(emulator, small_search(), tmp_path)
    second = run_on(emulator, small_search(), tmp_path)
    assert second.trials == first.trials
    assert second.engine_details == first.engine_details
    assert len(emulator.service.tuning_jobs) == 1


def test_a_foreign_job_of_the_same_name_is_refused_and_stays(emulator: SageMakerEmulator, tmp_path: Path) -> None:
    run_on(emulator, small_search(), tmp_path, run="shared")
    before = (tmp_path / "result.json").read_text()
    with pytest.raises(EngineError, match="was started by another request; give this search a run of its own"):
        run_on(emulator, small_search(seed=5), tmp_path, run="shared")
    for tags in emulator.service.tags.values():
        tags.clear()
    with pytest.raises(EngineError, match="was not started by this program"):
        run_on(emulator, small_search(), tmp_path, run="shared")
    assert (tmp_path / "result.json").read_text() == before
    assert emulator.count(STOP) == 0


def test_a_signal_does_not_stop_a_job_before_it_is_known_to_be_ours(emulator: SageMakerEmulator) -> None:
    options = replace(OPTIONS, endpoint_url=emulator.url, run="shared")
    emulator.seconds_per_poll = 1.0
    with credentials():
        first = SageMakerEngine(options)
        next(first.start(first.plan(small_search(trials=40))).events())
        other = SageMakerEngine(options)
        session = other.start(other.plan(small_search(seed=5)))

        class Calls(list[tuple[str, str]]):
            def append(self, call: tuple[str, str]) -> None:
                super().append(call)
                if call[0] == "ListTags":
                    session.stop()

        emulator.calls = Calls()
        with pytest.raises(EngineError, match="was started by another request"):
            next(session.events())
    assert emulator.count(STOP) == 0


def test_what_is_sent_is_what_the_plan_shows(emulator: SageMakerEmulator) -> None:
    engine = SageMakerEngine(replace(OPTIONS, endpoint_url=emulator.url))
    with credentials():
        plan = engine.plan(small_search())
        next(engine.start(plan).events())
    assert only_job(emulator).request == plan.request


def test_lost_answer_to_the_launch_starts_nothing_twice(emulator: SageMakerEmulator, tmp_path: Path) -> None:
    emulator.faults.add("lost_response", CREATE)
    result = run_on(emulator, small_search(), tmp_path)
    assert (emulator.count(CREATE), len(emulator.service.tuning_jobs)) == (2, 1)
    assert result.status == "completed"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("limit", "service limit .* is 0 Instances; ask for a higher limit under Service Quotas"),
        ("denied", "not authorized .*allow this action in the pod's IAM policy"),
    ],
)
def test_refused_launch_says_why_and_what_to_do(
    emulator: SageMakerEmulator, tmp_path: Path, kind: Any, reason: str
) -> None:
    emulator.faults.add(kind, CREATE, times=100)
    with pytest.raises(EngineError, match=reason):
        run_on(emulator, small_search(), tmp_path)
    assert not emulator.service.tuning_jobs


def test_expired_credentials_are_fetched_anew(emulator: SageMakerEmulator, tmp_path: Path, monkeypatch: Any) -> None:
    emulator.expired_keys.add("stale")
    engine = SageMakerEngine(replace(OPTIONS, endpoint_url=emulator.url))
    with credentials(AWS_ACCESS_KEY_ID="stale"):
        plan = engine.plan(small_search())
        threading.Timer(0.3, lambda: monkeypatch.setenv("AWS_ACCESS_KEY_ID", "fresh")).start()
        updates = list(engine.start(plan).events())
    assert {key for _, key in emulator.calls} == {"stale", "fresh"}
    assert sum(update.kind == "finished" for update in updates) == 6


def test_failed_trials_quote_their_reason_and_their_last_lines(tmp_path: Path) -> None:
    runner = CurveRunner(failing=lambda number: number == 2)
    with SageMakerEmulator(runner, seconds_per_poll=120.0) as emulator:
        result = run_on(emulator, small_search(), tmp_path)
    (failed,) = [trial for trial in result.trials if trial.status == "failed"]
    assert failed.failure_reason is not None
    assert "Out of memory. Use a smaller mini_batch_size" in failed.failure_reason
    assert "CUDA out of memory while allocating 2.1 GiB" in failed.failure_reason
    assert result.status == "completed"


def test_trial_that_found_no_machine_says_so_and_the_search_goes_on(tmp_path: Path) -> None:
    runner = CurveRunner(failing=lambda number: number == 1, failure=NO_CAPACITY)
    with SageMakerEmulator(runner, seconds_per_poll=120.0) as emulator:
        result = run_on(emulator, small_search(), tmp_path)
    (failed,) = [trial for trial in result.trials if trial.status == "failed"]
    assert "CapacityError: Unable to provision requested ML compute capacity" in str(failed.failure_reason)
    assert result.best_trial is not None


@pytest.mark.slow
def test_five_hundred_trials_of_recorded_curves_are_followed_to_the_best(tmp_path: Path) -> None:
    with SageMakerEmulator(CurveRunner(recorded_curve), seconds_per_poll=3600.0) as emulator:
        budget = Budget(max_trials=500, parallel_trials=10)
        result = run_on(emulator, small_search(budget=budget, epochs=8), tmp_path, poll_seconds=0.001)
        job = only_job(emulator)
    assert len(result.trials) == len({trial.name for trial in result.trials}) == 500
    assert result.best_trial is not None
    assert result.best_trial.objective == max(training_job.objective for training_job in job.jobs) > 0.98


def test_search_without_a_model_fails_with_the_trials_reasons(tmp_path: Path) -> None:
    with SageMakerEmulator(CurveRunner(failing=lambda number: True), seconds_per_poll=120.0) as emulator:
        budget = Budget(max_trials=6, parallel_trials=2, max_failed_trials=6)
        with pytest.raises(EngineError, match=r"is Failed \(No training job succeeded after 5 attempts.*Out of memory"):
            run_on(emulator, small_search(budget=budget), tmp_path)


def test_completed_without_any_objective_is_a_clear_failure(tmp_path: Path) -> None:
    with SageMakerEmulator(CurveRunner(silent=lambda number: True), seconds_per_poll=120.0) as emulator:
        budget = Budget(max_trials=4, parallel_trials=2, max_failed_trials=4)
        with pytest.raises(EngineError, match="is Completed and left no model: 4 trials, 4 failed: no validation:ac"):
            run_on(emulator, small_search(budget=budget), tmp_path)


def test_spot_interruption_is_followed_to_the_end(tmp_path: Path) -> None:
    with SageMakerEmulator(CurveRunner(interrupted=lambda number: True), seconds_per_poll=60.0) as emulator:
        result = run_on(emulator, small_search(), tmp_path, spot=True)
        assert all(job.interruptions == 1 for job in only_job(emulator).jobs)
    assert {trial.status for trial in result.trials} == {"completed"}


def test_trial_that_is_cut_off_keeps_its_best_epoch_and_says_so(tmp_path: Path) -> None:
    with SageMakerEmulator(CurveRunner(seconds_per_epoch=600), seconds_per_poll=300.0) as emulator:
        result = run_on(emulator, small_search(), tmp_path, max_trial_seconds=1300)
    cut = [trial for trial in result.trials if trial.status == "stopped"]
    assert cut
    assert all("cut off at its time limit" in (trial.note or "") and trial.objective for trial in cut)


def stopped_by_somebody(emulator: SageMakerEmulator, tmp_path: Path, **options: Any) -> TuningResult:
    """Run a search that somebody stops in the console when two trials are done."""
    emulator.seconds_per_poll = 30.0

    def stop() -> None:
        while not emulator.service.tuning_jobs or only_job(emulator).best is None:
            time.sleep(0.005)
        with emulator.service.lock:
            only_job(emulator).stop(emulator.clock.now())

    thread = threading.Thread(target=stop)
    thread.start()
    try:
        return run_on(emulator, small_search(trials=40), tmp_path, **options)
    finally:
        thread.join()


def test_stopped_job_with_a_best_model_is_a_result(emulator: SageMakerEmulator, tmp_path: Path) -> None:
    result = stopped_by_somebody(emulator, tmp_path)
    assert result.engine_details["status"] == "Stopped"
    assert result.best_trial is not None
    assert result.best_trial.model_uri
    assert len(result.trials) < 40


def test_stopped_job_is_a_failure_where_that_is_wanted(emulator: SageMakerEmulator, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r'was stopped before its end.*on_stopped is "fail"'):
        stopped_by_somebody(emulator, tmp_path, on_stopped="fail")


def test_stop_is_sent_at_once_and_until_it_is_heard(emulator: SageMakerEmulator) -> None:
    emulator.seconds_per_poll = 1.0
    engine = SageMakerEngine(replace(OPTIONS, endpoint_url=emulator.url, poll_seconds=1.0))
    kinds: tuple[FaultKind, ...] = ("throttling", "reset", "internal")
    for kind in kinds:
        emulator.faults.add(kind, STOP)
    with credentials():
        session = engine.start(engine.plan(small_search()))
        events = session.events()
        next(events)
        # While this is held the service answers nothing, so a stop that waited for an answer would never return.
        with emulator.service.lock:
            session.stop()
        deadline = time.monotonic() + 60
        while only_job(emulator).status == "InProgress":
            assert time.monotonic() < deadline
            time.sleep(0.01)
        emulator.clock.skip(60)
        for _ in events:
            pass
        details = session.result()
    assert emulator.count(STOP) == 4
    assert details["status"] == "Stopped"


def test_stop_before_the_launch_starts_nothing(emulator: SageMakerEmulator) -> None:
    engine = SageMakerEngine(replace(OPTIONS, endpoint_url=emulator.url))
    with credentials():
        session = engine.start(engine.plan(small_search()))
        session.stop()
        (only,) = session.events()
        assert (only.kind, only.attached.trials) == ("attached", ())
        assert session.result()["status"] == "not started"
    assert not emulator.service.tuning_jobs


def test_reached_target_stops_the_tuning_job(emulator: SageMakerEmulator, tmp_path: Path) -> None:
    budget = Budget(max_trials=40, parallel_trials=2, target_objective=0.3)
    result = run_on(emulator, small_search(budget=budget), tmp_path)
    assert result.stop_reason == "the target 0.3 is reached"
    assert len(result.trials) < 40


def test_logs_that_may_not_be_read_cost_only_the_epochs(emulator: SageMakerEmulator, tmp_path: Path) -> None:
    emulator.faults.add("denied", "DescribeLogStreams", times=1000)
    result = run_on(emulator, small_search(), tmp_path)
    assert all(trial.history == () and trial.objective for trial in result.trials)
    assert "not authorized" in result.engine_details["logs_not_read"]
    assert emulator.count("DescribeLogStreams") == 1


def test_hyperband_ends_trials_early(emulator: SageMakerEmulator, tmp_path: Path) -> None:
    result = run_on(emulator, small_search(trials=16, strategy="hyperband", epochs=9), tmp_path)
    early = [trial for trial in result.trials if trial.status == "early_stopped"]
    # On a slow machine the stop of one may come after its last epoch.
    assert any(len(trial.history) < 9 for trial in early)


def test_follow_gives_up_only_after_its_patience_and_says_that_the_job_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []
    now = SimpleNamespace(monotonic=lambda: sum(waits))
    monkeypatch.setattr("kfp_image_tuning.engines.sagemaker.aws.calls.time", now)
    backoff = Backoff(1.0, {"transient": 3600.0, "credentials": 3600.0, "denied": 3600.0})
    error = TransientError("denied", "describe: not authorized")

    def go_on() -> None:
        while len(waits) < 1000:
            waits.append(backoff.next_pause(error, "The job continues"))

    with pytest.raises(EngineError, match=r"allow this action in the pod's IAM policy\. The job continues"):
        go_on()
    assert waits[0] <= 1
    assert 3600 <= sum(waits) < 3600 + LONGEST_PAUSE


def test_only_news_is_listed_of_a_long_search(emulator: SageMakerEmulator) -> None:
    emulator.seconds_per_poll = 600.0
    engine = SageMakerEngine(replace(OPTIONS, endpoint_url=emulator.url, poll_seconds=0.001))
    with credentials():
        session = engine.start(engine.plan(small_search(budget=Budget(max_trials=210, parallel_trials=10))))
        finished = [event.trial for event in session.events() if event.kind == "finished"]
    assert len(finished) == 210
    looks = emulator.count("DescribeHyperParameterTuningJob")
    assert emulator.count("ListTrainingJobsForHyperParameterTuningJob") <= looks + 2
