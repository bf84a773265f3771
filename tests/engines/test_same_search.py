"""What a strategy means on every engine."""

from itertools import product
from typing import Any

import pytest

from kfp_image_tuning.engines.katib.request.experiment import build_experiments
from kfp_image_tuning.search.budget import Budget
from kfp_image_tuning.search.ranges import CategoricalRange
from tests.engines.katib.searches import make_options
from tests.engines.local.test_suggestion import try_out
from tests.search.searches import make_search

pytestmark = pytest.mark.slow

RATES = {
    "optimizer": "sgd",
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "mini_batch_size": 32,
    "learning_rate": {"min": 1e-4, "max": 0.1},
}


@pytest.mark.parametrize("mode", ["conditional", "flat"])
@pytest.mark.parametrize(
    ("changes", "max_trials"),
    [
        pytest.param(RATES, 3, id="three learning rates"),
        pytest.param({"optimizer": ["sgd", "adam"], "num_layers": [20, 32]}, 1100, id="documented ranges"),
    ],
)
def test_this_machine_and_katib_try_the_same_combinations(changes: dict[str, Any], max_trials: int, mode: str) -> None:
    search = make_search(changes, strategy="grid", search_mode=mode, budget=Budget(max_trials=max_trials)).with_prior()
    here = [record.values for record in try_out(search, max_trials)]
    on_katib: list[dict[str, Any]] = []
    for experiment in build_experiments(search, make_options()):
        names = [entry["name"] for entry in experiment.document["spec"]["parameters"]]
        lists = [entry["feasibleSpace"]["list"] for entry in experiment.document["spec"]["parameters"]]
        chosen = [experiment.decode(dict(zip(names, values, strict=True))) for values in product(*lists)]
        on_katib += [{"optimizer": experiment.space.optimizers[0], **values} for values in chosen]
    assert sorted(map(_in_order, here)) == sorted(map(_in_order, on_katib))


def _in_order(values: dict[str, Any]) -> str:
    return str(sorted(values.items()))


@pytest.mark.parametrize("changes", [{}, {"learning_rate": {"min": 1e-4, "max": 0.1}}])
def test_random_search_lies_evenly_over_every_range_by_its_scaling(changes: dict[str, Any]) -> None:
    search = make_search(changes, strategy="random", budget=Budget(max_trials=2000)).with_prior()
    for name, values in search.space.ranges.items():
        if isinstance(values, CategoricalRange):
            continue
        drawn = [record.values[name] for record in try_out(search, 1204)[4:] if name in record.values]
        units = sorted(values.to_unit(value) for value in drawn)
        assert len(units) >= 300
        # Kolmogorov and Smirnov's distance; by chance above 1.95 once in a thousand. Whole numbers add theirs.
        distance = max(abs(unit - (place + 0.5) / len(units)) for place, unit in enumerate(units))
        assert distance < 1.95 / len(units) ** 0.5 + 0.03, name
