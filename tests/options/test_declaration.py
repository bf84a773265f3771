"""One declaration decides a parameter's default, what is allowed, and what is typed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from kfp_image_tuning.options.declaration import Options, option, options_of
from kfp_image_tuning.options.object_fields import list_fields
from kfp_image_tuning.options.pipelines import COMPONENTS, ENGINES, PIPELINES, checked_options, parameters_of
from kfp_image_tuning.options.words import sentence


@dataclass(frozen=True, kw_only=True)
class ExampleOptions(Options):
    """Options of every kind."""

    place: str = option(help="where it is", is_place=True)
    count: int = option(3, help="how many", least=1, most=9)
    limit: float | None = option(None, help="how long", unit="seconds", otherwise="no limit")
    failures: int | None = option(None, help="how many may fail", unset=-1, otherwise="a few", least=0)
    share: float = option(0.1, help="how much of it", unit="fraction")
    way: Literal["short", "long"] = option("short", help="which way", choices={"short": "through the wood", "long": ""})
    form: str = option("auto", help="its form", pattern=r"auto|\d+", such_as="a number; give such as 5", flag="--shape")
    loud: bool = option(True, help="whether it is heard")
    more: Mapping[str, Any] = option(dict, help="everything else", flag="")


DECLARED = {entry.name: entry for entry in options_of(ExampleOptions)}


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("count", 0, "at least 1, got 0"),
        ("count", 10, "at most 9, got 10"),
        ("count", 9, ""),
        ("limit", 0.0, ""),
        ("limit", -2.0, "more than 0 seconds, got -2"),
        ("failures", -1, ""),
        ("failures", 0, ""),
        ("failures", -2, "at least 0, got -2"),
        ("share", 97, "is a fraction from 0 to 1 (0.97 is 97 %), got 97; did you mean 0.97?"),
        ("share", -1, "is a fraction from 0 to 1 (0.97 is 97 %), got -1"),
        ("way", "longer", "'longer' is not one of short, long; did you mean long?"),
        ("form", "5x", "'5x' is not a number; give such as 5"),
        ("form", "auto", ""),
    ],
)
def test_what_is_not_allowed_is_told(name: str, value: Any, told: str) -> None:
    assert DECLARED[name].find_problem(value) == told


def test_parameters_stand_for_settings_and_none_for_what_is_not_set() -> None:
    defaults = {name: entry.parameter_default for name, entry in DECLARED.items() if not entry.is_required}
    assert defaults["limit"] == 0.0
    assert defaults["failures"] == -1
    settings = ExampleOptions.from_parameters({"place": "here", "other": 1, **defaults})
    assert settings == ExampleOptions(place="here")
    assert (settings.limit, settings.failures, settings.count) == (None, None, 3)
    assert ExampleOptions.from_parameters({"tune_place": "x", "tune_failures": 0}, "tune_").failures == 0


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("count", 4, ["--count", "4"]),
        ("share", 0.1 + 0.2, ["--share", "0.30000000000000004"]),
        ("share", 0.5, ["--share", "0.5"]),
        ("loud", False, ["--no-loud"]),
        ("form", "7", ["--shape", "7"]),
    ],
)
def test_a_value_is_typed_so_that_it_is_read_again(name: str, value: Any, words: list[str]) -> None:
    assert DECLARED[name].as_typed(value) == words


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("limit", "How long, in seconds; 0: no limit."),
        ("failures", "How many may fail; -1: a few."),
        ("way", "Which way: short (through the wood) or long."),
    ],
)
def test_an_option_is_told_in_a_sentence(name: str, told: str) -> None:
    assert sentence(DECLARED[name]) == told


@pytest.mark.parametrize("engine", ENGINES)
def test_no_pipeline_has_a_parameter_twice_and_each_reaches_a_component(engine: str) -> None:
    names = [entry.parameter for entry in parameters_of(engine)]
    assert len(set(names)) == len(names)
    steps = {kind for name in ("data_preparation", f"{engine}_tuning") for kind in COMPONENTS[name]}
    evaluation = "sagemaker_evaluation" if engine == "sagemaker" else "model_evaluation"
    left = [kind for kind in PIPELINES[engine] if kind not in steps | set(COMPONENTS[evaluation])]
    assert {kind.__name__.removesuffix("Options") for kind in left} <= {
        "Store",
        "DataPod",
        "TunePod",
        "EvalPod",
        "TransformPod",
    }


def test_an_option_of_several_pipelines_is_the_same_in_all() -> None:
    checked = {entry.parameter: sentence(entry) for entry in checked_options()}
    for engine in ENGINES:
        for entry in parameters_of(engine):
            assert checked.get(entry.parameter, sentence(entry)) == sentence(entry), entry.parameter


def test_fields_of_an_object_are_told_with_those_within_it() -> None:
    @dataclass(frozen=True)
    class Inner:
        """The inner one.

        Attributes:
            size: How large.
            hidden: Given elsewhere.
        """

        size: int = 2
        hidden: str = ""

    @dataclass(frozen=True)
    class Outer:
        """The outer one.

        Attributes:
            name: What it is
                called.
            inner: What it holds.
        """

        name: str
        inner: Inner = Inner()

    found = [(entry.name, entry.type, entry.default, entry.meaning) for entry in list_fields(Outer, {"inner.hidden"})]
    assert found == [
        ("name", "text", "", "What it is called."),
        ("inner", "object", "", "What it holds."),
        ("inner.size", "whole number", "2", "How large."),
    ]
