"""Which hyperparameters come next."""

from collections import Counter
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from kfp_image_tuning.engines.local.suggestion import suggest
from kfp_image_tuning.engines.local.trial_records import Record
from kfp_image_tuning.search.budget import Budget
from kfp_image_tuning.search.hyperparameter_table import USED_BY_OPTIMIZER, is_active
from kfp_image_tuning.search.search import Search
from tests.engines.local.searching import make_trial
from tests.search import searches

STRATEGIES = ("bayesian", "random", "hyperband")
MODES = ("conditional", "flat")


def make_search(changes: dict[str, Any] | None = None, **wishes: Any) -> Search:
    """A search on digits as the tuning step makes it."""
    return searches.make_search(changes, **wishes).with_prior()


def judge(values: dict[str, Any]) -> float:
    """An accuracy that is best for nag with a learning rate of about 0.06 and a small weight decay."""
    distance: float = abs(values["learning_rate"] - 0.06) * 5 + values.get("weight_decay", 0.1) * 20
    return max(0.1, 0.98 - distance - 0.05 * int(values["optimizer"] != "nag"))


def try_out(search: Search, count: int) -> list[Record]:
    """Follow the suggestions for so many trials."""
    records: list[Record] = []
    for number in range(count):
        suggestion = suggest(search, records)
        if suggestion is None:
            break
        trial = make_trial(number, [judge(suggestion.values)])
        records.append(Record(number, suggestion.values, suggestion.source, trial))
    return records


@pytest.mark.parametrize(("strategy", "mode"), list(product(STRATEGIES, MODES)))
def test_defaults_of_each_optimizer_come_first(strategy: str, mode: str) -> None:
    search = make_search(strategy=strategy, search_mode=mode)
    records = try_out(search, 5)
    assert [record.values["optimizer"] for record in records[:4]] == ["sgd", "adam", "rmsprop", "nag"]
    for record in records[:4]:
        given = search.complete(record.values)
        assert (given.learning_rate, given.momentum, given.beta_1, given.gamma) == (0.1, 0.9, 0.9, 0.9)
        assert record.source == "defaults"
    assert records[4].source != "defaults"


@pytest.mark.parametrize(("strategy", "mode"), list(product((*STRATEGIES, "grid"), MODES)))
def test_every_suggestion_is_inside_the_space_and_has_what_its_optimizer_uses(strategy: str, mode: str) -> None:
    search = make_search(strategy=strategy, search_mode=mode, budget=Budget(max_trials=1100))
    for record in try_out(search, 24):
        values = record.values
        search.complete(values)
        names = {name for name in values if name in USED_BY_OPTIMIZER}
        active = {name for name in USED_BY_OPTIMIZER if is_active(name, values["optimizer"])}
        assert names == (set(USED_BY_OPTIMIZER) if mode == "flat" and record.source != "defaults" else active)
        assert all(search.space.ranges[name].contains(value) for name, value in values.items())


@pytest.mark.parametrize(("strategy", "mode"), list(product((*STRATEGIES, "grid"), MODES)))
def test_a_seed_gives_the_same_trials_again_even_after_a_restart(strategy: str, mode: str) -> None:
    search = make_search(strategy=strategy, search_mode=mode, budget=Budget(max_trials=1100))
    first = try_out(search, 16)
    assert [record.values for record in try_out(search, 16)] == [record.values for record in first]
    # Suggestions remember nothing: the twelfth is the same for a process that has seen none of the eleven before.
    assert suggest(search, first[:11]).values == first[11].values  # type: ignore[union-attr]
    other = try_out(replace(search, seed=1), 16)
    assert [record.values for record in other] != [record.values for record in first]


@pytest.mark.parametrize("mode", MODES)
def test_the_model_finds_more_than_chance(mode: str) -> None:
    budget = Budget(max_trials=60)
    found = {}
    for strategy in ("bayesian", "random"):
        scores = []
        for seed in range(3):
            search = make_search(strategy=strategy, search_mode=mode, seed=seed, budget=budget)
            scores += sorted((record.score for record in try_out(search, 40)), reverse=True)[:10]
        found[strategy] = sum(scores) / len(scores)
    assert found["bayesian"] > found["random"] + 0.02


def test_the_model_turns_to_the_better_optimizer_and_never_drops_the_others() -> None:
    tried = Counter(record.values["optimizer"] for record in try_out(make_search(), 40))
    assert tried.most_common(1)[0][0] == "nag"
    assert min(tried.values()) >= 2


def test_a_failed_trials_hyperparameters_are_learned_from() -> None:
    search = make_search()
    records = try_out(search, 12)
    for record in records[4:]:
        record.trial = replace(record.trial, status="failed", objective=None)
    assert suggest(search, records).source == "model"  # type: ignore[union-attr]


def test_choices_are_tuned_too() -> None:
    for mode in MODES:
        search = make_search({"num_layers": [20, 32]}, search_mode=mode)
        assert {record.values.get("num_layers") for record in try_out(search, 16)} >= {20, 32}


def test_a_grid_ends_when_every_combination_was_tried_and_goes_on_finer_with_more_trials() -> None:
    changes = {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.0001}
    search = make_search(changes, strategy="grid", budget=Budget(max_trials=5))
    records = try_out(search, 100)
    assert len(records) == 4
    larger = replace(search, budget=Budget(max_trials=20))
    assert suggest(larger, records).values not in [record.values for record in records]  # type: ignore[union-attr]
