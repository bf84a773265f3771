"""What a search remembers over restarts."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kfp_image_tuning.core.errors import DocumentError, EngineError
from kfp_image_tuning.engines.local.journal import JOURNAL_NAME, Journal
from kfp_image_tuning.engines.local.trial_records import Point, Record
from kfp_image_tuning.search.budget import Budget
from kfp_image_tuning.search.result import Epoch, TrialStatus
from tests.engines.local.searching import make_trial
from tests.search.searches import make_search


def write_trials(journal: Journal) -> None:
    """Two finished trials and one that runs."""
    ends: tuple[TrialStatus | None, ...] = ("completed", "failed", None)
    for number, end in enumerate(ends):
        trial = make_trial(number, status="running", hyperparameters={"learning_rate": 0.1}, started_at=1.5)
        record = Record(number, {"learning_rate": 0.1, "optimizer": "sgd"}, "defaults", trial)
        journal.add_started(record)
        journal.add_point(record, Point(640, 1.9, 0.3))
        journal.add_epoch(record, Epoch(epoch=0, validation_accuracy=0.5, seconds=2.5))
        if end:
            journal.add_finished(record, replace(record.trial, status=end, finished_at=9.5))


def reopen(directory: Path, **settings: Any) -> list[Record]:
    journal = Journal(directory, make_search(**settings))
    journal.close()
    return journal.records


def test_everything_is_there_again_after_a_restart(tmp_path: Path) -> None:
    journal = Journal(tmp_path, make_search())
    write_trials(journal)
    journal.close()
    assert reopen(tmp_path) == journal.records
    assert [record.trial.status for record in journal.records] == ["completed", "failed", "running"]
    assert journal.records[2].trial.objective == 0.5


def test_time_counts_over_restarts(tmp_path: Path) -> None:
    journal = Journal(tmp_path, make_search())
    journal._began -= 100
    write_trials(journal)
    journal.close()
    again = Journal(tmp_path, make_search())
    assert again.started_at == journal.started_at
    assert 100 <= again.earlier_seconds <= again.seconds < 110


def test_a_kill_at_any_byte_loses_nothing_but_the_last_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path, make_search())
    write_trials(journal)
    journal.close()
    whole = (tmp_path / JOURNAL_NAME).read_bytes()
    finished_at = [place for place in range(len(whole)) if whole[place:].startswith(b'\n{"event": "started"')][1:]
    for length in range(0, len(whole), 7):
        (tmp_path / JOURNAL_NAME).write_bytes(whole[:length])
        records = reopen(tmp_path)
        finished = [record for record in records if record.trial.is_finished]
        assert len(finished) == sum(length > place for place in finished_at)
        assert finished == journal.records[: len(finished)]
    # The journal can be written on.
    (tmp_path / JOURNAL_NAME).write_bytes(whole[:-20])
    journal = Journal(tmp_path, make_search())
    write_trials(journal)
    journal.close()
    for line in (tmp_path / JOURNAL_NAME).read_text().splitlines():
        json.loads(line)


def test_a_trial_that_starts_again_replaces_what_it_had_told(tmp_path: Path) -> None:
    journal = Journal(tmp_path, make_search())
    write_trials(journal)
    record = journal.records[2]
    journal.add_epoch(record, Epoch(epoch=1, validation_accuracy=0.9))
    journal.add_point(record, Point(320, 2.2, 0.1))
    journal.add_epoch(record, Epoch(epoch=0, validation_accuracy=0.4))
    assert record.points == [Point(320, 2.2, 0.1)]
    assert [epoch.validation_accuracy for epoch in record.trial.history] == [0.4]
    assert (record.trial.objective, record.trial.best_epoch) == (0.4, 0)
    journal.close()
    assert reopen(tmp_path) == journal.records


def test_a_search_may_go_on_with_another_budget(tmp_path: Path) -> None:
    journal = Journal(tmp_path, make_search(budget=Budget(max_trials=3)))
    write_trials(journal)
    journal.close()
    assert reopen(tmp_path, budget=Budget(max_trials=30, max_seconds=60)) == journal.records


@pytest.mark.parametrize(
    ("settings", "difference"),
    [
        ({"seed": 1}, "seed was 0, is now 1"),
        ({"strategy": "random"}, "strategy was bayesian, is now random"),
        ({"changes": {"learning_rate": 0.1}}, "space.fixed.learning_rate was None, is now 0.1"),
        ({"epochs": 5}, "space.fixed.epochs was None, is now 5"),
    ],
)
def test_a_different_search_is_refused_with_the_difference_and_the_way_out(
    tmp_path: Path, settings: dict[str, Any], difference: str
) -> None:
    Journal(tmp_path, make_search()).close()
    with pytest.raises(EngineError) as refusal:
        Journal(tmp_path, make_search(**settings))
    assert difference in str(refusal.value)
    assert "choose another work directory, or delete this one to start from scratch" in str(refusal.value)


def test_a_search_that_starts_from_another_model_is_a_different_one(tmp_path: Path) -> None:
    Journal(tmp_path, make_search(), "models/a").close()
    Journal(tmp_path, make_search(), "models/a").close()
    with pytest.raises(EngineError, match="initial_model was models/a, is now models/b"):
        Journal(tmp_path, make_search(), "models/b")
    with pytest.raises(EngineError, match="initial_model was models/a, is now None"):
        Journal(tmp_path, make_search())


def test_two_processes_do_not_run_the_same_search(tmp_path: Path) -> None:
    journal = Journal(tmp_path, make_search())
    with pytest.raises(EngineError, match="another process is running a search in this work directory"):
        Journal(tmp_path, make_search())
    journal.close()
    reopen(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"event": "search", "schema_version": 9}\n', "schema_version is 9"),
        (b"\x00\x00\n", "is damaged"),
        (b'{"event": "search", "schema_version": 1}\n', "is damaged"),
    ],
)
def test_a_damaged_or_newer_journal_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / JOURNAL_NAME).write_bytes(content)
    with pytest.raises(DocumentError, match=message):
        Journal(tmp_path, make_search())
