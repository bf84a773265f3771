"""Checks of everything that a run is told, by the names of the run form, before anything is spent.

Nothing is read here but the baseline. What depends on images that nobody has looked at yet is not refused: rules that
the image shape decides count only where they are broken with small and with large images.
"""

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from kfp_image_tuning.core.errors import ImageTuningError
from kfp_image_tuning.dataset.document import Dataset, ResizePolicy, Shard, Source, Split
from kfp_image_tuning.options.declared import ImageOptions
from kfp_image_tuning.options.pipelines import ENGINES, checked_options
from kfp_image_tuning.search.search import DATA_FACTS, Search
from kfp_image_tuning.search.search_space import SearchSpace
from kfp_image_tuning.steps.preflight.places import Problem, find_place_problems, find_text_problems
from kfp_image_tuning.steps.preflight.resources import find_resource_problems
from kfp_image_tuning.steps.tuning_settings import TuningSettings, summarize

Result = TypeVar("Result")

_OF_OTHER_CHECKS = {
    **{option.name: option.parameter for option in checked_options() if option.step != "eval"},
    "fractions": "data_validation_fraction and data_test_fraction",
}
"""The run form's name for what our other checks begin their sentences with; a seed is the search's."""
_ASSUMED_ARTIFACT = "minio://mlpipeline/dataset"
_ASSUMED_REGION = "us-east-1"
_SHAPES = ((3, 28, 28), (3, 224, 224))
_ENOUGH_IMAGES = 1 << 20
"""So that no mini-batch is larger than the training set."""


def find_problems(engine: str, values: Mapping[str, Any], *, in_pod: bool) -> list[Problem]:
    """Check the parameters of a pipeline.

    Args:
        engine: Whose pipeline.
        values: Its parameters by the run form's names; one that is missing has its default.
        in_pod: Whether the steps are pods: then relative paths mean nothing, and what another step's volume or
            environment may hold is not asked for.
    """
    if engine not in ENGINES:
        return [Problem("engine", f"{engine!r} is none of {', '.join(ENGINES)}")]
    problems = [*find_text_problems(values), *find_place_problems(engine, values, in_pod=in_pod)]
    problems += _declared_problems(values, {problem.parameter for problem in problems})
    wrong = {problem.parameter for problem in problems}
    resources = find_resource_problems({name: value for name, value in values.items() if name not in wrong})
    problems += [Problem(*problem) for problem in resources]
    right = {name: value for name, value in values.items() if name not in wrong}
    problems += _from_sentences(_preparation_sentences(right), "data_images")
    # What a value that is missing now would lead to has been told already.
    problems += [problem for problem in _search_problems(engine, right, in_pod) if problem.parameter not in wrong]
    problems += _baseline_problems(right, in_pod)
    return list(dict.fromkeys(problems))


def _declared_problems(values: Mapping[str, Any], wrong: Collection[str]) -> Iterator[Problem]:
    """Values that their declarations do not allow."""
    for option in checked_options():
        name = option.parameter
        if name in values and name not in wrong and (sentence := option.find_problem(values[name])):
            yield Problem(name, sentence)


def _preparation_sentences(values: Mapping[str, Any]) -> list[str]:
    from kfp_image_tuning.preparation.settings import Settings
    from kfp_image_tuning.steps.data_preparation import preparation_arguments

    sentences: list[str] = []
    arguments = preparation_arguments(ImageOptions.from_parameters({"data_images": "", **values}, "data_"))
    arguments["fractions"] = dict(zip(("train", "validation", "test"), arguments["fractions"], strict=True))
    _try(Settings(**arguments).check, sentences)
    return sentences


def _search_problems(engine: str, values: Mapping[str, Any], in_pod: bool) -> list[Problem]:
    settings = TuningSettings.from_parameters(values, "tune_")
    sentences: list[str] = []
    space = _try(settings.to_space, sentences)
    _try(settings.to_budget, sentences)
    problems = _from_sentences(sentences, "tune_search_space")
    if problems or space is None:
        return problems
    found = [_planning_problems(engine, settings, space, shape, values, in_pod) for shape in _shapes(values)]
    return [problem for problem in found[0] if all(problem in others for others in found[1:])]


def _planning_problems(
    engine: str,
    settings: TuningSettings,
    space: SearchSpace,
    shape: tuple[int, int, int],
    values: Mapping[str, Any],
    in_pod: bool,
) -> list[Problem]:
    """What would be refused if the images had a shape."""
    dataset = _unread_dataset(shape, max(1, values.get("data_shards", 1)))
    # What the search space says of the data is believed until they have been read.
    facts: dict[str, Any] = {name: space.fixed[name] for name in DATA_FACTS if name in space.fixed}
    sentences: list[str] = []
    search = _try(lambda: settings.to_search_on(replace(summarize(dataset), **facts)), sentences)
    if search is None:
        return _from_sentences(sentences, "tune_search_space")
    _try(lambda: _PLANS[engine](search, dataset, values, in_pod), sentences)
    return _from_sentences(sentences, f"tune_{engine}_options")


def _baseline_problems(values: Mapping[str, Any], in_pod: bool) -> Iterator[Problem]:
    baseline = values.get("eval_baseline", "")
    if baseline and ("://" in baseline or Path(baseline).is_file()):
        # Imported here: it takes half a second, and few runs have a baseline.
        from kfp_image_tuning.evaluation.baseline import load_baseline

        sentences: list[str] = []
        _try(lambda: load_baseline(baseline), sentences)
        # A step that has the keys of a private store in its environment may still read it.
        if not (in_pod and "://" in baseline and any("cannot be read" in sentence for sentence in sentences)):
            yield from (Problem("eval_baseline", sentence) for sentence in sentences)


def _plan_katib(search: Search, _dataset: Dataset, values: Mapping[str, Any], in_pod: bool) -> None:
    from kfp_image_tuning.engines.katib.request.config import KatibConfig
    from kfp_image_tuning.engines.katib.request.planning import plan_search

    config = KatibConfig.from_parameters(values, "tune_", artifact=_ASSUMED_ARTIFACT if in_pod else "")
    plan_search(search, config.options(search, values.get("tune_initial_model")))


def _plan_sagemaker(search: Search, dataset: Dataset, values: Mapping[str, Any], in_pod: bool) -> None:
    from kfp_image_tuning.engines.sagemaker.request.config import SageMakerConfig
    from kfp_image_tuning.engines.sagemaker.request.planning import plan_search

    config = SageMakerConfig.from_parameters({"tune_role": "", "tune_bucket": "", **values}, "tune_")
    if in_pod and not (config.region or "region" in config.sagemaker_options or os.environ.get("AWS_REGION")):
        config = replace(config, region=_ASSUMED_REGION)
    plan_search(search, config.options(dataset, search.fingerprint[:8], values.get("tune_initial_model")))


def _plan_local(search: Search, _dataset: Dataset, values: Mapping[str, Any], _in_pod: bool) -> None:
    """The local engine sends nothing that could be refused."""
    search.with_prior(values.get("tune_prior", "auto"))


_PLANS: Mapping[str, Callable[[Search, Dataset, Mapping[str, Any], bool], None]] = {
    "local": _plan_local,
    "katib": _plan_katib,
    "sagemaker": _plan_sagemaker,
}


def _shapes(values: Mapping[str, Any]) -> Sequence[tuple[int, int, int]]:
    from kfp_image_tuning.preparation.settings import read_image_shape

    try:
        shape = read_image_shape(values.get("data_image_shape", "auto"))
    except ImageTuningError:
        return _SHAPES
    return _SHAPES if shape is None else (shape,)


def _unread_dataset(shape: tuple[int, int, int], shards: int) -> Dataset:
    """A data set of which no more is known than the run form says."""

    def split(name: str, parts: int) -> Split:
        stems = [f"{name}/{name}-{part}" for part in range(parts)]
        files = tuple(Shard(f"{stem}.rec", f"{stem}.idx", f"{stem}.lst", 1, 1, "0" * 64) for stem in stems)
        return Split(name, _ENOUGH_IMAGES, {"a": 1, "b": 1}, shape[1:], files)

    return Dataset(
        classes=("a", "b"),
        multi_label=False,
        image_shape=shape,
        splits={"train": split("train", shards), "validation": split("validation", 1), "test": split("test", 1)},
        resize=ResizePolicy("area", 1.0, "png", None),
        seed=0,
        fractions=None,
        source=Source("unread", "folder", "unread"),
    )


def _try(check: Callable[[], Result], sentences: list[str]) -> Result | None:
    try:
        return check()
    except ImageTuningError as error:
        sentences += error.problems
        return None


def _from_sentences(sentences: Sequence[str], otherwise: str) -> list[Problem]:
    """Problems out of sentences that begin with another name of the parameter, or with that of a part of it."""
    problems = []
    for sentence in sentences:
        name, colon, rest = sentence.partition(": ")
        if colon and (name in _OF_OTHER_CHECKS or name.startswith(("data_", "tune_"))):
            problems.append(Problem(_OF_OTHER_CHECKS.get(name, name), rest))
        else:
            problems.append(Problem(otherwise, sentence))
    return problems
