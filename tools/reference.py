"""References of what users write as objects, made from its classes: the tables in the documents, and JSON Schemas.

``python -m tools.reference`` writes them all.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, fields, is_dataclass
from inspect import getdoc
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from kfp_image_tuning.cli.engine_help import OBJECTS
from kfp_image_tuning.core.object_forms import dataclass_in
from kfp_image_tuning.delivery.values import Steps, StepSettings, Values
from kfp_image_tuning.engines.katib.request.options import KatibOptions
from kfp_image_tuning.engines.sagemaker.request.options import SageMakerOptions
from kfp_image_tuning.options.object_fields import default_words, descriptions, is_needed, type_words

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


@dataclass(frozen=True)
class Reference:
    """One kind of object.

    Attributes:
        kind: Its class.
        title: Of its JSON Schema.
        schema: The JSON Schema's file.
        elsewhere: Fields that users give in another way; of an object within it with the name of that before a dot.
    """

    kind: type
    title: str
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
        hidden = {name.rpartition(".")[2] for name in self.elsewhere if ("." in name) == (kind is not self.kind)}
        return [(entry, hints[entry.name]) for entry in fields(kind) if entry.name not in hidden]

    def _object(self, kind: Any) -> dict[str, Any]:
        words, found = descriptions(kind), self._fields(kind)
        needed = [entry.name for entry, _ in found if is_needed(entry)]
        return {
            "description": _summary(kind),
            "type": "object",
            "properties": {
                entry.name: {**_form(hint), "description": words.get(entry.name, "")} for entry, hint in found
            },
            **({"required": needed} if needed else {}),
            "additionalProperties": False,
        }

    def tables(self) -> str:
        """A table for each class."""
        lines: list[str] = []
        for kind in self.classes():
            lines += [f"### {TITLES.get(kind, kind.__name__)}", "", _summary(kind), ""]
            lines += ["| field | type | default | meaning |", "| --- | --- | --- | --- |"]
            words = descriptions(kind)
            for entry, hint in self._fields(kind):
                meaning = words.get(entry.name, "")
                lines.append(f"| `{entry.name}` | {type_words(hint, TITLES)} | {_default(entry)} | {meaning} |")
            lines.append("")
        return "\n".join(lines)


VALUES = Reference(Values, "Values of kfp-image-tuning compile", DOCS / "values.schema.json")
KATIB = Reference(
    KatibOptions, "Options of a search on Katib", DOCS / "katib-options.schema.json", OBJECTS["katib"].hidden
)
SAGEMAKER = Reference(
    SageMakerOptions,
    "Options of a tuning job on SageMaker",
    DOCS / "sagemaker-options.schema.json",
    OBJECTS["sagemaker"].hidden,
)
REFERENCES = (VALUES, KATIB, SAGEMAKER)


def values_page() -> str:
    """``docs/values.md`` with its tables made again."""
    before, _, rest = (DOCS / "values.md").read_text(encoding="utf-8").partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n\n{VALUES.tables()}\n{END}{after}"


def _summary(kind: type) -> str:
    return " ".join((getdoc(kind) or "").partition("Attributes:")[0].split()).replace("``", "`")


def _default(entry: "Field[Any]") -> str:
    if is_needed(entry):
        return "required"
    return f"`{told}`" if (told := default_words(entry)) else ""


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


if __name__ == "__main__":
    for reference in REFERENCES:
        reference.schema.write_text(reference.schema_text(), encoding="utf-8")
    (DOCS / "values.md").write_text(values_page(), encoding="utf-8")
