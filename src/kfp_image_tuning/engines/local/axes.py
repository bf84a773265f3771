"""What a strategy sees of a hyperparameter: a coordinate from 0 to 1, most of it where training is known to work.

AWS's documented ranges are wide, and most of each is of no use: a learning rate of 1e-6 does not move, one of 0.5 makes
adam diverge. `KNOWN_TO_WORK` says where, optimizer by optimizer, to look first. `Axis` gives that interval all but
`OUTSIDE` of its coordinate, so that whatever draws evenly (chance, a model's first guesses, its prior) draws mostly
there, and what remains keeps every documented value within reach. A user's own narrower range is respected: only its
overlap counts, and without one the range is taken as it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from kfp_image_tuning.search.hyperparameter_table import Value
from kfp_image_tuning.search.ranges import ContinuousRange, IntegerRange
from kfp_image_tuning.search.search import Search

OUTSIDE = 0.06
"""Share of a coordinate that lies outside the interval known to work."""

_MOMENTUM = {
    "learning_rate": (0.01, 0.3),
    "momentum": (0.5, 0.97),
    # From 1e-3 on, decay and batch normalization together raise the effective learning rate for ever.
    "weight_decay": (0.0, 2e-3),
}
_MEAN_SQUARE = {
    "eps": (1e-8, 1e-3),
}

KNOWN_TO_WORK: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "sgd": _MOMENTUM,
    "nag": _MOMENTUM,
    "adam": {"learning_rate": (5e-4, 0.02), "beta_1": (0.6, 0.95), "beta_2": (0.9, 0.999), **_MEAN_SQUARE},
    "rmsprop": {"learning_rate": (2e-4, 0.01), "gamma": (0.8, 0.99), **_MEAN_SQUARE},
}
"""By optimizer and hyperparameter: where ResNets with batch normalization train well."""

MINIMUM_STEPS = 250
"""Updates that a training needs at least; larger mini-batches leave fewer."""
MINI_BATCHES = (16, 128)
"""Smaller ones cost time for each image, larger ones accuracy."""


@dataclass(frozen=True)
class Axis:
    """A range as a coordinate from 0 to 1.

    Attributes:
        range: What is searched.
        known: Start and end of the interval known to work, in units of the range; (0, 1): nothing is known.
    """

    range: ContinuousRange | IntegerRange
    known: tuple[float, float] = (0.0, 1.0)

    def to_value(self, coordinate: float) -> Value:
        """The value at a coordinate."""
        corners, units = self._corners()
        return self.range.from_unit(_interpolate(coordinate, corners, units))

    def to_coordinate(self, value: float) -> float:
        """The coordinate of a value."""
        corners, units = self._corners()
        return _interpolate(self.range.to_unit(value), units, corners)

    def _corners(self) -> tuple[list[float], list[float]]:
        """Coordinates and units between which the way is straight."""
        low, high = self.known
        outside = low + 1 - high
        if outside <= 0:
            return [0.0, 1.0], [0.0, 1.0]
        return [0.0, OUTSIDE * low / outside, 1 - OUTSIDE * (1 - high) / outside, 1.0], [0.0, low, high, 1.0]


def make_axis(search: Search, optimizer: str, name: str, values: ContinuousRange | IntegerRange) -> Axis:
    """The axis of one hyperparameter in trials with ``optimizer``."""
    known = _mini_batches(search) if name == "mini_batch_size" else KNOWN_TO_WORK[optimizer].get(name)
    if known is None:
        return Axis(values)
    low, high = max(known[0], values.minimum), min(known[1], values.maximum)
    return Axis(values, (values.to_unit(low), values.to_unit(high))) if low < high else Axis(values)


def _mini_batches(search: Search) -> tuple[float, float]:
    """Sizes with which the epochs hold enough updates."""
    smallest, largest = MINI_BATCHES
    enough = search.dataset.num_training_samples * search.max_epochs / MINIMUM_STEPS
    return smallest, min(max(enough, 2.0 * smallest), largest)


def _interpolate(place: float, here: list[float], there: list[float]) -> float:
    """Map a place between corners to the same place between other corners."""
    for start, end, first, last in zip(here, here[1:], there, there[1:], strict=False):
        if place <= end and end > start:
            return first + (place - start) / (end - start) * (last - first)
    return there[-1]
