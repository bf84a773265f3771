"""Importance where the truth is known, on conditional spaces of few trials."""

import time

import numpy as np
import pytest

from kfp_image_tuning.report.importance import LEAST_EXPLAINED, find_importance
from kfp_image_tuning.search.ranges import CategoricalRange, ContinuousRange, Range
from kfp_image_tuning.search.result import Trial
from kfp_image_tuning.search.search_space import DOCUMENTED_RANGES
from tests.report.documents import Objective, make_trials

LEARNING_RATE: Objective = lambda u, o, r: 1 - (u["learning_rate"] - 0.7) ** 2 + 0.02 * r.normal()  # noqa: E731
OPTIMIZER: Objective = lambda u, o, r: 0.5 * (o in ("sgd", "nag")) + 0.05 * r.normal() + 0.4  # noqa: E731
MOMENTUM: Objective = lambda u, o, r: 0.4 + 0.5 * u.get("momentum", 0.5) + 0.02 * r.normal()  # noqa: E731


@pytest.mark.parametrize(
    ("truth", "objective", "trials", "least"),
    [
        ("learning_rate", LEARNING_RATE, 20, 0.7),
        ("learning_rate", LEARNING_RATE, 60, 0.85),
        ("optimizer", OPTIMIZER, 30, 0.85),
        ("momentum", MOMENTUM, 60, 0.6),
        ("momentum", MOMENTUM, 200, 0.6),
    ],
)
def test_what_matters_is_found(truth: str, objective: Objective, trials: int, least: float) -> None:
    importance = find_importance(make_trials(trials, objective), DOCUMENTED_RANGES)
    assert next(iter(importance.shares)) == truth
    assert importance.shares[truth] > least
    assert sum(importance.shares.values()) == pytest.approx(1.0)
    assert importance.explained is not None
    assert importance.explained > LEAST_EXPLAINED


def test_hyperparameter_of_one_optimizer_does_not_take_that_optimizers_credit() -> None:
    # adam alone is good; beta_1 and beta_2 exist with adam only, and do nothing.
    trials = make_trials(100, lambda u, o, r: 0.9 * (o == "adam") + 0.05 + 0.01 * r.normal())
    importance = find_importance(trials, DOCUMENTED_RANGES)
    assert importance.shares["optimizer"] > 0.9
    assert importance.shares["beta_1"] + importance.shares["beta_2"] < 0.05


def test_chance_is_not_given_a_meaning() -> None:
    spoken = 0
    for seed in range(12):
        trials = make_trials(16, lambda u, o, r: float(r.random()), seed=seed)
        spoken += bool(find_importance(trials, DOCUMENTED_RANGES).shares)
    assert spoken <= 1


@pytest.mark.parametrize("count", [0, 1, 5, 9])
def test_few_trials_say_nothing(count: int) -> None:
    importance = find_importance(make_trials(count, LEARNING_RATE), DOCUMENTED_RANGES)
    assert importance.shares == {}
    assert importance.explained is None
    assert importance.trials == count


def test_failed_trials_are_passed_over() -> None:
    trials = make_trials(40, LEARNING_RATE, statuses=("completed", "failed"))
    assert find_importance(trials, DOCUMENTED_RANGES).trials == 20


def test_a_few_diverged_trials_do_not_drown_the_rest() -> None:
    def objective(units: dict[str, float], optimizer: str, random: np.random.Generator) -> float:
        if units["mini_batch_size"] > 0.97:
            return 0.1
        return 0.95 + 0.04 * units["learning_rate"] + 0.001 * float(random.normal())

    importance = find_importance(make_trials(80, objective), DOCUMENTED_RANGES)
    assert next(iter(importance.shares)) == "learning_rate"


def test_fixed_and_constant_hyperparameters_have_no_share() -> None:
    ranges: dict[str, Range] = {
        "learning_rate": ContinuousRange(0.001, 0.1, "logarithmic"),
        "momentum": ContinuousRange(0.1, 0.9),
        "optimizer": CategoricalRange(("sgd",)),
    }
    random = np.random.default_rng(0)
    trials = [
        Trial(
            name=str(number),
            status="completed",
            hyperparameters={"learning_rate": float(rate), "momentum": 0.5, "optimizer": "sgd"},
            objective=float(np.log10(rate) + 3) / 3,
        )
        for number, rate in enumerate(10 ** random.uniform(-3, -1, 20))
    ]
    assert dict(find_importance(trials, ranges).shares) == {"learning_rate": 1.0}


def test_same_trials_give_the_same_shares_fast_enough() -> None:
    trials = make_trials(120, LEARNING_RATE)
    began = time.process_time()
    first = find_importance(trials, DOCUMENTED_RANGES)
    assert time.process_time() - began < 10
    assert find_importance(trials, DOCUMENTED_RANGES) == first
