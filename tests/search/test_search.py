"""The description of a search: completed for its data, checked, identified."""

import json
from typing import Any

import pytest

from kfp_image_tuning.core.errors import ImageTuningError, SearchSpaceError
from kfp_image_tuning.search.budget import Budget
from kfp_image_tuning.search.search import Search, suggest_lr_scheduler_step
from tests.search.searches import DIGITS, make_search


def test_the_data_set_completes_the_search() -> None:
    search = make_search(epochs=10)
    trial = search.complete({**search.space.default_values("adam"), "optimizer": "adam"})
    assert (trial.num_classes, trial.num_training_samples, trial.image_shape) == (10, 4000, (3, 28, 28))
    assert trial.num_layers == 20, "a depth for small images"
    assert trial.lr_scheduler_step == (7, 9)
    assert search.max_epochs == 10


def test_what_the_user_fixes_is_kept() -> None:
    search = make_search({"num_layers": 56, "epochs": 4, "lr_scheduler_step": "1,2"}, epochs=9)
    assert {name: search.space.fixed[name] for name in ("num_layers", "epochs", "lr_scheduler_step")} == {
        "num_layers": 56,
        "epochs": 4,
        "lr_scheduler_step": (1, 2),
    }


def test_a_trials_record_shows_what_its_optimizer_uses() -> None:
    search = make_search()
    trial = search.complete({**search.space.default_values("rmsprop"), "optimizer": "rmsprop"})
    assert set(search.tuned_values(trial)) == {"optimizer", "learning_rate", "mini_batch_size", "gamma", "eps"}


REFUSED = [
    (
        "nothing to tune",
        dict.fromkeys(make_search().space.ranges),
        {},
        SearchSpaceError,
        "nothing is left to tune",
    ),
    (
        "data set says otherwise",
        {"num_classes": 5},
        {},
        SearchSpaceError,
        "5 in the search space but 10 in the data set",
    ),
    ("tuned data", {"num_classes": [5, 10]}, {}, SearchSpaceError, "given by the data set"),
    ("strategy", {}, {"strategy": "tpe"}, SearchSpaceError, "bayesian, random, grid, hyperband"),
    ("seed", {}, {"seed": -1}, SearchSpaceError, "0 or more"),
    (
        "rules with a default",
        {"mini_batch_size": None, "num_layers": 20, "use_weighted_loss": 1},
        {},
        ImageTuningError,
        "multi",
    ),
    ("rules between", {"checkpoint_frequency": 9}, {"epochs": 3}, ImageTuningError, "at most epochs"),
    ("pretrained", {"use_pretrained_model": 1}, {}, SearchSpaceError, "3,224,224 only"),
]


@pytest.mark.parametrize(("name", "changes", "wishes", "kind", "message"), REFUSED, ids=[case[0] for case in REFUSED])
def test_a_search_that_cannot_work_is_refused_before_it_costs_anything(
    name: str, changes: dict[str, Any], wishes: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        make_search(changes, **wishes)


def test_json_round_trip_is_exact() -> None:
    search = make_search({"eps": 1e-7}, Budget(max_trials=9, max_seconds=60), epochs=3, strategy="random", seed=5)
    assert Search.from_dict(json.loads(json.dumps(search.to_dict()))) == search


def test_more_trials_are_the_same_search_and_other_data_another() -> None:
    search = make_search()
    assert make_search(budget=Budget(max_trials=99)).fingerprint == search.fingerprint
    assert make_search(seed=1).fingerprint != search.fingerprint
    assert make_search({"momentum": 0.9}).fingerprint != search.fingerprint
    assert search.dataset == DIGITS


@pytest.mark.parametrize(("epochs", "steps"), [(1, ()), (2, ()), (3, (2,)), (9, (6,)), (10, (7, 9)), (30, (20, 25))])
def test_learning_rate_falls_before_the_last_epochs(epochs: int, steps: tuple[int, ...]) -> None:
    assert suggest_lr_scheduler_step(epochs) == steps
