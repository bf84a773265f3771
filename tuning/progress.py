"""Progress of a search in lines: trial, epoch, best so far, time left.

Lines, not a redrawn screen: the same output is read in a terminal, in a pod's log and in a CI's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from kfp_image_tuning.tuning.result import Trial, find_best_trial

if TYPE_CHECKING:
    from kfp_image_tuning.tuning.engine import TrialUpdate
    from kfp_image_tuning.tuning.search import Search

QUIET_SECONDS = 10.0
"""After so long without a line, one is shown that says what is going on."""


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
        self._last_line = self._began
        self._show = show
        self._finished_here = 0
        if trials:
            show(f"Going on with a search of {len(trials)} trials so far.")

    def show(self, update: TrialUpdate) -> None:
        """Show one update, if it is worth a line."""
        if update.trial is not None:
            self._trials[update.trial.name] = update.trial
        if update.kind == "finished" and update.trial is not None:
            self._finished_here += 1
            self._line(self._describe_finished(update.trial))
        elif update.kind == "progress" and update.trial is not None and update.trial.history:
            self._line(self._describe_epoch(update.trial))
        elif update.note:
            self._line(update.note)
        elif time.monotonic() - self._last_line > QUIET_SECONDS:
            running = [trial.name for trial in self._trials.values() if not trial.is_finished]
            self._line(f"running: {', '.join(running)}" if running else "waiting for the first trial")

    def _line(self, text: str) -> None:
        now = time.monotonic()
        self._last_line = now
        seconds = self._earlier_seconds + now - self._began
        best = find_best_trial(list(self._trials.values()))
        standing = f"best {best.objective:.4f} ({best.name})" if best else "no result yet"
        left = self._seconds_left(seconds)
        ending = "" if left is None else f" | about {_duration(left)} left"
        self._show(f"[{_duration(seconds):>7}] {text} | {standing}{ending}")

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
        """The smaller of what the time limit leaves and what the remaining trials will take at the pace so far."""
        budget = self._search.budget
        estimates = [] if budget.max_seconds is None else [max(0.0, budget.max_seconds - seconds)]
        if self._finished_here:
            done = sum(trial.is_finished for trial in self._trials.values())
            pace = (time.monotonic() - self._began) / self._finished_here
            estimates.append(pace * max(0, budget.max_trials - done))
        return min(estimates, default=None)


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _duration(seconds: float) -> str:
    """Seconds in a form that is read at a glance: ``42 s``, ``3 m 05 s``, ``2 h 10 m``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} m {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} m"
