"""The command that prepares the same images, runs the same search and asks the same of its model again.

Each step says what it alone knows: the tuning step images and search, the evaluation step what the model had to reach.
"""

import re
import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kfp_image_tuning.core.object_forms import restore_whole_numbers
from kfp_image_tuning.core.object_store import without_credentials
from kfp_image_tuning.dataset.document import Dataset
from kfp_image_tuning.options.declaration import Options, options_of
from kfp_image_tuning.options.declared import ImageOptions
from kfp_image_tuning.steps.tuning_settings import TuningSettings

PROGRAM = "kfp-image-tuning"
OUTPUT = "runs/again"
DATASET_OUTPUT = "runs/again-dataset"
_SECRET_VARIABLE = re.compile(r"(?i)secret|token|passw|credential|(^|_)key(_|$)")
_LOGIN = re.compile(r"(?<=://)[^/\s@]*@")


def search_command(dataset: Dataset, settings: TuningSettings, own: Options, *, engine: str = "local") -> str:
    """What to type to prepare the same images and run the same search again.

    A run has one seed. Images that were split by another one are prepared by a command of their own.

    Args:
        dataset: The data set.
        settings: The search's.
        own: What only its engine has.
        engine: The engine.
    """
    images = _image_options(dataset)
    search = [*([] if engine == "local" else ["--engine", engine]), *_typed(settings), *_typed(own)]
    if images.seed == settings.seed:
        # The search's seed is both.
        images = replace(images, seed=ImageOptions.seed)
        return shlex.join([PROGRAM, "run", *_typed(images), *search, "--output", OUTPUT])
    prepare = shlex.join([PROGRAM, "prepare", *_typed(images), "--output", DATASET_OUTPUT])
    run = shlex.join([PROGRAM, "run", "--data", DATASET_OUTPUT, *search, "--output", OUTPUT])
    return f"{prepare} &&\n{run}"


def evaluated_command(command: str, *asked: Options) -> str:
    """The same command with what was asked of the evaluation.

    Args:
        command: `search_command`'s; empty: the model comes from no search.
        *asked: The evaluation's options.
    """
    return " ".join([command, *(shlex.quote(word) for options in asked for word in _typed(options))]) if command else ""


def _image_options(dataset: Dataset) -> ImageOptions:
    """What was asked of the preparation."""
    fractions = dataset.fractions or {}
    return ImageOptions.from_parameters(
        {
            **vars(dataset.settings),
            **dataset.settings.reading,
            **{f"{split}_fraction": fraction for split, fraction in fractions.items()},
            "images": dataset.source.uri,
            "image_shape": ",".join(map(str, dataset.image_shape)),
            "shards": len(dataset.split("train").shards),
            "seed": dataset.seed,
        }
    )


def _typed(options: Options) -> list[str]:
    """What to type for options that are not at their defaults."""
    words: list[str] = []
    for option in options_of(type(options)):
        value = _without_secrets(restore_whole_numbers(getattr(options, option.name)))
        if option.flag and value != option.default:
            words += option.as_typed(value)
    return words


def _without_secrets(value: Any) -> Any:
    """Addresses without credentials, and no variable of an environment whose name is that of a secret."""
    if isinstance(value, str):
        return _LOGIN.sub("", without_credentials(value))
    if isinstance(value, Mapping):
        return {
            name: _without_secrets(_open_variables(inner) if name == "env" else inner) for name, inner in value.items()
        }
    return [*map(_without_secrets, value)] if isinstance(value, list | tuple) else value


def _open_variables(variables: Mapping[str, Any]) -> dict[str, Any]:
    # What is taken from one of Kubernetes' Secrets is an object.
    return {
        name: value
        for name, value in variables.items()
        if not (isinstance(value, str) and _SECRET_VARIABLE.search(name))
    }
