"""Help by engine: ``--engine katib --help`` shows what belongs to that engine, and nothing of the others."""

import argparse
import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from kfp_image_tuning.core.argument_parser import CommandParser
from kfp_image_tuning.options.declaration import options_of
from kfp_image_tuning.options.object_fields import ObjectField, list_fields
from kfp_image_tuning.options.pipelines import ENGINES, OWN_OPTIONS, parameters_of
from kfp_image_tuning.options.words import format_parameter, sentence, type_words


@dataclass(frozen=True)
class OptionsObject:
    """An option that takes an object, with the class whose fields the object has.

    Attributes:
        module: Where the class is; it is imported only when it is needed.
        kind: The class's name.
        hidden: Fields that users give in another way.
    """

    module: str
    kind: str
    hidden: frozenset[str]

    def load(self) -> type:
        """The class."""
        found: type = getattr(import_module(self.module), self.kind)
        return found

    def list_fields(self) -> list[ObjectField]:
        """The fields that users may give."""
        return list_fields(self.load(), self.hidden)


OBJECTS: Mapping[str, OptionsObject] = {
    "katib": OptionsObject(
        "kfp_image_tuning.engines.katib.request.options",
        "KatibOptions",
        frozenset({"data", "output_uri", "run", "pods.gpus"}),
    ),
    "sagemaker": OptionsObject(
        "kfp_image_tuning.engines.sagemaker.request.options",
        "SageMakerOptions",
        frozenset({"role", "data", "output_uri", "run", "record_shards"}),
    ),
}


class ShowHelp(argparse.Action):
    """Shows the help of a command for the engine that it names, if it names one."""

    def __init__(self, option_strings: Sequence[str], **_: Any) -> None:
        super().__init__(
            option_strings, argparse.SUPPRESS, 0, help="show this help and exit; with --engine, that of it"
        )

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Print it and end the program."""
        assert isinstance(parser, CommandParser)
        engine = _engine_among(parser.words)
        self.hide_others(parser, engine)
        parser.epilog = "\n".join(self.describe(engine) if engine else _summaries(parser.prog))
        parser.print_help()
        parser.exit()

    def hide_others(self, parser: argparse.ArgumentParser, engine: str) -> None:
        """Leave out the options of other engines."""
        for other in ENGINES:
            if other != engine:
                _hide(parser, other)

    def describe(self, engine: str) -> list[str]:
        """What is told of an engine beside its options."""
        return _fields(engine, "--{}-options")


class ShowParameters(ShowHelp):
    """The same of a command that has no engine's options, with the parameters of the engine's pipeline."""

    def hide_others(self, parser: argparse.ArgumentParser, engine: str) -> None:
        """There are none."""

    def describe(self, engine: str) -> list[str]:
        """What is told of an engine beside its options."""
        lines = ["parameters of the pipeline:"]
        for option in parameters_of(engine):
            value = "" if option.is_required else format_parameter(option.parameter_default)
            default = "needed" if option.is_required else value and f"default {value}"
            lines += _entry(option.parameter, type_words(option), default, sentence(option))
        return [*lines, "", *_fields(engine, "tune_{}_options")]


def _engine_among(words: Sequence[str]) -> str:
    """The engine that a command names; empty: none, or one that does not exist."""
    for place, word in enumerate(words):
        name, _, value = word.partition("=")
        if name == "--engine":
            value = value or next(iter(words[place + 1 :]), "")
            return value if value in ENGINES else ""
    return ""


def _hide(parser: argparse.ArgumentParser, engine: str) -> None:
    flags = {option.flag for option in options_of(*OWN_OPTIONS[engine]) if option.flag}
    for action in parser._actions:
        if flags & set(action.option_strings):
            action.help = argparse.SUPPRESS


def _summaries(program: str) -> Iterator[str]:
    yield "each engine has options of its own:"
    for engine, (options, *_) in OWN_OPTIONS.items():
        yield f"  {program} --engine {engine} --help"
        yield f"      {options.title.partition(': ')[2]}"


def _fields(engine: str, name: str) -> list[str]:
    """The fields of the object that an engine takes, if it takes one, with the object's name made of the engine's."""
    if engine not in OBJECTS:
        return []
    lines = [f"fields of {name.format(engine)}:"]
    for field in OBJECTS[engine].list_fields():
        lines += _entry(field.name, field.type, field.default and f"default {field.default}", field.meaning)
    return lines


def _entry(name: str, kind: str, default: str, meaning: str) -> list[str]:
    width = max(40, shutil.get_terminal_size().columns - 2)
    head = f"{name}: {', '.join(filter(None, (kind, default)))}"
    told = textwrap.wrap(meaning, width, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return [*textwrap.wrap(head, width, initial_indent="  ", subsequent_indent=" " * 6), *told]
