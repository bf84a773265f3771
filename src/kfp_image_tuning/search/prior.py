"""The prior of a search: where good values usually are within ranges that are wide.

AWS's documented ranges are wide, and most of each is of no use: a learning rate of 1e-6 does not move, one of 0.5 makes
adam diverge. A prior says where, optimizer by optimizer, to look first. It is part of the search, so that a plan shows
it and the result document keeps it. A grid and a random search have none, so that they mean the same on every engine,
and no range that the user gave has one.
"""

from collections.abc import Iterator, Mapping

from kfp_image_tuning.search.ranges import CategoricalRange
from kfp_image_tuning.search.search_space import SearchSpace

Prior = Mapping[str, Mapping[str, tuple[float, float]]]
"""By optimizer and hyperparameter: the smallest and largest value of where to look first."""

STRATEGIES_WITH_PRIOR = ("bayesian", "hyperband")

_MOMENTUM = {
    "learning_rate": (0.01, 0.3),
    "momentum": (0.5, 0.97),
    # From 1e-3 on, decay and batch normalization together raise the effective learning rate for ever.
    "weight_decay": (0.0, 2e-3),
}
_MEAN_SQUARE = {
    "eps": (1e-8, 1e-3),
}

USUALLY_GOOD: Prior = {
    "sgd": _MOMENTUM,
    "nag": _MOMENTUM,
    "adam": {"learning_rate": (5e-4, 0.02), "beta_1": (0.6, 0.95), "beta_2": (0.9, 0.999), **_MEAN_SQUARE},
    "rmsprop": {"learning_rate": (2e-4, 0.01), "gamma": (0.8, 0.99), **_MEAN_SQUARE},
}
"""Where ResNets with batch normalization train well. Mini-batches depend on the data: `_mini_batches`."""

MINIMUM_STEPS = 250
"""Updates that a training needs at least; larger mini-batches leave fewer."""
MINI_BATCHES = (16, 128)
"""Smaller ones cost time for each image, larger ones accuracy."""


def make_prior(space: SearchSpace, images: int) -> Prior:
    """The prior for the ranges of a space that come from its preset.

    Args:
        space: What is searched.
        images: Training images that a trial sees in all its epochs together.
    """
    prior: dict[str, dict[str, tuple[float, float]]] = {}
    for optimizer in space.optimizers:
        for name, (low, high) in {**USUALLY_GOOD[optimizer], "mini_batch_size": _mini_batches(images)}.items():
            values = space.ranges.get(name)
            if values is None or isinstance(values, CategoricalRange) or name in space.own_ranges:
                continue
            low, high = max(low, values.minimum), min(high, values.maximum)
            if low < high:
                prior.setdefault(optimizer, {})[name] = (low, high)
    return prior


def explain_prior(prior: Prior) -> Iterator[str]:
    """The prior in lines for a reader, one for each hyperparameter."""
    for name in sorted({name for intervals in prior.values() for name in intervals}):
        users: dict[tuple[float, float], list[str]] = {}
        for optimizer, intervals in prior.items():
            if name in intervals:
                users.setdefault(intervals[name], []).append(optimizer)
        everyone = list(prior)
        yield f"{name:<16} " + "; ".join(
            f"{low:g} to {high:g}" + ("" if names == everyone else f" (with {', '.join(names)})")
            for (low, high), names in users.items()
        )


def _mini_batches(images: int) -> tuple[float, float]:
    """Sizes with which the epochs hold enough updates."""
    smallest, largest = MINI_BATCHES
    return smallest, min(max(images / MINIMUM_STEPS, 2.0 * smallest), largest)
