"""The options that describe a run, and how they become the pipeline's parameters.

An option that is not given stays None: a resumed run takes it from the run that it goes on with.
"""

import argparse
import re
from collections.abc import Iterable, Mapping
from typing import Any

from kfp_image_tuning.cli import engine_options, option_types

PARAMETERS: Mapping[str, str] = {
    "data": "data_images",
    "image_shape": "data_image_shape",
    "validation_fraction": "data_validation_fraction",
    "test_fraction": "data_test_fraction",
    "shards": "data_shards",
    "max_invalid_images": "data_max_invalid_images",
    "search_space": "tune_search_space",
    "preset": "tune_preset",
    "strategy": "tune_strategy",
    "search_mode": "tune_search_mode",
    "max_trials": "tune_max_trials",
    "parallel_trials": "tune_parallel_trials",
    "epochs": "tune_epochs",
    "max_seconds": "tune_max_seconds",
    "target_accuracy": "tune_target_accuracy",
    "patience": "tune_patience",
    "max_failed_trials": "tune_max_failed_trials",
    "stop_bad_trials": "tune_stop_bad_trials",
    "min_accuracy": "eval_min_accuracy",
    "baseline": "eval_baseline",
}
"""Which parameter of every engine's pipeline each option gives; ``--seed`` gives two."""


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of data preparation, ``--data`` excepted."""
    group = parser.add_argument_group("images")
    group.add_argument(
        "--image-shape",
        type=option_types.image_shape,
        metavar="C,H,W",
        help="what the network sees, such as 3,224,224 (default: chosen by the images)",
    )
    group.add_argument(
        "--validation-fraction",
        type=option_types.fraction,
        metavar="FRACTION",
        help="fraction of the images on which trials are compared (default: 0.1)",
    )
    group.add_argument(
        "--test-fraction",
        type=option_types.fraction,
        metavar="FRACTION",
        help="fraction of the images that no trial sees (default: 0.1)",
    )
    group.add_argument(
        "--shards", type=option_types.positive, metavar="N", help="files of training images (default: 1)"
    )
    group.add_argument(
        "--max-invalid-images",
        type=option_types.share_or_number,
        metavar="N",
        help="unreadable images that are tolerated: a number, or a percentage such as 5%% (default: 1%%)",
    )


def add_search_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the search and of the engines that run it."""
    what = parser.add_argument_group("search")
    what.add_argument(
        "--search-space",
        type=option_types.search_space,
        metavar="FILE",
        help="""changes to the ranges: a JSON or YAML file, or JSON itself, such as
        '{"learning_rate": {"min": 1e-4, "max": 0.1}, "optimizer": ["sgd", "adam"], "momentum": 0.9}'""",
    )
    what.add_argument(
        "--preset",
        choices=("documented", "practical"),
        help="AWS's documented ranges exactly (default), or within them what works",
    )
    what.add_argument(
        "--strategy",
        choices=("bayesian", "random", "grid", "hyperband"),
        help="how the next trial is chosen (default: bayesian)",
    )
    what.add_argument(
        "--search-mode",
        choices=("conditional", "flat"),
        help="tune what an optimizer uses (default), or everything in every trial",
    )
    what.add_argument("--epochs", type=option_types.positive, metavar="N", help="epochs of every trial (default: 30)")
    what.add_argument(
        "--stop-bad-trials",
        action=argparse.BooleanOptionalAction,
        help="end trials early that do worse than others at the same point (default: yes)",
    )
    what.add_argument(
        "--seed", type=option_types.natural, metavar="S", help="seed of split, search and training (default: 0)"
    )
    limits = parser.add_argument_group("limits of the search (the first that is reached ends it)")
    limits.add_argument("--max-trials", type=option_types.positive, metavar="N", help="trials in all (default: 20)")
    limits.add_argument(
        "--max-seconds", type=option_types.duration, metavar="TIME", help="wall time of the search: seconds, or 10m, 2h"
    )
    limits.add_argument(
        "--target-accuracy",
        type=option_types.fraction,
        metavar="FRACTION",
        help="validation accuracy that is good enough",
    )
    limits.add_argument(
        "--patience",
        type=option_types.positive,
        metavar="N",
        help="trials in a row without a better one",
    )
    limits.add_argument(
        "--max-failed-trials",
        type=option_types.natural,
        metavar="N",
        help="failed trials that are tolerated (default: a quarter of the trials, at least 3)",
    )
    limits.add_argument(
        "--parallel-trials",
        type=option_types.positive,
        metavar="N",
        help="trials at a time (default: as many as the engine has room for)",
    )
    engine_options.add_engine_options(parser)


def add_gate_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say when a model is good enough."""
    group = parser.add_argument_group("is the model good enough? (exit code 3: no)")
    group.add_argument(
        "--min-accuracy", type=option_types.fraction, metavar="FRACTION", help="test accuracy that it must reach"
    )
    group.add_argument(
        "--baseline", metavar="FILE", help="evaluation.json of a model that it must beat by more than noise"
    )


def given_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options of this module and of the engines (and ``--data``) that were given."""
    names = (*PARAMETERS, *engine_options.OPTIONS, "seed", "engine")
    return {name: getattr(arguments, name) for name in names if getattr(arguments, name, None) is not None}


def to_shared_parameters(options: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that all pipelines have; those that no option gives keep the pipeline's defaults."""
    parameters = {PARAMETERS[name]: value for name, value in options.items() if name in PARAMETERS}
    if "seed" in options:
        parameters |= {"data_seed": options["seed"], "tune_seed": options["seed"]}
    return parameters


def to_parameters(options: Mapping[str, Any]) -> dict[str, Any]:
    """All parameters of the engine's pipeline; those that no option gives keep the pipeline's defaults."""
    engine = engine_of(options)
    own = engine_options.PARAMETERS[engine]
    parameters = to_shared_parameters(options) | {own[name]: value for name, value in options.items() if name in own}
    if engine == "katib" and (more := engine_options.katib_options(options)):
        parameters[own["katib_options"]] = more
    return parameters


def as_options(problems: Iterable[str]) -> list[str]:
    """Sentences about parameters, with the command line's options in their place."""
    names = {parameter: option for option, parameter in PARAMETERS.items()}
    for own in engine_options.PARAMETERS.values():
        names |= {parameter: option for option, parameter in own.items()}
    names |= {"tune_seed": "seed", "data_seed": "seed"}

    def typed(found: re.Match[str]) -> str:
        return "--" + names[found[0]].replace("_", "-") if found[0] in names else found[0]

    return [re.sub(r"\b(data|tune|eval)_\w+", typed, problem) for problem in problems]


def engine_of(options: Mapping[str, Any]) -> str:
    """The engine that options name, or the default."""
    return str(options.get("engine", "local"))
