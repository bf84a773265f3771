"""The options that describe a run: from declarations to the parser, and from what was typed to pipeline parameters.

An option that is not given stays None: a resumed run takes it from the run that it continues with.
"""

import argparse
from collections.abc import Mapping
from typing import Any

from kfp_image_tuning.cli import engine_options
from kfp_image_tuning.cli.option_types import parser_of
from kfp_image_tuning.options.declaration import Option, Options, options_of
from kfp_image_tuning.options.declared import ImageOptions
from kfp_image_tuning.options.pipelines import ENGINES, OWN_OPTIONS, parameters_of
from kfp_image_tuning.options.words import default_words, describe

_METAVARS: Mapping[Any, str] = {"fraction": "FRACTION", "seconds": "TIME", int: "N", str: "VALUE"}


def add_options(parser: argparse.ArgumentParser, *kinds: type[Options]) -> None:
    """Add the options that classes declare, in one group for each title; a flag of several options stands once.

    ``--data`` is left to the commands: each has a use of its own for it.
    """
    by_flag: dict[str, list[Option]] = {}
    titles: dict[str, str] = {}
    for kind in kinds:
        for option in options_of(kind):
            if option.flag and option.flag != "--data":
                by_flag.setdefault(option.flag, []).append(option)
                titles.setdefault(option.flag, kind.title)
    groups = {title: parser.add_argument_group(title) for title in dict.fromkeys(titles.values())}
    for flag, options in by_flag.items():
        _add(groups[titles[flag]], flag, options)


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--engine`` and the options that only one engine has."""
    parser.add_argument_group("engine").add_argument(
        "--engine", choices=ENGINES, help="where trials run: local (this machine, the default), katib, sagemaker"
    )
    for kinds in OWN_OPTIONS.values():
        add_options(parser, *kinds)


def given_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The declared options that were given."""
    keys = {option.key for engine in ENGINES for option in _all_options(engine)} | {"engine"}
    return {name: value for name, value in vars(arguments).items() if name in keys and value is not None}


def to_parameters(options: Mapping[str, Any]) -> dict[str, Any]:
    """All parameters of the engine's pipeline; those that no option gives keep the pipeline's defaults."""
    engine = engine_of(options)
    parameters = {option.parameter: options[option.key] for option in parameters_of(engine) if option.key in options}
    if engine == "katib" and (more := engine_options.katib_options(options)):
        parameters["tune_katib_options"] = more
    return parameters


def image_options(options: Mapping[str, Any]) -> ImageOptions:
    """The options of data preparation; those that were not given have their defaults."""
    return ImageOptions.from_parameters(to_parameters(options), "data_")


def engine_of(options: Mapping[str, Any]) -> str:
    """The engine that options name, or the default."""
    return str(options.get("engine", "local"))


def _all_options(engine: str) -> list[Option]:
    """What the command line has for an engine."""
    return [option for option in (*parameters_of(engine), *options_of(*OWN_OPTIONS[engine])) if option.flag]


def _add(group: argparse._ArgumentGroup, flag: str, options: list[Option]) -> None:
    """Add a flag."""
    first = options[0]
    told = "; ".join(dict.fromkeys(_describe(option) for option in options))
    if default := default_words(first):
        told += f" (default: {default})"
    details: dict[str, Any] = {"help": told.replace("%", "%%")}
    if first.kind is bool:
        details["action"] = argparse.BooleanOptionalAction
    elif first.choices:
        details["choices"] = tuple(first.choices)
    else:
        details["type"] = parser_of(first)
        details["metavar"] = first.metavar or _METAVARS.get(first.unit) or _METAVARS[first.kind]
    group.add_argument(flag, **details)


def _describe(option: Option) -> str:
    text = option.help if option.choices and not any(option.choices.values()) else describe(option)
    if option.unit == "seconds":
        return f"{text}, or such as 10m, 2h"
    return f"{text}: a JSON or YAML file, or JSON itself" if option.kind is dict else text
