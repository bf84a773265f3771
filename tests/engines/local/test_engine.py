"""Searches on this machine, with real trials of a second each."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kfp_image_tuning.core.errors import EngineError, SearchSpaceError
from kfp_image_tuning.engines.local.engine import LocalEngine
from kfp_image_tuning.engines.local.journal import JOURNAL_NAME
from kfp_image_tuning.engines.local.trial_files import KEPT_MODELS
from kfp_image_tuning.engines.run import run_search
from kfp_image_tuning.model.model_files import load_model
from kfp_image_tuning.search.result import TuningResult
from tests.emulators.virtual_clock import VirtualClock
from tests.engines.local.searching import (
    QUICK_SPACE,
    make_engine,
    make_search,
    tune,
    what_was_tried,
)

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def finished_search(digits_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TuningResult]:
    """A search that ran to its end, one trial at a time."""
    output = tmp_path_factory.mktemp("finished")
    return output, tune(digits_dataset, output, max_trials=6, epochs=2)


def test_a_search_ends_with_its_best_model_and_every_trial(finished_search: tuple[Path, TuningResult]) -> None:
    output, result = finished_search
    assert (result.status, result.stop_reason) == ("completed", "all 6 trials are done")
    assert TuningResult.load(output / "result.json") == result
    best = result.best_trial
    assert best is not None
    document = load_model(output / "model").document
    assert document.validation_accuracy == best.objective
    assert {name: document.hyperparameters[name] for name in best.hyperparameters} == {
        name: str(value) for name, value in best.hyperparameters.items()
    }
    for trial in result.trials:
        assert trial.status in ("completed", "early_stopped")
        assert trial.objective == max((epoch.validation_accuracy for epoch in trial.history), default=None)
        assert trial.log_uri is not None
        assert "Training on cpu in float32" in Path(trial.log_uri).read_text()


def test_trials_see_their_images_as_resize_says(digits_dataset: Path, tmp_path: Path) -> None:
    result = tune(digits_dataset, tmp_path, search_space={**QUICK_SPACE, "resize": 12}, max_trials=1)
    assert result.status == "completed"
    stored = [np.load(path, mmap_mode="r").shape[1:3] for path in (tmp_path / "search").rglob("images.npy")]
    assert stored == [(12, 12), (12, 12)], "of training and validation"


def test_only_the_best_models_stay_on_disk(finished_search: tuple[Path, TuningResult]) -> None:
    output, result = finished_search
    kept = sorted(trial.objective or 0.0 for trial in result.trials if trial.model_uri)
    assert kept == sorted(trial.objective for trial in result.trials if trial.objective)[-KEPT_MODELS:]
    on_disk = {str(path.parent) for path in (output / "search").rglob("trials/*/model/model.safetensors")}
    assert on_disk == {trial.model_uri for trial in result.trials if trial.model_uri}
    assert not list((output / "search").rglob("trials/*/checkpoint"))


def test_the_same_seed_gives_the_same_search_again(
    finished_search: tuple[Path, TuningResult], digits_dataset: Path, tmp_path: Path
) -> None:
    _, result = finished_search
    assert what_was_tried(tune(digits_dataset, tmp_path, max_trials=6, epochs=2)) == what_was_tried(result)


def test_a_finished_search_goes_on_with_more_trials_and_not_without(
    finished_search: tuple[Path, TuningResult], digits_dataset: Path
) -> None:
    output, result = finished_search
    again = tune(digits_dataset, output, max_trials=6, epochs=2)
    assert (again.trials, again.status) == (result.trials, "completed")
    more = tune(digits_dataset, output, max_trials=7, epochs=2)
    assert what_was_tried(more)[:6] == what_was_tried(result)
    assert len(more.trials) == 7


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"strategy": "random"}, id="random"),
        pytest.param({"strategy": "hyperband", "search_mode": "flat"}, id="hyperband, flat"),
        pytest.param(
            {
                "strategy": "grid",
                "search_space": {
                    "optimizer": ["sgd", "nag"],
                    "momentum": 0.9,
                    "weight_decay": 0.0,
                    "mini_batch_size": 16,
                },
            },
            id="grid",
        ),
    ],
)
def test_every_strategy_runs_several_trials_at_a_time(
    digits_dataset: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    result = tune(digits_dataset, tmp_path, max_trials=5, parallel_trials=2, **settings)
    assert result.status == "completed"
    tried_all = settings["strategy"] == "grid"
    assert len(result.trials) == (4 if tried_all else 5)
    assert result.stop_reason == ("every combination of the grid was tried" if tried_all else "all 5 trials are done")
    assert result.best_trial is not None


def test_a_crashed_worker_is_a_failed_trial_and_the_search_goes_on(digits_dataset: Path, tmp_path: Path) -> None:
    search = make_search(digits_dataset, max_trials=3, epochs=2)
    engine = make_engine(digits_dataset, tmp_path)
    killed = False
    trials = {}
    for update in engine.start(engine.plan(search)).events():
        if update.kind == "progress" and not killed:
            killed = True
            (worker,) = workers_of(os.getpid())
            os.kill(worker, signal.SIGKILL)
        if update.trial is not None:
            trials[update.trial.name] = update.trial
    failed, *others = trials.values()
    assert (failed.name, failed.status) == ("trial-001", "failed")
    assert len(others) == 2
    assert all(trial.status in ("completed", "early_stopped") for trial in others)
    assert failed.failure_reason is not None
    assert "ended by SIGKILL, which is how the system ends processes when memory runs out" in failed.failure_reason
    assert failed.log_uri is not None
    assert failed.log_uri in failed.failure_reason
    assert failed.objective is None
    assert not workers_of(os.getpid())


def test_the_search_ends_when_the_target_is_reached(digits_dataset: Path, tmp_path: Path) -> None:
    result = tune(digits_dataset, tmp_path, max_trials=50, target_accuracy=0.05)
    assert (result.status, result.stop_reason) == ("completed", "the target 0.05 is reached")
    assert len(result.trials) == 1


def test_the_time_limit_ends_running_trials_with_their_best_epoch(
    digits_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = VirtualClock()
    monkeypatch.setattr("kfp_image_tuning.engines.run.time", SimpleNamespace(monotonic=clock.now))
    search = make_search(digits_dataset, max_trials=50, epochs=500, max_seconds=3600)

    def reach_the_limit(line: str) -> None:
        if "epoch 1/500" in line:
            clock.skip(3600)

    engine = make_engine(digits_dataset, tmp_path)
    result = run_search(engine, engine.plan(search), tmp_path / "result.json", show=reach_the_limit)
    assert result.stop_reason == "the time limit of 1 h is reached"
    (last,) = result.trials
    assert (last.status, last.objective) == ("stopped", max(e.validation_accuracy for e in last.history))
    assert len(last.history) < 500
    assert load_model(tmp_path / "model").document.validation_accuracy == last.objective


def test_a_plan_is_the_same_each_time_and_says_what_will_run(digits_dataset: Path, tmp_path: Path) -> None:
    engine = make_engine(digits_dataset, tmp_path)
    settings = {"strategy": "hyperband", "stop_bad_trials": False, "max_trials": 9, "max_seconds": 60}
    plan = engine.plan(make_search(digits_dataset, **settings))
    assert plan == engine.plan(make_search(digits_dataset, **settings))
    assert json.loads(json.dumps(plan.request)) == plan.request
    line, prior = plan.summary
    assert line.startswith(
        "Local search, hyperband over sgd, adam, rmsprop, nag: up to 9 trials of 1 epochs in 1 min, 1 at a time "
    )
    assert "--prior none" in prior
    assert "hyperband ends bad trials by its nature; choose random to let all of them run" in plan.warnings
    assert not (tmp_path / "search").exists()


def test_a_grid_that_the_budget_cannot_hold_is_refused_before_anything_starts(
    digits_dataset: Path, tmp_path: Path
) -> None:
    with pytest.raises(SearchSpaceError, match="the smallest grid"):
        tune(digits_dataset, tmp_path, strategy="grid", max_trials=20)
    assert not (tmp_path / "search").exists()


def test_a_data_set_other_than_the_searchs_is_refused(digits_dataset: Path, tmp_path: Path) -> None:
    search = make_search(digits_dataset)
    document = search.to_dict()
    engine = make_engine(digits_dataset, tmp_path)
    document["dataset"]["fingerprint"] = "sha256:other"
    with pytest.raises(EngineError, match="the search is for sha256:other"):
        run_search(engine, engine.plan(type(search).from_dict(document)), tmp_path / "result.json")


def test_a_search_killed_again_and_again_goes_on_where_it_was(digits_dataset: Path, tmp_path: Path) -> None:
    # Enough trials that the third kill never comes after the last of them.
    settings = {"max_trials": 8, "epochs": 2, "parallel_trials": 2}
    finished: dict[str, Any] = {}
    # Kills after a started trial, an epoch, a finished trial, and somewhere.
    for event, extra in (("started", 0.0), ("epoch", 0.0), ("finished", 0.3)):
        with searching_process(digits_dataset, tmp_path, settings) as process:
            wait_for_new_line(tmp_path, event)
            time.sleep(extra)
            workers = wait_for_workers(process)
            process.kill()
            process.wait()
            wait_until_gone(workers)
        now = finished_in_journal(tmp_path)
        assert {name: now[name] for name in finished} == finished
        finished = now
    assert finished
    result = tune(digits_dataset, tmp_path, **settings)
    assert [trial.name for trial in result.trials] == [f"trial-{number:03}" for number in range(1, 9)]
    assert all(trial.status in ("completed", "early_stopped") for trial in result.trials)
    ended = finished_in_journal(tmp_path)
    assert {name: ended[name] for name in finished} == finished
    best = result.best_trial
    assert best is not None
    assert load_model(tmp_path / "model").document.validation_accuracy == best.objective


def test_sigterm_ends_the_search_with_what_it_has_and_a_restart_takes_its_trials_up(
    digits_dataset: Path, tmp_path: Path
) -> None:
    settings = {"max_trials": 1, "epochs": 12, "search_space": {"optimizer": "sgd"}}
    with searching_process(digits_dataset, tmp_path, settings) as process:
        wait_for_new_line(tmp_path, "epoch")
        workers = workers_of(process.pid)
        process.terminate()
        assert process.wait(120) == 0
        wait_until_gone(workers)
    result = TuningResult.load(tmp_path / "result.json")
    assert (result.status, result.stop_reason) == ("stopped", "stopped by SIGTERM")
    (trial,) = result.trials
    assert (trial.status, len(trial.history) < 12) == ("stopped", True)
    assert load_model(tmp_path / "model").document.validation_accuracy == trial.objective

    again = tune(digits_dataset, tmp_path, **settings)
    (whole,) = again.trials
    assert (whole.status, whole.hyperparameters) == ("completed", trial.hyperparameters)
    assert whole.history[: len(trial.history)] == trial.history
    assert len(whole.history) == 12


def test_workers_that_do_not_start_end_the_search_with_their_log(
    digits_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (tmp_path / "torch.py").write_text("raise ImportError('libtorch.so is not here')\n")
    engine = LocalEngine(digits_dataset, tmp_path / "search", tmp_path / "model")
    with pytest.raises(EngineError, match=r"(?s)the worker processes do not start.*libtorch.so is not here"):
        run_search(engine, engine.plan(make_search(digits_dataset)), tmp_path / "result.json", show=lambda _: None)
    assert not workers_of(os.getpid())


@contextlib.contextmanager
def searching_process(dataset: Path, output: Path, settings: dict[str, Any]) -> Iterator[subprocess.Popen[bytes]]:
    """A search in a process of its own."""
    program: list[str | Path] = [
        sys.executable,
        "-m",
        "tests.engines.local.searching",
        dataset,
        output,
        json.dumps(settings),
    ]
    with subprocess.Popen(program, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for_new_line(output: Path, event: str) -> None:
    """Wait until the search's journal tells of another such event."""
    journal = output / "search" / JOURNAL_NAME
    mark = f'{{"event": "{event}"'
    before = journal.read_text().count(mark) if journal.exists() else 0
    deadline = time.monotonic() + 120
    while not (journal.exists() and journal.read_text().count(mark) > before):
        assert time.monotonic() < deadline, f"no {event} within two minutes"
        time.sleep(0.02)


def finished_in_journal(output: Path) -> dict[str, Any]:
    """The finished trials that the journal knows, but for models that were removed since."""
    lines = (output / "search" / JOURNAL_NAME).read_text().splitlines(keepends=True)
    events = [json.loads(line) for line in lines if line.endswith("\n")]
    return {event["trial"]["name"]: event["trial"] for event in events if event["event"] == "finished"}


def workers_of(process: int) -> set[int]:
    """The children of a process that are workers."""
    found = set()
    for children in Path(f"/proc/{process}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            with contextlib.suppress(OSError):
                if b"engines.local.worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                    found.add(child)
    return found


def wait_for_workers(process: subprocess.Popen[bytes]) -> set[int]:
    """The workers of a search, as soon as there is one: a trial counts as started before its worker has begun.

    None if the search has ended before this was asked.
    """
    deadline = time.monotonic() + 60
    while not (workers := workers_of(process.pid)) and process.poll() is None:
        assert time.monotonic() < deadline, "no worker within a minute"
        time.sleep(0.02)
    return workers


def wait_until_gone(processes: set[int]) -> None:
    """Wait until none of the processes is left."""
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{process}/cmdline").exists() and is_alive(process) for process in processes):
        assert time.monotonic() < deadline, f"left behind: {processes}"
        time.sleep(0.05)


def is_alive(process: int) -> bool:
    """Whether it is there and not merely waiting to be reaped."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
