"""Where a search looks first."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from kfp_image_tuning.core.errors import SearchSpaceError
from kfp_image_tuning.search import result as result_module
from kfp_image_tuning.search.prior import MINI_BATCHES, USUALLY_GOOD, explain_prior
from kfp_image_tuning.search.search import Search
from tests.search.searches import make_search


@pytest.mark.parametrize(
    ("wishes", "choice"),
    [
        pytest.param({"strategy": "grid"}, "auto", id="grid"),
        pytest.param({"strategy": "random"}, "auto", id="random"),
        pytest.param({}, "none", id="turned off"),
    ],
)
def test_no_prior_where_every_range_counts_evenly(wishes: dict[str, Any], choice: str) -> None:
    assert make_search(**wishes).with_prior(choice).prior == {}


@pytest.mark.parametrize("strategy", ["bayesian", "hyperband"])
def test_what_is_known_is_the_prior_of_strategies_that_guess(strategy: str) -> None:
    prior = make_search(strategy=strategy).with_prior().prior
    assert set(prior) == set(USUALLY_GOOD)
    for optimizer, intervals in USUALLY_GOOD.items():
        assert prior[optimizer] == {**intervals, "mini_batch_size": prior[optimizer]["mini_batch_size"]}


@pytest.mark.parametrize("given", [{"min": 1e-6, "max": 0.5}, {"min": 1e-4}, {"scaling": "linear"}])
def test_a_range_that_the_user_gives_has_none(given: dict[str, Any]) -> None:
    intervals = make_search({"learning_rate": given}).with_prior().prior["sgd"]
    assert set(intervals) == {"momentum", "weight_decay", "mini_batch_size"}


def test_short_searches_look_first_at_small_mini_batches() -> None:
    largest = [make_search(epochs=epochs).with_prior().prior["sgd"]["mini_batch_size"][1] for epochs in (1, 3, 30)]
    assert largest == sorted(set(largest))
    assert largest[-1] == MINI_BATCHES[1]


def test_a_prior_is_kept_with_the_search_and_makes_it_another_one() -> None:
    search = make_search().with_prior()
    document = json.loads(json.dumps(search.to_dict()))
    schema = json.loads((Path(result_module.__file__).parent / "result.schema.json").read_text())
    jsonschema.validate(document["prior"], schema["properties"]["search"]["properties"]["prior"])
    assert Search.from_dict(document) == search
    assert search.fingerprint != make_search().fingerprint


def test_a_reader_sees_which_optimizer_it_is_for() -> None:
    assert list(explain_prior({"sgd": {"momentum": (0.5, 0.9), "eps": (0, 1)}, "nag": {"momentum": (0.5, 0.9)}})) == [
        "eps              0 to 1 (with sgd)",
        "momentum         0.5 to 0.9",
    ]


def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(SearchSpaceError, match="prior: is one of auto, none"):
        make_search().with_prior("off")
