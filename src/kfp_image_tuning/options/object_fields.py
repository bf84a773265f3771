"""The fields of a dataclass that users write as a JSON object, told in words: for help texts and references."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from inspect import getdoc
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from kfp_image_tuning.core.object_forms import dataclass_in

_WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false", NoneType: "null"}


@dataclass(frozen=True)
class ObjectField:
    """A field.

    Attributes:
        name: Its name; in an object within the object with that one's before a dot.
        type: What it holds, in words.
        default: Its default as JSON; empty: told by its meaning, or it is needed.
        meaning: What it is.
    """

    name: str
    type: str
    default: str
    meaning: str


def list_fields(kind: type, hidden: Collection[str] = (), prefix: str = "") -> list[ObjectField]:
    """The fields of an object, those of the objects within it after the one that holds them.

    Args:
        kind: The dataclass.
        hidden: Names of fields that users give in another way.
        prefix: What all names begin with.
    """
    hints, meanings = get_type_hints(kind), descriptions(kind)
    found: list[ObjectField] = []
    for entry in fields(kind):
        name, hint = prefix + entry.name, hints[entry.name]
        if name in hidden:
            continue
        found.append(ObjectField(name, type_words(hint), default_words(entry), meanings.get(entry.name, "")))
        if inner := dataclass_in(hint):
            found += list_fields(inner, hidden, f"{name}.")
    return found


def descriptions(kind: type) -> dict[str, str]:
    """What a class says of its attributes, by name."""
    text = (getdoc(kind) or "").partition("Attributes:")[2]
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", text, re.MULTILINE)
    return {name: " ".join(words.split()).replace("``", "`") for name, words in entries}


def is_needed(entry: "Field[Any]") -> bool:
    """Whether a field has no default."""
    return entry.default is MISSING and entry.default_factory is MISSING


def default_words(entry: "Field[Any]") -> str:
    """A field's default as JSON, where it says something: what is empty is told by the field's meaning."""
    if is_needed(entry):
        return ""
    value = entry.default if entry.default_factory is MISSING else entry.default_factory()
    return json.dumps(value) if isinstance(value, bool | int | float) or (value and isinstance(value, str)) else ""


def type_words(hint: Any, titles: Mapping[Any, str] | None = None) -> str:
    """What a field holds, in words.

    Args:
        hint: Its annotation.
        titles: What dataclasses are called; left out: they are objects.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if is_dataclass(hint):
        return (titles or {}).get(hint, "object")
    if origin is Literal:
        return ", ".join(arguments)
    if origin in (Union, UnionType):
        return " or ".join(type_words(one, titles) for one in arguments)
    if origin in (Sequence, tuple):
        return f"list of {type_words(arguments[0], titles)}"
    if origin is Mapping:
        return "object" if arguments[1] is Any else f"object of {type_words(arguments[1], titles)}"
    return "anything" if hint is Any else _WORDS[hint]
