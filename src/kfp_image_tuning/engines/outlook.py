"""How long a search will take, by what its trials have taken so far: arithmetic alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kfp_image_tuning.core.wording import count, duration
from kfp_image_tuning.search.budget import Budget
from kfp_image_tuning.search.result import Trial

OVERDUE_SHARE = 0.05
"""What is expected to be left of a trial that has taken longer than others, as a share of their time."""


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """A search as it stands.

    Attributes:
        budget: Its limits.
        max_epochs: Epochs of a whole trial.
        max_trials: Trials in all; fewer than the budget's where a grid has no more.
        parallel_trials: Trials at a time, as planned.
        ends_bad_trials: Whether trials may end before their last epoch.
    """

    budget: Budget
    max_epochs: int
    max_trials: int
    parallel_trials: int
    ends_bad_trials: bool

    def describe(self, trials: Sequence[Trial], seconds: float, now: float) -> str | None:
        """What the whole search will take, in a sentence; None as long as no epoch is known.

        Args:
            trials: All so far.
            seconds: Wall time that the search has used.
            now: Unix time.
        """
        an_epoch, each = _epoch_seconds(trials), self._whole_trial_seconds(trials, now)
        if an_epoch is None or each is None:
            return None
        to_come = self.max_trials - sum(trial.is_finished for trial in trials)
        rounds = math.ceil(to_come / max(1, self.parallel_trials))
        whole = rounds * each
        limit = None if self.budget.max_seconds is None else max(0.0, self.budget.max_seconds - seconds)
        is_cut = limit is not None and limit < whole
        at_once = min(self.parallel_trials, to_come)
        sentence = (
            f"One epoch took {duration(an_epoch)}: {count(to_come, 'trial')} of {count(self.max_epochs, 'epoch')}, "
            f"{at_once} at a time, {'would ' if is_cut else ''}take about {_roughly(whole)}"
        )
        if limit is not None and is_cut:
            return f"{sentence}; the time limit ends the search in {_roughly(limit)}."
        return f"{sentence}{'; early stopping makes it shorter' if self.ends_bad_trials else ''}."

    def seconds_left(self, trials: Sequence[Trial], seconds: float, now: float, side_by_side: int) -> float | None:
        """The smaller of what the time limit leaves and what the remaining trials will take; None: nobody knows.

        Args:
            trials: All so far.
            seconds: Wall time that the search has used.
            now: Unix time.
            side_by_side: The most trials that have been seen to run at a time.
        """
        limit = self.budget.max_seconds
        estimates = [] if limit is None else [max(0.0, limit - seconds)]
        ended = [trial.seconds for trial in trials if trial.is_finished and trial.status != "failed"]
        # Trials that were ended early say nothing of what a whole one takes.
        if any(trial.status == "completed" for trial in trials):
            estimates.append(self._work_left(trials, now, sum(ended) / len(ended)) / max(1, side_by_side))
        elif (each := self._whole_trial_seconds(trials, now)) is not None:
            estimates.append(self._work_left(trials, now, each) / max(1, self.parallel_trials))
        return min(estimates, default=None)

    def done(self, trials: Sequence[Trial], seconds: float) -> float:
        """Which part of the search is over, 0 to 1: the larger one of its trials' and its time limit's."""
        parts = (1.0 if trial.is_finished else min(1.0, len(trial.history) / self.max_epochs) for trial in trials)
        by_trials = sum(parts) / max(1, self.max_trials)
        limit = self.budget.max_seconds
        return min(1.0, max(by_trials, 0.0 if limit is None else seconds / limit))

    def _whole_trial_seconds(self, trials: Sequence[Trial], now: float) -> float | None:
        """Wall time of a trial with all its epochs, and of what comes before the first: a machine, an image, data."""
        an_epoch = _epoch_seconds(trials)
        if an_epoch is None:
            return None
        starts = [
            (trial.finished_at or now) - trial.started_at - sum(epoch.seconds or 0.0 for epoch in trial.history)
            for trial in trials
            if trial.history and trial.started_at is not None
        ]
        return max(0.0, min(starts, default=0.0)) + an_epoch * self.max_epochs

    def _work_left(self, trials: Sequence[Trial], now: float, seconds_each: float) -> float:
        """Seconds that all remaining trials will take one after the other, if they take as long as others did."""
        started = [trial.started_at or now for trial in trials if not trial.is_finished]
        # A trial that has taken longer already may end any moment, or not.
        rests = [max(OVERDUE_SHARE * seconds_each, seconds_each - max(0.0, now - start)) for start in started]
        return sum(rests) + seconds_each * max(0, self.max_trials - len(trials))


def _epoch_seconds(trials: Sequence[Trial]) -> float | None:
    """What an epoch takes, as far as engines tell."""
    known = [epoch.seconds for trial in trials for epoch in trial.history if epoch.seconds]
    return sum(known) / len(known) if known else None


def _roughly(seconds: float) -> str:
    """A time without the seconds that nobody knows."""
    return duration(round(seconds / 60) * 60 if seconds >= 600 else round(seconds))
