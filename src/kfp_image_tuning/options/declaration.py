"""How an option is declared: a field of a dataclass, whose type, default and `option` say all that there is to know.

In the settings, None is "not set". KFP has nothing for it that every backend understands, so each declaration has a
value that stands for it among a pipeline's parameters: 0 for a number and an empty text, unless it says otherwise.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, Self, Union, get_args, get_origin, get_type_hints

from kfp_image_tuning.core.object_forms import hint_at_nearest

Step = Literal["data", "tune", "eval"]
"""The step of a pipeline that takes an option; its name begins those of the pipeline's parameters."""
Unit = Literal["", "seconds", "fraction"]

_STANDS_FOR_NONE: Mapping[type, Any] = {int: 0, float: 0.0, str: ""}


@dataclass(frozen=True, kw_only=True)
class Option:
    """An option.

    Attributes:
        name: What settings and components call it.
        step: The step that takes it.
        kind: What KFP knows it as: str, int, float, bool or dict.
        default: Of the settings; None: not set; MISSING: it must be given.
        help: What it is; begins in lower case and ends without a full stop.
        unset: What stands for None among a pipeline's parameters.
        otherwise: What holds where it is not set: ``no limit``.
        unit: Of a number: seconds, or a fraction from 0 to 1.
        choices: What is allowed, and what each means; where no meanings are needed, they are empty.
        least: The smallest number that is allowed.
        most: The largest.
        pattern: What a text must match.
        such_as: Of a text with a pattern: what it is, and how it looks.
        flag: The command line's name for it; empty: the command line has none.
        metavar: What the command line's help calls the value.
        is_place: Whether it is a path or an address, at which something must be.
        inside: Where it stands within another option, an object; empty: it is an option of its own.
    """

    name: str
    step: Step
    kind: type
    default: Any
    help: str
    unset: Any
    otherwise: str = ""
    unit: Unit = ""
    choices: Mapping[str, str] = field(default_factory=dict)
    least: int | None = None
    most: int | None = None
    pattern: str = ""
    such_as: str = ""
    flag: str = ""
    metavar: str = ""
    is_place: bool = False
    inside: tuple[str, ...] = ()

    @property
    def parameter(self) -> str:
        """The pipelines' name for it, which is that of the run form."""
        return f"{self.step}_{self.name}"

    @property
    def key(self) -> str:
        """The name under which the command line's parser and ``run.json`` keep it."""
        return self.flag.removeprefix("--").replace("-", "_")

    @property
    def is_required(self) -> bool:
        """Whether there is no default."""
        return self.default is MISSING

    @property
    def parameter_default(self) -> Any:
        """The default at KFP's edge."""
        return self.unset if self.default is None else self.default

    def from_parameter(self, value: Any) -> Any:
        """The value that settings have for a parameter's."""
        return None if self.default is None and value == self.unset else value

    def find_problem(self, value: Any) -> str:
        """What is wrong with a parameter's value by the declaration alone; empty: nothing.

        Args:
            value: The parameter's.
        """
        if self.from_parameter(value) is None:
            return ""
        if self.choices and value not in self.choices:
            return f"{value!r} is not one of {', '.join(self.choices)}{hint_at_nearest(str(value), self.choices)}"
        if self.unit == "fraction" and not 0 <= value <= 1:
            guess = f"; did you mean {value / 100:g}?" if 1 < value <= 100 else ""
            return f"is a fraction from 0 to 1 (0.97 is 97 %), got {value:g}{guess}"
        if self.least is not None and value < self.least:
            return f"at least {self.least}, got {value:g}"
        if self.most is not None and value > self.most:
            return f"at most {self.most}, got {value:g}"
        if self.unit == "seconds" and self.least is None and not value > 0:
            return f"more than 0 seconds, got {value:g}"
        if self.pattern and not re.fullmatch(self.pattern, value):
            return f"{value!r} is not {self.such_as}"
        return ""

    def as_typed(self, value: Any) -> list[str]:
        """What to type for a value on the command line.

        Args:
            value: That of the settings.
        """
        if self.kind is bool:
            return [self.flag if value else f"--no-{self.flag.removeprefix('--')}"]
        if self.kind is dict:
            return [self.flag, json.dumps(value, sort_keys=True)]
        if isinstance(value, float):
            short = f"{value:g}"
            return [self.flag, short if float(short) == value else repr(value)]
        # What begins as a flag does would be taken for one.
        return [f"{self.flag}={value}"] if str(value).startswith("-") else [self.flag, str(value)]


def option(default: Any = MISSING, *, help: str, unset: Any = None, flag: str | None = None, **details: Any) -> Any:
    """Declare an option as a field of a dataclass.

    Args:
        default: Its default; None: it is not set; a callable, such as dict, makes it; left out: it must be given.
        help: What it is.
        unset: What stands for None among parameters, where it is not 0 or empty.
        flag: The command line's name, where it is not the option's; empty: the command line has none.
        **details: Other attributes of `Option`.
    """
    declared = {"help": help, "unset": unset, "flag": flag, **details}
    if isinstance(default, Callable):  # type: ignore[arg-type]
        return field(default_factory=default, metadata=declared)
    return field(default=default, metadata=declared)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What all classes of options have in common.

    Attributes:
        step: The step that takes them.
        title: What the command line's help calls them.
    """

    step: ClassVar[Step] = "tune"
    title: ClassVar[str] = ""

    @classmethod
    def from_parameters(cls, values: Mapping[str, Any], prefix: str = "", **more: Any) -> Self:
        """Read the parameters of a component or a pipeline.

        Args:
            values: Parameters by their names; those of others are passed over, and what is missing has its default.
            prefix: What all names begin with.
            **more: Fields that are not options.
        """
        given = {
            entry.name: entry.from_parameter(values[prefix + entry.name])
            for entry in options_of(cls)
            if prefix + entry.name in values
        }
        return cls(**given, **more)


def options_of(*kinds: type[Options]) -> tuple[Option, ...]:
    """The options that classes declare, in their order."""
    found: list[Option] = []
    for kind in kinds:
        hints = get_type_hints(kind)
        found += [_read(kind.step, entry, _without_none(hints[entry.name])) for entry in fields(kind) if entry.metadata]
    return tuple(found)


def _read(step: Step, entry: "Field[Any]", hint: Any) -> Option:
    declared = dict(entry.metadata)
    if get_origin(hint) is Literal:
        declared.setdefault("choices", dict.fromkeys(get_args(hint), ""))
        hint = str
    kind = dict if get_origin(hint) is Mapping else hint
    if declared["unset"] is None:
        declared["unset"] = _STANDS_FOR_NONE.get(kind)
    if declared["flag"] is None:
        declared["flag"] = "--" + entry.name.replace("_", "-")
    default = entry.default if entry.default_factory is MISSING else entry.default_factory()
    return Option(name=entry.name, step=step, kind=kind, default=default, **declared)


def _without_none(hint: Any) -> Any:
    if get_origin(hint) in (Union, UnionType):
        (hint,) = (part for part in get_args(hint) if part is not NoneType)
    return hint
