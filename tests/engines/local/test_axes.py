"""The coordinates that strategies see."""

from typing import Any

import pytest

from kfp_image_tuning.engines.local.axes import OUTSIDE, Axis, make_axis
from kfp_image_tuning.search.ranges import CategoricalRange
from kfp_image_tuning.search.search import Search
from tests.search.searches import make_search


def all_axes(search: Search) -> list[tuple[str, str, Axis]]:
    return [
        (optimizer, name, make_axis(search, optimizer, name, values))
        for optimizer in search.space.optimizers
        for name, values in search.space.active_ranges(optimizer).items()
        if not isinstance(values, CategoricalRange)
    ]


@pytest.mark.parametrize(("optimizer", "name", "axis"), all_axes(make_search().with_prior()))
def test_every_documented_value_stays_within_reach(optimizer: str, name: str, axis: Axis) -> None:
    assert axis.to_value(0.0) == pytest.approx(axis.range.minimum)
    assert axis.to_value(1.0) == pytest.approx(axis.range.maximum)
    values: list[Any] = [axis.to_value(step / 200) for step in range(201)]
    assert values == sorted(values)


@pytest.mark.parametrize(("optimizer", "name", "axis"), all_axes(make_search().with_prior()))
def test_a_value_comes_back_from_its_coordinate(optimizer: str, name: str, axis: Axis) -> None:
    for step in range(21):
        value = axis.to_value(step / 20)
        assert isinstance(value, int | float)
        assert axis.to_value(axis.to_coordinate(value)) == pytest.approx(value)


def test_most_of_a_coordinate_lies_in_the_prior() -> None:
    search = make_search().with_prior()
    for optimizer, name, axis in all_axes(search):
        low, high = search.prior[optimizer].get(name, (axis.range.minimum, axis.range.maximum))
        inside = sum(low <= axis.to_value(step / 1000) <= high for step in range(1001)) / 1001  # type: ignore[operator]
        expected = 1 - OUTSIDE if name in search.prior[optimizer] else 1
        assert inside == pytest.approx(expected, abs=0.02), (optimizer, name)


def test_without_a_prior_a_coordinate_is_the_position_in_the_range() -> None:
    for optimizer, name, axis in all_axes(make_search({"learning_rate": {"max": 0.1}}).with_prior("none")):
        for unit in (0.0, 0.3, 1.0):
            assert axis.to_value(unit) == axis.range.from_unit(unit), (optimizer, name)
