"""Ranges of hyperparameters and their scaling.

A range owns its scaling: ``from_unit`` maps [0, 1] onto its values so that equal steps are equally interesting,
``to_unit`` maps back. A search strategy that only ever sees the unit interval therefore searches every range well,
whatever scalings its own library knows.

The rules of legality are those of Amazon SageMaker ("Hyperparameter scaling" in the developer guide), which are the
strictest of the three engines: logarithmic needs a minimum above 0; reverse-logarithmic is for continuous ranges
within 0 <= x < 1.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from kfp_image_tuning.core.errors import SearchSpaceError

Scaling = Literal["linear", "logarithmic", "reverse_logarithmic", "logarithmic_from_zero"]
"""How equal steps are laid over a range.

* ``linear``: equal differences.
* ``logarithmic``: equal ratios; needs a minimum above 0.
* ``reverse_logarithmic``: equal ratios of the distance to 1; continuous ranges within 0 <= x < 1. For what acts
  through ``1 - x``, such as momentum: from 0.9 to 0.99 is as far as from 0.99 to 0.999.
* ``logarithmic_from_zero``: equal ratios above `ZERO_SCALE`, linear below it, for continuous ranges that start at
  exactly 0. Only the local engine knows it; elsewhere it becomes ``linear``, and the plan says so.
"""

ZERO_SCALE = 1e-6
"""Where ``logarithmic_from_zero`` turns from linear to logarithmic: a weight decay this small acts like none."""


@dataclass(frozen=True)
class ContinuousRange:
    """Real numbers from ``minimum`` to ``maximum``, both included.

    Raises:
        SearchSpaceError: If the bounds are not finite and ordered, or the scaling is not legal for them.
    """

    minimum: float
    maximum: float
    scaling: Scaling = "linear"

    def __post_init__(self) -> None:
        _check_bounds(self.minimum, self.maximum)
        _check_scaling(self.scaling)
        if self.scaling == "logarithmic":
            _check_logarithmic(self.minimum, self.maximum)
        if self.scaling == "reverse_logarithmic" and not (self.minimum >= 0 and self.maximum < 1):
            raise SearchSpaceError(
                f"reverse_logarithmic scaling needs 0 <= min and max < 1, got {self.minimum!r} to {self.maximum!r}; "
                'use scaling "linear" or "logarithmic"'
            )
        if self.scaling == "logarithmic_from_zero" and self.minimum != 0:
            raise SearchSpaceError(
                f"logarithmic_from_zero scaling is for ranges that start at 0, got {self.minimum!r}; "
                'use scaling "logarithmic"'
            )

    def from_unit(self, unit: float) -> float:
        """The value at ``unit`` (0 to 1) of the way through the range."""
        low, high = self.minimum, self.maximum
        if self.scaling == "logarithmic":
            value = low * math.exp(unit * math.log(high / low))
        elif self.scaling == "reverse_logarithmic":
            value = 1 - (1 - low) * math.exp(unit * math.log((1 - high) / (1 - low)))
        elif self.scaling == "logarithmic_from_zero":
            value = ZERO_SCALE * math.expm1(unit * math.log1p(high / ZERO_SCALE))
        else:
            value = low + unit * (high - low)
        return min(max(value, low), high)

    def to_unit(self, value: float) -> float:
        """How far through the range ``value`` is, 0 to 1; values outside are clipped."""
        low, high = self.minimum, self.maximum
        if low == high:
            return 0.0
        value = min(max(value, low), high)
        if self.scaling == "logarithmic":
            return math.log(value / low) / math.log(high / low)
        if self.scaling == "reverse_logarithmic":
            return math.log((1 - value) / (1 - low)) / math.log((1 - high) / (1 - low))
        if self.scaling == "logarithmic_from_zero":
            return math.log1p(value / ZERO_SCALE) / math.log1p(high / ZERO_SCALE)
        return (value - low) / (high - low)

    def contains(self, value: object) -> bool:
        """Whether ``value`` is a number within the bounds."""
        return isinstance(value, int | float) and not isinstance(value, bool) and self.minimum <= value <= self.maximum

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {"type": "continuous", "min": self.minimum, "max": self.maximum, "scaling": self.scaling}


@dataclass(frozen=True)
class IntegerRange:
    """Whole numbers from ``minimum`` to ``maximum``, both included.

    Raises:
        SearchSpaceError: If the bounds are not ordered, or the scaling is not legal for them.
    """

    minimum: int
    maximum: int
    scaling: Scaling = "linear"

    def __post_init__(self) -> None:
        _check_bounds(self.minimum, self.maximum)
        _check_scaling(self.scaling)
        if self.scaling not in ("linear", "logarithmic"):
            raise SearchSpaceError(
                f"{self.scaling} scaling is for continuous ranges only; "
                'use scaling "linear" or "logarithmic" for integers'
            )
        if self.scaling == "logarithmic":
            _check_logarithmic(self.minimum, self.maximum)

    def from_unit(self, unit: float) -> int:
        """The value at ``unit`` (0 to 1) of the way through the range; every value has its own share of the way."""
        low, high = self.minimum - 0.5, self.maximum + 0.5
        value = (
            low * math.exp(unit * math.log(high / low)) if self.scaling == "logarithmic" else low + unit * (high - low)
        )
        return min(max(round(value), self.minimum), self.maximum)

    def to_unit(self, value: float) -> float:
        """How far through the range ``value`` is, 0 to 1; values outside are clipped."""
        low, high = self.minimum - 0.5, self.maximum + 0.5
        value = min(max(value, self.minimum), self.maximum)
        if self.scaling == "logarithmic":
            return math.log(value / low) / math.log(high / low)
        return (value - low) / (high - low)

    def contains(self, value: object) -> bool:
        """Whether ``value`` is a whole number within the bounds."""
        return isinstance(value, int) and not isinstance(value, bool) and self.minimum <= value <= self.maximum

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {"type": "integer", "min": self.minimum, "max": self.maximum, "scaling": self.scaling}


@dataclass(frozen=True)
class CategoricalRange:
    """A choice among ``values``, in their given order.

    Raises:
        SearchSpaceError: If there is no value, or one stands twice.
    """

    values: tuple[str | int, ...]

    def __post_init__(self) -> None:
        if not self.values or len(set(self.values)) != len(self.values):
            raise SearchSpaceError(f"a choice needs at least one value and each only once, got {list(self.values)}")

    def contains(self, value: object) -> bool:
        """Whether ``value`` is one of the choices."""
        return value in self.values

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {"type": "categorical", "values": list(self.values)}


Range = ContinuousRange | IntegerRange | CategoricalRange


def range_from_dict(document: Mapping[str, Any]) -> Range:
    """Read the JSON form that ``to_dict`` wrote.

    Raises:
        SearchSpaceError: If the type is unknown or a field is missing.
    """
    try:
        kind = document["type"]
        if kind == "continuous":
            return ContinuousRange(float(document["min"]), float(document["max"]), document["scaling"])
        if kind == "integer":
            return IntegerRange(int(document["min"]), int(document["max"]), document["scaling"])
        if kind == "categorical":
            return CategoricalRange(tuple(document["values"]))
    except KeyError as missing:
        raise SearchSpaceError(f"a range needs the field {missing}, got {dict(document)}") from None
    raise SearchSpaceError(f"a range's type is continuous, integer or categorical, got {kind!r}")


def _check_bounds(minimum: float, maximum: float) -> None:
    if not (math.isfinite(minimum) and math.isfinite(maximum) and minimum < maximum):
        raise SearchSpaceError(
            f"min must be below max and both finite, got {minimum!r} to {maximum!r}; to fix a value give it alone"
        )


def _check_scaling(scaling: str) -> None:
    if scaling not in get_args(Scaling):
        raise SearchSpaceError(f"scaling is one of {', '.join(get_args(Scaling))}, got {scaling!r}")


def _check_logarithmic(minimum: float, maximum: float) -> None:
    if minimum <= 0:
        raise SearchSpaceError(
            f"logarithmic scaling needs a minimum above 0, got {minimum!r} to {maximum!r}; "
            'use scaling "linear" or raise min'
        )
