"""What steps and engines say, in the words of the command line: they know parameters and folders of steps."""

import re
from functools import cache

from kfp_image_tuning.options.declaration import Option
from kfp_image_tuning.options.pipelines import ENGINES, parameters_of

_PLACES = (
    ("the same work directory", "the same --output"),
    ("another work directory", "another --output"),
    ("this work directory", "this --output"),
    ("the work directory", "--output"),
)
_FOR_PIPELINES = re.compile(r" \(in a pipeline: [^)]*\)")
_OBJECT = re.compile(r"(katib|sagemaker)[-_]options")
_NAME = re.compile(r"(?<![\w./-])[a-z]+(?:_[a-z]+)+(?![\w/-])")


def in_users_words(text: str) -> str:
    """A message with options in the place of parameters.

    Args:
        text: An error, or a warning.
    """
    text = "\n".join(map(_with_options, _FOR_PIPELINES.sub("", text).split("\n")))
    for theirs, ours in _PLACES:
        text = text.replace(theirs, ours)
    return text


def line_in_users_words(line: str) -> str:
    """A line that steps or engines say; in what is no warning, names may be hyperparameters'."""
    return in_users_words(line) if line.startswith("Warning: ") else _FOR_PIPELINES.sub("", line)


def _with_options(line: str) -> str:
    flags = {**_flags_of_parameters(), **_flags_of_settings()}
    if _OBJECT.search(line):
        # Names in it are fields of the object that the option takes.
        flags = _flags_of_parameters()
    return _NAME.sub(lambda found: flags.get(found[0], found[0]), line)


@cache
def _flags_of_parameters() -> dict[str, str]:
    return {option.parameter: option.flag for option in _options()}


@cache
def _flags_of_settings() -> dict[str, str]:
    # Names of one word may be just words.
    return {option.name: option.flag for option in _options() if "_" in option.name}


def _options() -> list[Option]:
    return [option for engine in ENGINES for option in parameters_of(engine) if option.flag]
