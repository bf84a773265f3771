"""A trial as the local engine knows it: what all engines tell of one, and what strategies and early stopping need."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from kfp_image_tuning.search.result import Trial, find_best_trial


@dataclass(frozen=True)
class Point:
    """Where a trial was within its first epoch.

    Attributes:
        images: Training images seen.
        loss: Mean over them.
        accuracy: Mean over them.
    """

    images: int
    loss: float
    accuracy: float


@dataclass
class Record:
    """One trial.

    Attributes:
        number: From 0, in the order of the suggestions.
        values: The tuned values that it was given, the optimizer among them.
        source: Who suggested them: ``defaults``, ``known``, ``random``, ``model`` or ``grid``.
        trial: The trial as all engines describe it.
        points: Its first epoch, as far as it got.
    """

    number: int
    values: dict[str, Any]
    source: str
    trial: Trial
    points: list[Point] = field(default_factory=list)

    @property
    def score(self) -> float:
        """What a strategy learns from: the objective, or 0 for a trial that did not come to one."""
        return self.trial.objective or 0.0


def describe_records(records: Sequence[Record]) -> str:
    """What a journal holds, for a reader: ``3 finished trials (best 0.9710) and 1 that was cut off after 4 epochs``."""
    trials = [record.trial for record in records]
    cut_off = [trial for trial in trials if trial.status in ("running", "stopped")]
    finished = [trial for trial in trials if trial not in cut_off]
    best = find_best_trial(finished)
    words = "1 finished trial" if len(finished) == 1 else f"{len(finished)} finished trials"
    words += f" (best {best.objective:.4f})" if best else ""
    if cut_off:
        epochs = max(len(trial.history) for trial in cut_off)
        words += f" and {len(cut_off)} that {'was' if len(cut_off) == 1 else 'were'} cut off after "
        words += "1 epoch" if epochs == 1 else f"{epochs} epochs" if len(cut_off) == 1 else f"up to {epochs} epochs"
    return words
