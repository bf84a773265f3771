"""The loop that follows a search, on an engine whose trials are a formula instead of a training."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest

from kfp_image_tuning.core.errors import EngineError
from kfp_image_tuning.engines.protocol import Attached, Event, Plan
from kfp_image_tuning.engines.run import run_search
from kfp_image_tuning.search.budget import Budget
from kfp_image_tuning.search.result import Epoch, Trial, TuningResult
from kfp_image_tuning.search.search import Search
from tests.emulators.virtual_clock import VirtualClock
from tests.search.searches import make_search


class FormulaEngine:
    """An engine that is its own session. Trial ``n`` reaches ``objectives[n]``; None fails."""

    def __init__(
        self,
        objectives: list[float | None],
        take_time: Callable[[], None] = lambda: None,
        attached: tuple[Trial, ...] = (),
    ) -> None:
        self.objectives = objectives
        self.attached = attached
        self.take_time = take_time
        self.stops = 0

    def plan(self, search: Search) -> Plan:
        summary, warnings = ("a formula",), ("it trains nothing",)
        return Plan(engine="local", search=search, request={}, summary=summary, warnings=warnings)

    def start(self, plan: Plan) -> Self:
        return self

    def events(self) -> Iterator[Event]:
        past = Attached(trials=self.attached, seconds=100.0 if self.attached else 0.0)
        yield Event(kind="attached", attached=past)
        for number, objective in enumerate(self.objectives, start=len(self.attached) + 1):
            if self.stops:
                return
            now = time.time()
            trial = Trial(name=f"trial-{number}", status="running", hyperparameters={"eps": 1e-8}, started_at=now)
            yield Event(kind="started", trial=trial)
            self.take_time()
            yield Event(kind="waiting")
            done = {"status": "failed", "failure_reason": "out of memory"}
            if objective is not None:
                history = (Epoch(epoch=0, validation_accuracy=objective),)
                running = Trial(**{**vars(trial), "history": history})
                yield Event(kind="progress", trial=running)
                done = {"status": "completed", "objective": objective, "best_epoch": 0, "history": history}  # type: ignore[dict-item]
            yield Event(kind="finished", trial=Trial(**{**vars(trial), **done, "finished_at": time.time()}))

    def stop(self) -> None:
        self.stops += 1

    def result(self) -> Mapping[str, Any]:
        return {"formula": True}


def run(engine: FormulaEngine, budget: Budget, tmp_path: Path) -> tuple[TuningResult, list[str]]:
    lines: list[str] = []
    plan = engine.plan(make_search(budget=budget, epochs=1))
    result = run_search(engine, plan, tmp_path / "result.json", show=lines.append)
    return result, lines


def test_progress_names_trial_epoch_best_and_time_left(tmp_path: Path) -> None:
    result, lines = run(FormulaEngine([0.5, 0.9, 0.7]), Budget(max_trials=3), tmp_path)
    assert lines[:2] == ["a formula", "Warning: it trains nothing"]
    assert any("trial-2 epoch 1/1 validation:accuracy 0.9000 | best 0.5000 (trial-1) | about" in line for line in lines)
    assert any("trial-2 completed (2/3 done): 0.9000 [eps 1e-08] | best 0.9000 (trial-2)" in line for line in lines)
    assert "Best of 3 trials: trial-2 with validation:accuracy 0.9000" in lines[-1]
    assert (result.status, result.stop_reason) == ("completed", "all 3 trials are done")
    assert result.engine_details == {"formula": True}


def test_a_limit_stops_the_engine_once(tmp_path: Path) -> None:
    engine = FormulaEngine([0.5, 0.9, 0.7])
    result, _ = run(engine, Budget(max_trials=3, target_objective=0.9), tmp_path)
    assert engine.stops == 1
    assert len(result.trials) == 2
    assert result.stop_reason == "the target 0.9 is reached"


def test_the_time_limit_acts_while_nothing_finishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = VirtualClock()
    monkeypatch.setattr("kfp_image_tuning.engines.run.time", SimpleNamespace(monotonic=clock.now))
    engine = FormulaEngine([0.5] * 9, lambda: clock.skip(1000))
    result, _ = run(engine, Budget(max_trials=9, max_seconds=2500), tmp_path)
    assert len(result.trials) == 3
    assert "time limit" in result.stop_reason


def test_an_attached_search_counts_what_it_has_done(tmp_path: Path) -> None:
    earlier = Trial(
        name="trial-1", status="completed", hyperparameters={}, objective=0.95, started_at=1.0, finished_at=2.0
    )
    result, lines = run(FormulaEngine([0.5], attached=(earlier,)), Budget(max_trials=2), tmp_path)
    assert "Going on with a search of 1 trial so far." in lines
    assert result.best_trial == earlier
    assert result.seconds >= 100


def test_without_a_model_the_search_fails_and_quotes_the_reasons(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="2 trials, 2 failed: out of memory"):
        run(FormulaEngine([None, None]), Budget(max_trials=2), tmp_path)
    assert TuningResult.load(tmp_path / "result.json").status == "failed"


def test_too_many_failures_are_a_failed_search_with_a_result(tmp_path: Path) -> None:
    result, _ = run(FormulaEngine([0.5, None, None, 0.6]), Budget(max_trials=4, max_failed_trials=1), tmp_path)
    assert result.status == "failed"
    assert "2 trials failed, 1 are tolerated" in result.stop_reason


def test_a_signal_stops_the_engine_and_keeps_the_result(tmp_path: Path) -> None:
    class Signalled(FormulaEngine):
        def events(self) -> Iterator[Event]:
            for update in super().events():
                yield update
                if update.kind == "finished":
                    os.kill(os.getpid(), signal.SIGTERM)

    engine = Signalled([0.5, 0.6])
    result, _ = run(engine, Budget(max_trials=2), tmp_path)
    assert engine.stops == 1
    assert (result.status, result.stop_reason) == ("stopped", "stopped by SIGTERM")
    assert len(result.trials) == 1
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, "the handlers are put back"


def test_what_was_reached_is_kept_when_collecting_fails(tmp_path: Path) -> None:
    class CannotBring(FormulaEngine):
        def result(self) -> Mapping[str, Any]:
            raise EngineError("the best model is gone; run the search again")

    with pytest.raises(EngineError, match="the best model is gone"):
        run(CannotBring([0.5]), Budget(max_trials=1), tmp_path)
    kept = TuningResult.load(tmp_path / "result.json")
    assert (kept.status, kept.stop_reason) == ("failed", "the best model is gone; run the search again")
    assert [trial.objective for trial in kept.trials] == [0.5]


def test_results_are_on_disk_after_every_finished_trial(tmp_path: Path) -> None:
    class Dies(FormulaEngine):
        def events(self) -> Iterator[Event]:
            for update in super().events():
                if update.trial is not None and update.trial.name == "trial-2":
                    raise ConnectionResetError
                yield update

    with pytest.raises(ConnectionResetError):
        run(Dies([0.5, 0.6]), Budget(max_trials=2), tmp_path)
    kept = TuningResult.load(tmp_path / "result.json")
    assert [trial.objective for trial in kept.trials] == [0.5]
