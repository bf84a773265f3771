"""Progress of a search in lines: trial, epoch, best so far, time left; every few minutes a table of what is running.

Lines, not a redrawn screen: the same output is read in a terminal, in a pod's log and in a CI's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from kfp_image_tuning.core.wording import duration
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
OVERDUE_SHARE = 0.05
"""What is expected to be left of a trial that has taken longer than others, as a share of their time."""


class Progress:
    """Turns updates into lines.

    Args:
        search: The search that is followed.
        trials: What it had done before.
        seconds: Wall time that it had used before.
        show: Takes one line.
    """

    def __init__(self, search: Search, trials: Sequence[Trial], seconds: float, show: Callable[[str], None]) -> None:
        self._search = search
        self._trials = {trial.name: trial for trial in trials}
        self._earlier_seconds = seconds
        self._began = time.monotonic()
        self._last_line = self._last_table = self._began
        self._show = show
        self._side_by_side = 0
        if trials:
            show(f"Going on with a search of {len(trials)} trials so far.")

    def show(self, update: Event) -> None:
        """Show one update, if it is worth a line."""
        if update.trial is not None:
            self._trials[update.trial.name] = update.trial
            running = sum(not trial.is_finished for trial in self._trials.values())
            self._side_by_side = max(self._side_by_side, running)
        if update.kind == "finished" and update.trial is not None:
            self._line(self._describe_finished(update.trial))
        elif update.kind == "progress" and update.trial is not None and update.trial.history:
            self._line(self._describe_epoch(update.trial))
        elif update.note:
            self._note(update.note)
        elif time.monotonic() - self._last_line > min(LONGEST_QUIET, max(QUIET_SECONDS, QUIET_SHARE * self._seconds())):
            self._line(self._describe_silence())
        if time.monotonic() - self._last_table > TABLE_SECONDS:
            self._last_table = time.monotonic()
            self._table()

    def _seconds(self) -> float:
        """Wall time of the search so far."""
        return self._earlier_seconds + time.monotonic() - self._began

    def _note(self, text: str) -> None:
        self._last_line = time.monotonic()
        self._show(f"[{duration(round(self._seconds())):>9}] {text}")

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
        self._line(
            f"{finished} of {self._search.budget.max_trials} trials done, {failed} failed, {len(running)} running"
        )
        width = max(len(trial.name) for trial in running)
        self._show(f"{'':10}{'running':{width}}  {'epoch':>9}  {'accuracy':>8}  {'best':>8}  {'since':>9}")
        for trial in running[:TABLE_ROWS]:
            self._show(f"{'':10}{trial.name:{width}}  {self._describe_running(trial)}")

    def _describe_running(self, trial: Trial) -> str:
        since = duration(round(max(0.0, time.time() - trial.started_at))) if trial.started_at else ""
        accuracies = [epoch.validation_accuracy for epoch in trial.history]
        if not accuracies:
            return f"{'starting':>9}  {'':8}  {'':8}  {since:>9}"
        epoch = f"{trial.history[-1].epoch + 1}/{self._search.max_epochs}"
        return f"{epoch:>9}  {accuracies[-1]:8.4f}  {max(accuracies):8.4f}  {since:>9}"

    def _line(self, text: str) -> None:
        self._last_line = time.monotonic()
        seconds = self._seconds()
        best = find_best_trial(list(self._trials.values()))
        standing = f"best {best.objective:.4f} ({best.name})" if best else "no result yet"
        left = self._seconds_left(seconds)
        ending = "" if left is None else f" | about {duration(round(left))} left"
        self._show(f"[{duration(round(seconds)):>9}] {text} | {standing}{ending}")

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
        count = f"{done}/{self._search.budget.max_trials}"
        if trial.status == "failed":
            return f"{trial.name} failed ({count} done): {trial.failure_reason}"
        reached = "nothing reached" if trial.objective is None else f"{trial.objective:.4f}"
        note = f", {trial.note}" if trial.note else ""
        values = ", ".join(f"{name} {_short(value)}" for name, value in trial.hyperparameters.items())
        return f"{trial.name} {trial.status.replace('_', ' ')} ({count} done): {reached}{note} [{values}]"

    def _seconds_left(self, seconds: float) -> float | None:
        """The smaller of what the time limit leaves and what the remaining trials will take."""
        budget = self._search.budget
        estimates = [] if budget.max_seconds is None else [max(0.0, budget.max_seconds - seconds)]
        ended = [trial.seconds for trial in self._trials.values() if trial.is_finished and trial.status != "failed"]
        # Trials that were ended early say nothing of what a whole one takes.
        if any(trial.status == "completed" for trial in self._trials.values()):
            estimates.append(self._work_left(sum(ended) / len(ended)) / max(1, self._side_by_side))
        return min(estimates, default=None)

    def _work_left(self, seconds_each: float) -> float:
        """Seconds that all remaining trials will take one after the other, if they take as long as others did."""
        now = time.time()
        started = [trial.started_at or now for trial in self._trials.values() if not trial.is_finished]
        # A trial that has taken longer already may end any moment, or not.
        rests = [max(OVERDUE_SHARE * seconds_each, seconds_each - max(0.0, now - start)) for start in started]
        return sum(rests) + seconds_each * max(0, self._search.budget.max_trials - len(self._trials))


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
