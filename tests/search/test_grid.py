"""The grid of a search."""

from typing import Any

import pytest

from kfp_image_tuning.core.errors import SearchSpaceError
from kfp_image_tuning.search.budget import Budget
from kfp_image_tuning.search.grid import make_grid
from tests.search.searches import make_search


def test_a_step_is_the_middle_of_its_part_of_the_range() -> None:
    changes = {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 1e-4, "mini_batch_size": 32}
    changes["learning_rate"] = {"min": 1e-4, "max": 0.1}
    search = make_search(changes, strategy="grid", budget=Budget(max_trials=3))
    rates = [values["learning_rate"] for values in make_grid(search)]
    assert rates == pytest.approx([10**-3.5, 10**-2.5, 10**-1.5])


@pytest.mark.parametrize(
    ("changes", "max_trials", "mode", "expected"),
    [
        pytest.param({}, 80, "conditional", 80, id="two steps of every range of every optimizer"),
        pytest.param({"optimizer": "sgd"}, 80, "conditional", 16, id="three steps would be 81"),
        pytest.param({"optimizer": "sgd"}, 81, "conditional", 81, id="three steps"),
        pytest.param({"optimizer": ["sgd", "adam"]}, 48, "conditional", 48, id="2^4 + 2^5"),
        pytest.param({"optimizer": ["sgd", "nag"]}, 600, "flat", 512, id="flat: all 2^8 for each"),
        pytest.param(
            {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.0, "mini_batch_size": {"min": 8, "max": 10}},
            30,
            "conditional",
            30,
            id="a range of three numbers has three steps",
        ),
    ],
)
def test_a_grid_is_as_fine_as_the_budget_allows(
    changes: dict[str, Any], max_trials: int, mode: str, expected: int
) -> None:
    search = make_search(changes, strategy="grid", search_mode=mode, budget=Budget(max_trials=max_trials))
    grid = make_grid(search)
    assert len(grid) == expected
    assert len({tuple(sorted(values.items())) for values in grid}) == expected


def test_a_grid_that_cannot_fit_is_refused_with_the_way_out() -> None:
    search = make_search(strategy="grid", budget=Budget(max_trials=20))
    with pytest.raises(SearchSpaceError, match=r"80 combinations, the budget 20 trials; allow 80 trials, tune fewer"):
        make_grid(search)
