"""Ranges: scaling both ways, bounds, and what is refused."""

import json
import math
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kfp_image_tuning.core.errors import SearchSpaceError
from kfp_image_tuning.search.ranges import CategoricalRange, ContinuousRange, IntegerRange, Scaling, range_from_dict

units = st.floats(0, 1)


@st.composite
def continuous_ranges(draw: st.DrawFn) -> ContinuousRange:
    scaling = draw(st.sampled_from(get_args(Scaling)))
    low = 0.0 if scaling == "logarithmic_from_zero" else draw(st.floats(1e-8, 0.4))
    return ContinuousRange(low, draw(st.floats(0.5, 0.999)), scaling)


@given(continuous_ranges(), units)
def test_every_point_of_the_unit_interval_maps_into_the_range_and_back(values: ContinuousRange, unit: float) -> None:
    value = values.from_unit(unit)
    assert values.contains(value)
    assert values.to_unit(value) == pytest.approx(unit, abs=1e-6)


@given(continuous_ranges(), units, units)
def test_scaling_keeps_order(values: ContinuousRange, first: float, second: float) -> None:
    low, high = sorted((first, second))
    assert values.from_unit(low) <= values.from_unit(high)


@given(continuous_ranges())
def test_both_ends_are_reached_exactly(values: ContinuousRange) -> None:
    assert values.from_unit(0.0) == pytest.approx(values.minimum, abs=1e-15)
    assert values.from_unit(1.0) == pytest.approx(values.maximum)
    assert values.to_unit(values.minimum) == 0
    assert values.to_unit(values.maximum) == 1


@given(st.integers(1, 500), st.integers(1, 500), st.sampled_from(["linear", "logarithmic"]))
def test_every_integer_is_reached(low: int, width: int, scaling: str) -> None:
    values = IntegerRange(low, low + width, scaling)  # type: ignore[arg-type]
    for value in (low, low + width // 2, low + width):
        assert values.from_unit(values.to_unit(value)) == value


def test_reverse_logarithmic_treats_nines_alike() -> None:
    momentum = ContinuousRange(0.0, 0.999, "reverse_logarithmic")
    assert momentum.to_unit(0.99) - momentum.to_unit(0.9) == pytest.approx(
        momentum.to_unit(0.999) - momentum.to_unit(0.99)
    )


def test_logarithmic_from_zero_reaches_zero_and_spreads_decades() -> None:
    decay = ContinuousRange(0.0, 0.999, "logarithmic_from_zero")
    assert decay.from_unit(0.0) == 0.0
    assert 1e-4 < decay.from_unit(0.5) < 1e-2


REFUSED = [
    (
        "log from zero",
        lambda: ContinuousRange(0.0, 0.999, "logarithmic"),
        "logarithmic scaling needs a minimum above 0",
    ),
    ("reverse log to one", lambda: ContinuousRange(1e-8, 1.0, "reverse_logarithmic"), "max < 1"),
    ("reverse log of integers", lambda: IntegerRange(8, 512, "reverse_logarithmic"), "continuous ranges only"),
    ("from zero above zero", lambda: ContinuousRange(0.1, 0.9, "logarithmic_from_zero"), "start at 0"),
    ("bounds in disorder", lambda: ContinuousRange(0.5, 0.1), "min must be below max"),
    ("not finite", lambda: ContinuousRange(0.0, math.inf), "finite"),
    ("unknown scaling", lambda: ContinuousRange(0.1, 0.2, "log"), "scaling is one of"),  # type: ignore[arg-type]
    ("no choices", lambda: CategoricalRange(()), "at least one value"),
    ("a choice twice", lambda: CategoricalRange(("sgd", "sgd")), "only once"),
    ("unknown type", lambda: range_from_dict({"type": "normal"}), "continuous, integer or categorical"),
    ("missing field", lambda: range_from_dict({"type": "integer", "min": 1, "max": 2}), "'scaling'"),
]


@pytest.mark.parametrize(("name", "make", "message"), REFUSED, ids=[case[0] for case in REFUSED])
def test_what_is_not_legal_is_refused_with_the_reason(name: str, make: object, message: str) -> None:
    with pytest.raises(SearchSpaceError, match=message):
        make()  # type: ignore[operator]


@given(continuous_ranges())
def test_json_form_is_exact(values: ContinuousRange) -> None:
    assert range_from_dict(json.loads(json.dumps(values.to_dict()))) == values
