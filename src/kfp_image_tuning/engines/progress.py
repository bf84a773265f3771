"""Progress of a search: trial, epoch, best so far, time left.

In a terminal one line changes in its place, and each trial leaves a line when it ends. Elsewhere, in a pod's log or a
CI's, there are lines alone: one for each epoch, and every few minutes a table of what is running.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from kfp_image_tuning.core.console import Status, has_bar, is_verbose, say_row, show_status
from kfp_image_tuning.core.wording import count, duration
from kfp_image_tuning.engines.outlook import Outlook
from kfp_image_tuning.search.grid import make_grid
from kfp_image_tuning.search.result import Trial, find_best_trial

if TYPE_CHECKING:
    from kfp_image_tuning.engines.protocol import Event
    from kfp_image_tuning.search.search import Search

QUIET_SECONDS, QUIET_SHARE, LONGEST_QUIET = 10.0, 0.05, 300.0
"""After so long without a line, one is shown that says what is going on; later in a long search after this share of its
time, and at the latest after five minutes."""
NAMES_SHOWN = 3
TABLE_SECONDS = 300.0
"""So often the running trials are shown as a table."""
TABLE_ROWS = 20
STATUS_SECONDS = 0.2
"""So long the line of progress stays as it is, at least."""


class Progress:
    """Turns updates into lines.

    Args:
        search: The search that is followed.
        trials: What it had done before.
        seconds: Wall time that it had used before.
        show: Takes one line.
        parallel_trials: Trials at a time, as planned.
    """

    def __init__(
        self,
        search: Search,
        trials: Sequence[Trial],
        seconds: float,
        show: Callable[[str], None],
        parallel_trials: int = 1,
    ) -> None:
        self._search = search
        self._outlook = Outlook(
            budget=search.budget,
            max_epochs=search.max_epochs,
            max_trials=count_trials(search),
            parallel_trials=parallel_trials,
            ends_bad_trials=search.stop_bad_trials or search.strategy == "hyperband",
        )
        self._has_bar = has_bar()
        self._is_outlook_told = False
        self._next_status = 0.0
        self._trials = {trial.name: trial for trial in trials}
        self._earlier_seconds = seconds
        self._began = time.monotonic()
        self._last_line = self._last_table = self._began
        self._show = show
        self._side_by_side = 0
        if trials:
            show(f"Going on with a search of {count(len(trials), 'trial')} so far.")
        self._show_status()

    def show(self, update: Event) -> None:
        """Show one update, if it is worth a line."""
        if update.trial is not None:
            self._trials[update.trial.name] = update.trial
            running = sum(not trial.is_finished for trial in self._trials.values())
            self._side_by_side = max(self._side_by_side, running)
        if update.kind == "finished" and update.trial is not None:
            self._line(self._describe_finished(update.trial), in_full=update.trial.status == "failed")
        elif update.kind == "progress" and update.trial is not None and update.trial.history:
            if is_verbose() or not self._has_bar:
                self._line(self._describe_epoch(update.trial))
            self._tell_outlook()
        elif update.kind == "started" and update.trial is not None and is_verbose():
            self._line(_describe_started(update.trial))
        elif update.note:
            self._note(update.note)
        elif self._has_bar:
            if time.monotonic() >= self._next_status:
                self._show_status()
            return
        elif time.monotonic() - self._last_line > min(LONGEST_QUIET, max(QUIET_SECONDS, QUIET_SHARE * self._seconds())):
            self._line(self._describe_silence())
        if self._has_bar:
            self._show_status()
        elif time.monotonic() - self._last_table > TABLE_SECONDS:
            self._last_table = time.monotonic()
            self._table()

    def _seconds(self) -> float:
        """Wall time of the search so far."""
        return self._earlier_seconds + time.monotonic() - self._began

    def _note(self, text: str) -> None:
        self._last_line = time.monotonic()
        self._show(f"[{duration(round(self._seconds())):>11}] {text}")

    def _table(self) -> None:
        """Show what is running, the trials that are furthest first."""
        trials = list(self._trials.values())
        running = sorted(
            (trial for trial in trials if not trial.is_finished), key=lambda trial: len(trial.history), reverse=True
        )
        if not running:
            return
        finished = len(trials) - len(running)
        failed = sum(trial.status == "failed" for trial in trials)
        self._line(f"{finished} of {self._outlook.max_trials} trials done, {failed} failed, {len(running)} running")
        width = max(len(trial.name) for trial in running)
        self._show(f"{'':14}{'running':{width}}  {'epoch':>9}  {'accuracy':>8}  {'best':>8}  {'since':>9}")
        for trial in running[:TABLE_ROWS]:
            self._show(f"{'':14}{trial.name:{width}}  {self._describe_running(trial)}")

    def _describe_running(self, trial: Trial) -> str:
        since = duration(round(max(0.0, time.time() - trial.started_at))) if trial.started_at else ""
        accuracies = [epoch.validation_accuracy for epoch in trial.history]
        if not accuracies:
            return f"{'starting':>9}  {'':8}  {'':8}  {since:>9}"
        epoch = f"{trial.history[-1].epoch + 1}/{self._search.max_epochs}"
        return f"{epoch:>9}  {accuracies[-1]:8.4f}  {max(accuracies):8.4f}  {since:>9}"

    def _line(self, text: str, *, in_full: bool = False) -> None:
        self._last_line = time.monotonic()
        text = f"[{duration(round(self._seconds())):>11}] {text}"
        if self._has_bar:
            # How the search stands is in the line of progress.
            (self._show if in_full else say_row)(text)
            return
        left = self._left()
        self._show(f"{text} | {self._standing()}{f' | {left}' if left else ''}")

    def end(self) -> None:
        """Take the line of progress away."""
        show_status(None)

    def _show_status(self) -> None:
        self._next_status = time.monotonic() + STATUS_SECONDS
        trials = list(self._trials.values())
        done, of = sum(trial.is_finished for trial in trials), self._outlook.max_trials
        standing = self._standing(with_name=False) if trials else "starting"
        show_status(
            Status(self._outlook.done(trials, self._seconds()), f"{done}/{of} trials, {standing}", self._left())
        )

    def _standing(self, *, with_name: bool = True) -> str:
        best = find_best_trial(list(self._trials.values()))
        if best is None:
            return "no result yet"
        return f"best {best.objective:.4f}{f' ({best.name})' if with_name else ''}"

    def _left(self) -> str:
        left = self._outlook.seconds_left(list(self._trials.values()), self._seconds(), time.time(), self._side_by_side)
        return "" if left is None else f"about {duration(round(left))} left"

    def _tell_outlook(self) -> None:
        if self._is_outlook_told:
            return
        outlook = self._outlook.describe(list(self._trials.values()), self._seconds(), time.time())
        if outlook is not None:
            self._is_outlook_told = True
            self._show(outlook)

    def _describe_silence(self) -> str:
        running = [trial.name for trial in self._trials.values() if not trial.is_finished]
        if not running:
            return "waiting for the next trial" if self._trials else "waiting for the first trial"
        more = f" and {len(running) - NAMES_SHOWN} more" if len(running) > NAMES_SHOWN else ""
        return f"running: {', '.join(running[:NAMES_SHOWN])}{more}"

    def _describe_epoch(self, trial: Trial) -> str:
        epoch = trial.history[-1]
        return (
            f"{trial.name} epoch {epoch.epoch + 1}/{self._search.max_epochs} "
            f"validation:accuracy {epoch.validation_accuracy:.4f}"
        )

    def _describe_finished(self, trial: Trial) -> str:
        done = sum(trial.is_finished for trial in self._trials.values())
        of = f"{done}/{self._outlook.max_trials}"
        if trial.status == "failed":
            return f"{trial.name} failed ({of} done): {trial.failure_reason}"
        reached = "nothing reached" if trial.objective is None else f"{trial.objective:.4f}"
        note = f", {trial.note}" if trial.note else ""
        values = ", ".join(f"{name} {_short(value)}" for name, value in trial.hyperparameters.items())
        return f"{trial.name} {trial.status.replace('_', ' ')} ({of} done): {reached}{note} [{values}]"


def count_trials(search: Search) -> int:
    """How many trials a search has if nothing ends it early."""
    most = search.budget.max_trials
    return min(most, len(make_grid(search))) if search.strategy == "grid" else most


def _describe_started(trial: Trial) -> str:
    values = ", ".join(f"{name} {_short(value)}" for name, value in trial.hyperparameters.items())
    return f"{trial.name} started [{values}]{f', log: {trial.log_uri}' if trial.log_uri else ''}"


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
