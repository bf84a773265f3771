"""The coordinates that strategies see."""

import pytest

from kfp_image_tuning.engines.local.axes import KNOWN_TO_WORK, OUTSIDE, Axis, make_axis
from kfp_image_tuning.search.ranges import CategoricalRange, ContinuousRange, IntegerRange
from kfp_image_tuning.search.search import Search
from tests.search.searches import make_search


def all_axes(search: Search) -> list[tuple[str, str, Axis]]:
    return [
        (optimizer, name, make_axis(search, optimizer, name, values))
        for optimizer in search.space.optimizers
        for name, values in search.space.active_ranges(optimizer).items()
        if not isinstance(values, CategoricalRange)
    ]


@pytest.mark.parametrize(("optimizer", "name", "axis"), all_axes(make_search()))
def test_every_documented_value_stays_within_reach(optimizer: str, name: str, axis: Axis) -> None:
    assert axis.to_value(0.0) == pytest.approx(axis.range.minimum)
    assert axis.to_value(1.0) == pytest.approx(axis.range.maximum)
    values = [axis.to_value(step / 200) for step in range(201)]
    assert values == sorted(values)


@pytest.mark.parametrize(("optimizer", "name", "axis"), all_axes(make_search()))
def test_a_value_comes_back_from_its_coordinate(optimizer: str, name: str, axis: Axis) -> None:
    for step in range(21):
        value = axis.to_value(step / 20)
        assert isinstance(value, int | float)
        assert axis.to_value(axis.to_coordinate(value)) == pytest.approx(value)


def test_most_of_a_coordinate_lies_where_training_is_known_to_work() -> None:
    for optimizer, name, axis in all_axes(make_search()):
        if name in KNOWN_TO_WORK[optimizer]:
            low, high = KNOWN_TO_WORK[optimizer][name]
            inside = sum(low <= axis.to_value(step / 1000) <= high for step in range(1001)) / 1001  # type: ignore[operator]
            assert inside == pytest.approx(1 - OUTSIDE, abs=0.01), (optimizer, name)


@pytest.mark.parametrize(
    ("changes", "name", "low", "high"),
    [
        pytest.param({"learning_rate": {"min": 1e-6, "max": 1e-5}}, "learning_rate", 1e-6, 1e-5, id="no overlap"),
        pytest.param({"learning_rate": {"min": 0.05, "max": 0.1}}, "learning_rate", 0.05, 0.1, id="inside"),
    ],
)
def test_a_users_own_range_is_searched_evenly(changes: dict[str, object], name: str, low: float, high: float) -> None:
    search = make_search(changes)
    values = search.space.ranges[name]
    assert isinstance(values, ContinuousRange)
    axis = make_axis(search, "sgd", name, values)
    assert [axis.to_value(unit) for unit in (0.0, 0.3, 1.0)] == [values.from_unit(unit) for unit in (0.0, 0.3, 1.0)]
    assert (axis.to_value(0.0), axis.to_value(1.0)) == (low, high)


def test_short_searches_look_first_at_small_mini_batches() -> None:
    def largest(epochs: int) -> float:
        search = make_search({"epochs": epochs})
        values = search.space.ranges["mini_batch_size"]
        assert isinstance(values, IntegerRange)
        axis = make_axis(search, "sgd", "mini_batch_size", values)
        return axis.to_value(1 - OUTSIDE)  # type: ignore[return-value]

    assert largest(1) < largest(3) < largest(30) <= 140
