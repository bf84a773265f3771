"""The grid of a search, the same on every engine that makes one.

Choices are taken as they are, and every other range in the same number of steps, as many as fit ``max_trials``: the
middles of so many equal parts of the range, by its scaling.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

from kfp_image_tuning.core.errors import SearchSpaceError
from kfp_image_tuning.search.hyperparameter_table import Value
from kfp_image_tuning.search.ranges import CategoricalRange, Range
from kfp_image_tuning.search.search import Search

MOST_STEPS = 10
"""Steps of a range, at most."""


def make_grid(search: Search) -> list[dict[str, Any]]:
    """Every combination of the tuned values, one optimizer after the other.

    Raises:
        SearchSpaceError: If not even two steps of each range fit the budget.
    """
    steps = choose_steps(search)
    combinations: list[dict[str, Any]] = []
    for optimizer in search.space.optimizers:
        values: dict[str, Sequence[Value]] = {"optimizer": [optimizer]}
        values |= {name: cut_into_steps(each, steps) for name, each in search.trial_ranges(optimizer).items()}
        combinations += [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]
    return combinations


def choose_steps(search: Search) -> int:
    """The most steps of each range with which the whole grid fits the budget.

    Raises:
        SearchSpaceError: If not even two do.
    """
    smallest, most = _count(search, 2), search.budget.max_trials
    if smallest > most:
        raise SearchSpaceError(
            f"grid: the smallest grid, with two steps of each range, has {smallest} combinations, the budget {most} "
            f"trials; allow {smallest} trials, tune fewer hyperparameters or optimizers, or use another strategy"
        )
    return max(steps for steps in range(2, MOST_STEPS + 1) if _count(search, steps) <= most)


def cut_into_steps(values: Range, steps: int) -> tuple[Value, ...]:
    """The values of a range in a grid; fewer than ``steps`` where it holds fewer whole numbers."""
    if isinstance(values, CategoricalRange):
        return values.values
    return tuple(dict.fromkeys(values.from_unit((step + 0.5) / steps) for step in range(steps)))


def _count(search: Search, steps: int) -> int:
    """Combinations of a grid with so many steps."""
    return sum(
        math.prod(len(cut_into_steps(values, steps)) for values in search.trial_ranges(optimizer).values())
        for optimizer in search.space.optimizers
    )
