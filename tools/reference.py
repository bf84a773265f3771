"""References of what users write as objects, made from its classes: the tables in the documents, and JSON Schemas.

``python -m tools.reference`` writes them all.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from inspect import getdoc
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from kfp_image_tuning.core.object_forms import dataclass_in
from kfp_image_tuning.delivery.values import Steps, StepSettings, Values
from kfp_image_tuning.engines.katib.request.options import KatibOptions
from kfp_image_tuning.engines.sagemaker.request.options import SageMakerOptions

DOCS = Path(__file__).parents[1] / "docs"
START, END = "<!-- Made by `make generate`. -->", "<!-- The end of what is made. -->"
TITLES = {
    Values: "The file",
    StepSettings: "A step",
    Steps: "`steps`",
    KatibOptions: "The search",
    SageMakerOptions: "The tuning job",
}
_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}
_WORDS = {"string": "text", "integer": "whole number", "boolean": "true or false"}


@dataclass(frozen=True)
class Reference:
    """One kind of object.

    Attributes:
        kind: Its class.
        title: Of its JSON Schema.
        page: The document that has its tables, between two marks.
        schema: The JSON Schema's file.
        elsewhere: Fields that users give in another way.
    """

    kind: type
    title: str
    page: Path
    schema: Path
    elsewhere: frozenset[str] = frozenset()

    def schema_text(self) -> str:
        """The JSON Schema."""
        schema = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": self.title,
            **self._object(self.kind),
            "$defs": {kind.__name__: self._object(kind) for kind in self.classes() if kind is not self.kind},
        }
        return json.dumps(schema, indent=2) + "\n"

    def page_text(self) -> str:
        """The document with its tables made anew."""
        before, _, rest = self.page.read_text(encoding="utf-8").partition(START)
        _, _, after = rest.partition(END)
        return f"{before}{START}\n\n{self._tables()}\n{END}{after}"

    def classes(self) -> list[type]:
        """The class and those of the objects within it, each after the one that holds it."""
        found: list[type] = [self.kind]
        for kind in found:
            for _, hint in self._fields(kind):
                inner = dataclass_in(hint)
                if inner and inner not in found:
                    found.append(inner)
        return found

    def _fields(self, kind: type) -> list[tuple["Field[Any]", Any]]:
        hints = get_type_hints(kind)
        hidden = self.elsewhere if kind is self.kind else frozenset()
        return [(entry, hints[entry.name]) for entry in fields(kind) if entry.name not in hidden]

    def _object(self, kind: Any) -> dict[str, Any]:
        words, found = descriptions(kind), self._fields(kind)
        needed = [entry.name for entry, _ in found if _is_needed(entry)]
        return {
            "description": _summary(kind),
            "type": "object",
            "properties": {
                entry.name: {**_form(hint), "description": words.get(entry.name, "")} for entry, hint in found
            },
            **({"required": needed} if needed else {}),
            "additionalProperties": False,
        }

    def _tables(self) -> str:
        lines: list[str] = []
        for kind in self.classes():
            lines += [f"### {TITLES.get(kind, kind.__name__)}", "", _summary(kind), ""]
            lines += ["| field | type | default | meaning |", "| --- | --- | --- | --- |"]
            words = descriptions(kind)
            for entry, hint in self._fields(kind):
                lines.append(f"| `{entry.name}` | {_word(hint)} | {_default(entry)} | {words.get(entry.name, '')} |")
            lines.append("")
        return "\n".join(lines)


REFERENCES = (
    Reference(
        Values, "Values of kfp-image-tuning compile", DOCS / "values.md", DOCS / "values.schema.json", frozenset()
    ),
    Reference(
        KatibOptions,
        "Options of a search on Katib",
        DOCS / "katib.md",
        DOCS / "katib-options.schema.json",
        frozenset({"data", "output_uri", "run"}),
    ),
    Reference(
        SageMakerOptions,
        "Options of a tuning job on SageMaker",
        DOCS / "sagemaker.md",
        DOCS / "sagemaker-options.schema.json",
        frozenset({"role", "data", "output_uri", "run"}),
    ),
)


def descriptions(kind: type) -> dict[str, str]:
    """What a class says of its attributes, by name."""
    text = (getdoc(kind) or "").partition("Attributes:")[2]
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", text, re.MULTILINE)
    return {name: " ".join(words.split()).replace("``", "`") for name, words in entries}


def _summary(kind: type) -> str:
    return " ".join((getdoc(kind) or "").partition("Attributes:")[0].split()).replace("``", "`")


def _is_needed(entry: "Field[Any]") -> bool:
    return entry.default is MISSING and entry.default_factory is MISSING


def _default(entry: "Field[Any]") -> str:
    """As JSON, where it says something."""
    if _is_needed(entry):
        return "required"
    value = entry.default if entry.default_factory is MISSING else entry.default_factory()
    # Numbers and words; what is empty is told by the field's meaning.
    return (
        f"`{json.dumps(value)}`" if isinstance(value, bool | int | float) or (value and isinstance(value, str)) else ""
    )


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
    if origin in (Sequence, tuple):
        return {"type": "array", "items": _form(arguments[0])}
    if origin is Mapping:
        return {"type": "object", "additionalProperties": _form(arguments[1])}
    return {"type": _PLAIN[hint]}


def _word(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if is_dataclass(hint):
        return TITLES.get(hint, hint.__name__)  # type: ignore[union-attr, arg-type]
    if origin is Literal:
        return ", ".join(arguments)
    if origin in (Union, UnionType):
        return " or ".join(_word(one) for one in arguments)
    if origin in (Sequence, tuple):
        return f"list of {_word(arguments[0])}"
    if origin is Mapping:
        return "object" if arguments[1] is Any else f"object of {_word(arguments[1])}"
    return _WORDS.get(_PLAIN[hint], _PLAIN[hint])


if __name__ == "__main__":
    for reference in REFERENCES:
        reference.schema.write_text(reference.schema_text(), encoding="utf-8")
        reference.page.write_text(reference.page_text(), encoding="utf-8")
