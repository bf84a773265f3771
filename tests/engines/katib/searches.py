"""Searches and options for the tests of this engine."""

from typing import Any

from kfp_image_tuning.engines.katib.request.options import KatibOptions, TrialPodOptions
from kfp_image_tuning.search.budget import Budget
from kfp_image_tuning.search.search import DatasetSummary, Search
from kfp_image_tuning.search.search_space import SearchSpace

DATASET = DatasetSummary(
    fingerprint="sha256:0123",
    num_classes=10,
    num_training_samples=2000,
    num_validation_samples=500,
    image_shape=(3, 28, 28),
)


def make_search(
    changes: dict[str, Any] | None = None, *, preset: Any = "documented", epochs: int = 9, **wishes: Any
) -> Search:
    """A search of AWS's documented ranges, or with changes to them."""
    budget = {
        name: wishes.pop(name)
        for name in (
            "max_trials",
            "parallel_trials",
            "max_failed_trials",
            "max_seconds",
            "target_objective",
            "patience",
        )
        if name in wishes
    }
    space = SearchSpace.customized(changes, preset)
    return Search.for_dataset(space, DATASET, epochs=epochs, budget=Budget(**budget), **wishes)


def make_options(**values: Any) -> KatibOptions:
    """Data on one volume claim and models on another; ``pods`` takes the pods' options as an object."""
    pods = TrialPodOptions(**values.pop("pods", {}))
    return KatibOptions(**{"data": "pvc://images/dataset", "output_uri": "pvc://models", "pods": pods, **values})
