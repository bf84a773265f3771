"""The reference of the values file, made from its classes: the tables in docs/values.md and the JSON Schema.

``python -m tests.pipelines.values_reference`` writes both.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from inspect import getdoc
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from kfp_image_tuning.pipelines.values import Steps, StepSettings, Values
from kfp_image_tuning.tuning.object_forms import dataclass_in

DOCS = Path(__file__).parents[2] / "docs"
PAGE, SCHEMA = DOCS / "values.md", DOCS / "values.schema.json"
START, END = "<!-- Made from pipelines/values.py by `make readmes`. -->", "<!-- The end of what is made. -->"
_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}


def schema_text() -> str:
    """The JSON Schema of a values file."""
    found = classes()
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Values of kfp-image-tuning compile",
        **_object(Values),
        "$defs": {kind.__name__: _object(kind) for kind in found if kind is not Values},
    }
    return json.dumps(schema, indent=2) + "\n"


def page_text(page: str) -> str:
    """The page with its tables made anew."""
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n\n{_tables()}\n{END}{after}"


def classes() -> list[type]:
    """The classes of a values file, each after the one that holds it."""
    found: list[type] = [Values]
    for kind in found:
        for hint in get_type_hints(kind).values():
            inner = dataclass_in(hint)
            if inner and inner not in found:
                found.append(inner)
    return found


def _descriptions(kind: type) -> dict[str, str]:
    text = (getdoc(kind) or "").partition("Attributes:")[2]
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", text, re.MULTILINE)
    return {name: " ".join(words.split()) for name, words in entries}


def _summary(kind: type) -> str:
    return " ".join((getdoc(kind) or "").partition("Attributes:")[0].split())


def _object(kind: Any) -> dict[str, Any]:
    words, hints = _descriptions(kind), get_type_hints(kind)
    needed = [entry.name for entry in fields(kind) if entry.default is MISSING and entry.default_factory is MISSING]
    return {
        "description": _summary(kind),
        "type": "object",
        "properties": {name: {**_form(hint), "description": words[name]} for name, hint in hints.items()},
        **({"required": needed} if needed else {}),
        "additionalProperties": False,
    }


def _form(hint: Any) -> dict[str, Any]:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return {}
    if is_dataclass(hint):
        return {"$ref": f"#/$defs/{hint.__name__}"}  # type: ignore[union-attr]
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, UnionType):
        return {"anyOf": [_form(one) for one in arguments]}
    if origin is Sequence:
        return {"type": "array", "items": _form(arguments[0])}
    if origin is Mapping:
        return {"type": "object", "additionalProperties": _form(arguments[1])}
    return {"type": _PLAIN[hint]}


def _tables() -> str:
    lines: list[str] = []
    for kind in classes():
        if kind in (Values, Steps):
            title = {Values: "The file", Steps: "`steps`"}[kind]
        else:
            title = "A step" if kind is StepSettings else kind.__name__
        lines += [f"### {title}", "", _summary(kind), "", "| field | type | meaning |", "| --- | --- | --- |"]
        words = _descriptions(kind)
        lines += [f"| `{name}` | {_word(hint)} | {words[name]} |" for name, hint in get_type_hints(kind).items()]
        lines.append("")
    return "\n".join(lines)


def _word(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if is_dataclass(hint):
        return "A step" if hint is StepSettings else hint.__name__  # type: ignore[union-attr]
    if origin is Literal:
        return ", ".join(arguments)
    if origin in (Union, UnionType):
        return " or ".join(_word(one) for one in arguments)
    if origin is Sequence:
        return f"list of {_word(arguments[0])}"
    if origin is Mapping:
        return "object" if arguments[1] is Any else f"object of {_word(arguments[1])}"
    return {"string": "text", "integer": "whole number", "boolean": "true or false"}.get(_PLAIN[hint], _PLAIN[hint])


if __name__ == "__main__":
    SCHEMA.write_text(schema_text(), encoding="utf-8")
    PAGE.write_text(page_text(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
