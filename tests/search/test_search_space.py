"""The search space: AWS's ranges, a user's changes, branches, JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kfp_image_tuning.core.errors import SearchSpaceError
from kfp_image_tuning.search.ranges import CategoricalRange, ContinuousRange, IntegerRange
from kfp_image_tuning.search.search_space import DOCUMENTED_RANGES, PRACTICAL_NARROWINGS, SearchSpace, preset_ranges

# "Tune an Image Classification Model", Amazon SageMaker developer guide, table "Tunable hyperparameters".
AWS_TABLE = {
    "beta_1": (1e-6, 0.999),
    "beta_2": (1e-6, 0.999),
    "eps": (1e-8, 1.0),
    "gamma": (1e-8, 0.999),
    "learning_rate": (1e-6, 0.5),
    "mini_batch_size": (8, 512),
    "momentum": (0.0, 0.999),
    "weight_decay": (0.0, 0.999),
}


def test_documented_ranges_are_those_of_aws() -> None:
    space = SearchSpace()
    bounds = {n: (r.minimum, r.maximum) for n, r in space.ranges.items() if not isinstance(r, CategoricalRange)}
    assert bounds == AWS_TABLE
    assert space.ranges["optimizer"] == CategoricalRange(("sgd", "adam", "rmsprop", "nag"))
    assert isinstance(space.ranges["mini_batch_size"], IntegerRange)


def test_each_branch_tunes_what_its_optimizer_uses() -> None:
    branches = {branch.optimizers[0]: set(branch.ranges) for branch in SearchSpace().branches()}
    shared = {"learning_rate", "mini_batch_size"}
    assert branches == {
        "sgd": shared | {"momentum", "weight_decay"},
        "nag": shared | {"momentum", "weight_decay"},
        "adam": shared | {"beta_1", "beta_2", "eps"},
        "rmsprop": shared | {"gamma", "eps"},
    }


def test_practical_preset_lies_inside_the_documented_and_says_why() -> None:
    for name, values in preset_ranges("practical").items():
        documented = DOCUMENTED_RANGES[name]
        ends = values.values if isinstance(values, CategoricalRange) else (values.minimum, values.maximum)
        assert all(documented.contains(end) for end in ends), name
    explained = "\n".join(SearchSpace.customized(preset="practical").explain())
    for narrowing in PRACTICAL_NARROWINGS.values():
        assert narrowing.reason in explained
        assert narrowing.range.minimum > 0  # type: ignore[union-attr]


def test_a_user_narrows_fixes_and_chooses_with_one_object() -> None:
    space = SearchSpace.customized(
        {"learning_rate": {"min": 1e-4, "max": 0.1}, "optimizer": ["sgd", "adam"], "momentum": 0.9, "eps": None}
    )
    assert space.ranges["learning_rate"] == ContinuousRange(1e-4, 0.1, "logarithmic")
    assert space.optimizers == ("sgd", "adam")
    assert space.fixed == {"momentum": 0.9}
    assert "eps" not in space.ranges
    assert "gamma" not in space.ranges, "only rmsprop uses it"
    assert space.warnings == ()


def test_one_choice_is_a_fixed_value() -> None:
    space = SearchSpace.customized({"optimizer": ["adam"]})
    assert space.fixed["optimizer"] == "adam"
    assert set(space.ranges) == {"learning_rate", "mini_batch_size", "beta_1", "beta_2", "eps"}


WARNED = [
    ("wider than recommended", {"learning_rate": {"max": 0.9}}, "outside the range that AWS recommends"),
    ("fixed outside", {"momentum": 1.0}, "outside the range that AWS recommends"),
    ("not documented as tunable", {"num_layers": [20, 32]}, "SageMaker would refuse"),
    (
        "ignored by the optimizer",
        {"optimizer": "adam", "momentum": {"max": 0.9}},
        "is not tuned, since adam ignores it",
    ),
]


@pytest.mark.parametrize(("name", "changes", "message"), WARNED, ids=[case[0] for case in WARNED])
def test_what_is_accepted_but_unusual_is_warned_of(name: str, changes: dict[str, object], message: str) -> None:
    assert any(message in warning for warning in SearchSpace.customized(changes).warnings)


REFUSED = [
    (
        "outside what is accepted",
        {"learning_rate": {"max": 1.5}},
        "takes a number from 0 to 1; AWS recommends 1e-06 to 0.5",
    ),
    ("fixed outside", {"momentum": 1.5}, "momentum: 1.5 is not accepted"),
    ("unknown name", {"learnig_rate": 0.1}, "did you mean learning_rate"),
    ("unknown choice", {"optimizer": ["sgd", "lion"]}, "lion is not accepted"),
    ("bounds for a choice", {"optimizer": {"min": 1}}, "takes a list of choices"),
    ("unknown field", {"eps": {"minimum": 1}}, '"min", "max" and "scaling", got minimum'),
    (
        "log from zero",
        {"momentum": {"scaling": "logarithmic"}},
        "momentum: logarithmic scaling needs a minimum above 0",
    ),
    ("half a range", {"epochs": {"min": 3}}, 'both "min" and "max"'),
    ("no number", {"eps": {"min": "tiny"}}, "cannot be read"),
]


@pytest.mark.parametrize(("name", "changes", "message"), REFUSED, ids=[case[0] for case in REFUSED])
def test_what_cannot_be_searched_is_refused(name: str, changes: dict[str, object], message: str) -> None:
    with pytest.raises(SearchSpaceError, match=message):
        SearchSpace.customized(changes)


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(SearchSpaceError) as caught:
        SearchSpace.customized({"momentum": 2, "eps": {"max": 3}, "nonsense": 1, "gamma": {"min": 0.9, "max": 0.1}})
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["nonsense", "gamma", "eps", "momentum"]


def test_scaling_follows_new_bounds_to_what_is_legal() -> None:
    space = SearchSpace.customized(
        {"weight_decay": {"min": 1e-5, "max": 0.1}, "momentum": {"max": 1.0}, "learning_rate": {"min": 0}}
    )
    scalings = {name: space.ranges[name].scaling for name in ("weight_decay", "momentum", "learning_rate")}  # type: ignore[union-attr]
    assert scalings == {"weight_decay": "logarithmic", "momentum": "linear", "learning_rate": "logarithmic_from_zero"}


def test_mini_batches_never_exceed_the_training_set() -> None:
    space = SearchSpace().narrow_to_training_images(100)
    assert space.ranges["mini_batch_size"] == IntegerRange(8, 100, "logarithmic")
    assert "lowered from 512 to 100" in space.warnings[0]
    with pytest.raises(SearchSpaceError, match="does not fit 5 training images"):
        SearchSpace().narrow_to_training_images(5)


def test_the_algorithms_defaults_are_moved_into_the_range() -> None:
    space = SearchSpace.customized({"learning_rate": {"max": 0.05}, "num_layers": [20, 32]})
    values = space.default_values("sgd")
    assert values == {
        "learning_rate": 0.05, "mini_batch_size": 32, "momentum": 0.9, "num_layers": 20, "weight_decay": 0.0001
    }  # fmt: skip


@st.composite
def spaces(draw: st.DrawFn) -> SearchSpace:
    low = draw(st.floats(1e-6, 0.1))
    changes: dict[str, object] = {"learning_rate": {"min": low, "max": draw(st.floats(0.2, 1.0))}}
    changes["optimizer"] = draw(st.lists(st.sampled_from(["sgd", "adam", "rmsprop", "nag"]), min_size=1, unique=True))
    changes["momentum"] = draw(st.one_of(st.none(), st.floats(0, 0.999)))
    changes["epochs"] = draw(st.integers(1, 50))
    changes["lr_scheduler_step"] = draw(st.sampled_from(["10, 20", [3], None]))
    return SearchSpace.customized(changes, preset=draw(st.sampled_from(["documented", "practical"])))


@given(spaces())
def test_json_round_trip_is_exact(space: SearchSpace) -> None:
    document = json.loads(json.dumps(space.to_dict()))
    assert SearchSpace.from_dict(document) == space
    assert SearchSpace.from_dict(document).to_dict() == space.to_dict()


@given(spaces(), st.integers(0, 3), st.randoms())
def test_every_point_of_a_branch_is_accepted_by_the_algorithm(space: SearchSpace, index: int, random: object) -> None:
    branches = list(space.branches())
    branch = branches[index % len(branches)]
    for values in branch.ranges.values():
        drawn = values.values[0] if isinstance(values, CategoricalRange) else values.from_unit(random.random())  # type: ignore[attr-defined]
        assert values.contains(drawn)
