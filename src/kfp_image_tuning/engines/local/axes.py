"""What a strategy sees of a hyperparameter: a coordinate from 0 to 1, most of it where the search's prior says.

`Axis` gives the prior's interval all but `OUTSIDE` of its coordinate, so that whatever draws evenly (a model's first
guesses, its own prior) draws mostly there, and what remains keeps every value of the range within reach. Without a
prior the coordinate is the position in the range.
"""

from dataclasses import dataclass

from kfp_image_tuning.search.hyperparameter_table import Value
from kfp_image_tuning.search.ranges import ContinuousRange, IntegerRange
from kfp_image_tuning.search.search import Search

OUTSIDE = 0.06
"""Share of a coordinate that is outside the prior's interval."""


@dataclass(frozen=True)
class Axis:
    """A range as a coordinate from 0 to 1.

    Attributes:
        range: What is searched.
        prior: Start and end of where to look first, in units of the range; (0, 1): nowhere more than elsewhere.
    """

    range: ContinuousRange | IntegerRange
    prior: tuple[float, float] = (0.0, 1.0)

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
        low, high = self.prior
        outside = low + 1 - high
        if outside <= 0:
            return [0.0, 1.0], [0.0, 1.0]
        return [0.0, OUTSIDE * low / outside, 1 - OUTSIDE * (1 - high) / outside, 1.0], [0.0, low, high, 1.0]


def make_axis(search: Search, optimizer: str, name: str, values: ContinuousRange | IntegerRange) -> Axis:
    """The axis of one hyperparameter in trials with ``optimizer``."""
    intervals = search.prior.get(optimizer, {})
    if name not in intervals:
        return Axis(values)
    low, high = intervals[name]
    return Axis(values, (values.to_unit(low), values.to_unit(high)))


def _interpolate(place: float, here: list[float], there: list[float]) -> float:
    """Map a place between corners to the same place between other corners."""
    for start, end, first, last in zip(here, here[1:], there, there[1:], strict=False):
        if place <= end and end > start:
            return first + (place - start) / (end - start) * (last - first)
    return there[-1]
