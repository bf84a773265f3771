"""What every engine keeps to, as tests: an engine's own test module derives `EngineContract` and says how it is run.

class TestContract(EngineContract):
    @pytest.fixture
    def bench(self, ...) -> EngineBench: ...
"""

import json
import socket
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from kfp_image_tuning.core.errors import EngineError
from kfp_image_tuning.engines.protocol import Engine, Event
from kfp_image_tuning.engines.run import run_search
from kfp_image_tuning.search.result import TuningResult
from kfp_image_tuning.search.search import Search


class EngineBench(ABC):
    """One engine, and the place in which one run of it searches."""

    @abstractmethod
    def engine(self, folder: Path) -> Engine[Any]:
        """A new engine of the same run, as another process would make it; its model comes into ``folder``."""

    @abstractmethod
    def search(self, *, seed: int = 1) -> Search:
        """A search of three short trials; with another seed, a different one."""

    @abstractmethod
    def stands(self) -> Any:
        """What the run has launched or written so far, to be compared with later."""


class EngineContract:
    """The tests. What only one engine does is tested beside it."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """For model and result; not there yet."""
        return tmp_path / "engine"

    def test_a_plan_is_pure(self, bench: EngineBench, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        before, engine, search = bench.stands(), bench.engine(folder), bench.search()

        def no_network(*_: object) -> NoReturn:
            raise AssertionError("a plan asks nobody")

        with monkeypatch.context() as offline:
            offline.setattr(socket.socket, "connect", no_network)
            plan, again = engine.plan(search), bench.engine(folder).plan(bench.search())
        assert plan == again
        assert plan.search == search
        assert json.loads(json.dumps(plan.request)) == json.loads(json.dumps(again.request))
        assert plan.summary
        assert bench.stands() == before
        assert not folder.exists()

    def test_events_tell_of_every_trial_from_its_start_to_its_end(self, bench: EngineBench, folder: Path) -> None:
        engine = bench.engine(folder)
        session = engine.start(engine.plan(bench.search()))
        first, *events = session.events()
        assert (first.kind, first.attached.trials) == ("attached", ())
        kinds: dict[str, list[str]] = {}
        for event in events:
            if event.trial is not None and event.kind != "waiting":
                kinds.setdefault(event.trial.name, []).append(event.kind)
        assert len(kinds) == 3
        for told in kinds.values():
            assert (told[0], told[-1], told.count("started"), told.count("finished")) == ("started", "finished", 1, 1)
        json.dumps(dict(session.result()))

    def test_another_process_attaches_to_what_runs_and_starts_nothing_twice(
        self, bench: EngineBench, folder: Path
    ) -> None:
        first = bench.engine(folder)
        events = first.start(first.plan(bench.search())).events()
        seen = _until_one_has_finished(events)
        # The first process is gone without a word.
        del events
        result = self._run(bench, folder)
        assert result.status == "completed"
        assert len(result.trials) == 3
        assert seen <= {trial.name for trial in result.trials}

    def test_a_search_that_is_over_is_found_as_it_ended(self, bench: EngineBench, folder: Path) -> None:
        first = self._run(bench, folder)
        again = self._run(bench, folder)
        assert {trial.name: trial.objective for trial in again.trials} == {
            trial.name: trial.objective for trial in first.trials
        }

    def test_a_stop_ends_the_events_and_keeps_what_was_reached(self, bench: EngineBench, folder: Path) -> None:
        engine = bench.engine(folder)
        session = engine.start(engine.plan(bench.search()))
        trials = {}
        for event in session.events():
            if event.trial is not None:
                trials[event.trial.name] = event.trial
            if event.kind == "finished":
                session.stop()
        assert any(trial.objective is not None for trial in trials.values())
        assert all(trial.is_finished for trial in trials.values())
        session.result()

    def test_a_refused_search_changes_nothing(self, bench: EngineBench, folder: Path) -> None:
        result = self._run(bench, folder)
        before = bench.stands()
        engine = bench.engine(folder)
        with pytest.raises(EngineError):
            run_search(engine, engine.plan(bench.search(seed=2)), folder / "result.json", show=lambda _: None)
        assert bench.stands() == before
        assert TuningResult.load(folder / "result.json") == result

    @staticmethod
    def _run(bench: EngineBench, folder: Path) -> TuningResult:
        engine = bench.engine(folder)
        return run_search(engine, engine.plan(bench.search()), folder / "result.json", show=lambda _: None)


def _until_one_has_finished(events: Iterator[Event]) -> set[str]:
    """Read events; returns the names of the trials that have started."""
    started = set()
    for event in events:
        if event.trial is not None:
            started.add(event.trial.name)
        if event.kind == "finished":
            break
    return started
