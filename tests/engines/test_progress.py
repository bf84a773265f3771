"""What a reader sees while a search runs."""

import time
from collections.abc import Sequence

import pytest

from kfp_image_tuning.core.console import Console, Status, speak_through
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


class Recorder(Console):
    """A reader with a terminal."""

    has_bar = True

    def __init__(self, *, is_verbose: bool = False) -> None:
        self.is_verbose = is_verbose
        self.rows: list[str] = []
        self.states: list[Status | None] = []

    def row(self, text: str) -> None:
        self.rows.append(text)

    def status(self, status: Status | None) -> None:
        self.states.append(status)


def test_where_a_line_can_change_epochs_move_it_and_trials_leave_a_row() -> None:
    timed = Trial(
        name="job-002",
        status="running",
        hyperparameters={},
        history=(Epoch(epoch=0, validation_accuracy=0.5, seconds=2.0),),
        started_at=time.time() - 2,
    )
    events = [Event(kind="started", trial=timed), *[Event(kind="progress", trial=timed)] * 2]
    events.append(Event(kind="finished", trial=finished(1, 0.93, seconds=60)))
    reader, chatty = Recorder(), Recorder(is_verbose=True)
    with speak_through(reader):
        told = lines([], *events)
    assert len(told) == 1, "what the whole search takes, once"
    assert told[0].startswith("One epoch took 2 s: 12 trials of 30 epochs, ")
    assert [row[14:].split(":")[0] for row in reader.rows] == ["job-001 completed (1/12 done)"]
    first, last = reader.states[0], reader.states[-1]
    assert first is not None
    assert last is not None
    assert (first.done, first.text) == (0.0, "0/12 trials, starting")
    assert last.done == pytest.approx((1 + 1 / 30) / 12)
    assert last.text == "1/12 trials, best 0.9300"
    assert last.left.startswith("about ")
    with speak_through(chatty):
        lines([], *events)
    assert len([row for row in chatty.rows if "job-002 epoch 1/30" in row]) == 2
    assert any("job-002 started" in row for row in chatty.rows)


def test_failures_are_told_in_full_on_a_terminal() -> None:
    reader = Recorder()
    with speak_through(reader):
        (line,) = lines([], Event(kind="finished", trial=finished(1, None)))
    assert line.endswith("job-001 failed (1/12 done): out of memory")
    assert reader.rows == []
