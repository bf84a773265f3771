"""A small search for the tests of this package."""

from typing import Any

from kfp_image_tuning.search.budget import Budget
from kfp_image_tuning.search.search import DatasetSummary, Search
from kfp_image_tuning.search.search_space import SearchSpace

DIGITS = DatasetSummary(
    fingerprint="sha256:0",
    num_classes=10,
    num_training_samples=4000,
    num_validation_samples=500,
    image_shape=(3, 28, 28),
)


def make_search(changes: dict[str, Any] | None = None, budget: Budget | None = None, **wishes: Any) -> Search:
    """A search on digits, with AWS's ranges but for ``changes``."""
    space = SearchSpace.customized(changes)
    return Search.for_dataset(space, DIGITS, budget=budget or Budget(max_trials=4), **wishes)
