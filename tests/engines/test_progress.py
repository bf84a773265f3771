"""What a reader sees while a search runs."""

import time
from collections.abc import Sequence

import pytest

from kfp_image_tuning.engines import progress
from kfp_image_tuning.engines.progress import Progress
from kfp_image_tuning.engines.protocol import Event
from kfp_image_tuning.search.budget import Budget
from kfp_image_tuning.search.result import Epoch, Trial
from tests.search.searches import make_search


def running(number: int, *accuracies: float) -> Trial:
    history = tuple(Epoch(epoch=epoch, validation_accuracy=value) for epoch, value in enumerate(accuracies))
    return Trial(
        name=f"job-{number:03}", status="running", hyperparameters={}, history=history, started_at=time.time() - 600
    )


def finished(number: int, objective: float | None, seconds: float = 0.0) -> Trial:
    return Trial(
        name=f"job-{number:03}",
        status="failed" if objective is None else "completed",
        hyperparameters={"learning_rate": 0.1},
        objective=objective,
        started_at=1000.0,
        finished_at=1000.0 + seconds,
        failure_reason="out of memory" if objective is None else None,
    )


def lines(trials: Sequence[Trial], *updates: Event) -> list[str]:
    shown: list[str] = []
    search = make_search(budget=Budget(max_trials=12), epochs=30)
    reader = Progress(search, trials, 0.0, shown.append)
    for update in updates:
        reader.show(update)
    return shown[1:] if trials else shown


def test_running_trials_are_shown_as_a_table_from_time_to_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "TABLE_SECONDS", -1.0)
    trials = [finished(1, 0.93), finished(2, None), running(3), running(4, 0.5, 0.81, 0.79)]
    assert lines(trials, Event(kind="waiting")) == [
        "[        0 s] 2 of 12 trials done, 1 failed, 2 running | best 0.9300 (job-001) | about 0 s left",
        "              running      epoch  accuracy      best      since",
        "              job-004       3/30    0.7900    0.8100     10 min",
        "              job-003   starting                         10 min",
    ]


def test_without_running_trials_there_is_no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "TABLE_SECONDS", -1.0)
    assert lines([finished(1, 0.93)], Event(kind="waiting")) == []


def test_time_left_follows_from_what_trials_take_and_how_many_run_side_by_side() -> None:
    started = [Event(kind="started", trial=running(number)) for number in range(1, 5)]
    # Four side by side for ten minutes now; one of them ends. Three are as good as over, eight of twelve are to come.
    line = lines([], *started, Event(kind="finished", trial=finished(1, 0.93, seconds=600)))[-1]
    assert line.endswith("| best 0.9300 (job-001) | about 20 min 22 s left")


def test_failed_trials_say_nothing_of_the_time_left() -> None:
    (line,) = lines([], Event(kind="finished", trial=finished(1, None)))
    assert line == "[        0 s] job-001 failed (1/12 done): out of memory | no result yet"


def test_note_stands_alone() -> None:
    assert lines([], Event(kind="waiting", note="logs: https://console")) == ["[        0 s] logs: https://console"]


def test_silence_is_broken_by_what_is_running(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "QUIET_SECONDS", -1.0)
    monkeypatch.setattr(progress, "QUIET_SHARE", -1.0)
    assert lines([], Event(kind="waiting")) == ["[        0 s] waiting for the first trial | no result yet"]
    started = [Event(kind="started", trial=running(number)) for number in range(1, 6)]
    assert lines([], *started)[-1] == "[        0 s] running: job-001, job-002, job-003 and 2 more | no result yet"
