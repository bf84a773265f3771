"""A trial as the local engine knows it: what all engines tell of one, and what strategies and early stopping need."""

from dataclasses import dataclass, field
from typing import Any

from kfp_image_tuning.tuning.result import Trial


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
