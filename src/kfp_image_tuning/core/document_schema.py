"""Checks a JSON document against the JSON Schema that is beside its module.

The schema is the one place where the document's form is written down; this is the part of JSON Schema 2020-12 that our
documents need, so that reading one needs no further package. `tests/dataset/test_document.py` compares it with the
``jsonschema`` package. Every violation is found, not only the first.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]

_KEYWORDS = {
    *("$schema", "$defs", "title", "description", "$ref", "type", "const", "enum"),
    *("properties", "required", "additionalProperties", "items", "minItems", "maxItems", "uniqueItems"),
    *("pattern", "minimum", "exclusiveMinimum", "maximum"),
}
_NOUNS = {
    "object": "an object",
    "array": "a list",
    "string": "a text",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}
_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "null": (type(None),),
}


def find_violations(document: object, schema: Schema) -> list[str]:
    """One sentence for each place of ``document`` that is not as ``schema`` says."""
    return [f"{path or 'the document'} {rule}" for path, rule in _walk(document, schema, schema, "")]


def _walk(value: object, schema: Schema, root: Schema, path: str) -> Iterator[tuple[str, str]]:
    """The violations at and below ``path``, as path and rule."""
    if "$ref" in schema:
        for step in schema["$ref"].removeprefix("#/").split("/"):
            schema = root[step] if step == "$defs" else schema[step]
    if unknown := schema.keys() - _KEYWORDS:
        raise ValueError(f"the schema uses {', '.join(sorted(unknown))}, which this module does not know")
    kinds = schema.get("type", list(_NOUNS))
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if not any(_is_a(value, kind) for kind in kinds):
        yield path, f"must be {' or '.join(_NOUNS[kind] for kind in kinds)}, got {_shorten(value)}"
        return
    yield from ((path, f"{rule}, got {_shorten(value)}") for rule in _broken_rules(value, schema))
    if isinstance(value, dict):
        yield from _walk_object(value, schema, root, path)
    elif isinstance(value, list):
        yield from _walk_list(value, schema, root, path)


def _walk_object(value: dict[str, Any], schema: Schema, root: Schema, path: str) -> Iterator[tuple[str, str]]:
    properties = schema.get("properties", {})
    others = schema.get("additionalProperties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{path}.{name}".lstrip("."), "is missing"
    for name, item in value.items():
        place = f"{path}.{name}".lstrip(".")
        if name in properties:
            yield from _walk(item, properties[name], root, place)
        elif others is False:
            yield place, f"is unknown; known here are {', '.join(properties)}"
        else:
            yield from _walk(item, others, root, place)


def _walk_list(value: list[Any], schema: Schema, root: Schema, path: str) -> Iterator[tuple[str, str]]:
    least, most = schema.get("minItems", 0), schema.get("maxItems", math.inf)
    if not least <= len(value) <= most:
        wanted = (
            f"exactly {least}" if least == most else f"at least {least}" if len(value) < least else f"at most {most}"
        )
        yield path, f"must have {wanted} elements, has {len(value)}"
    if schema.get("uniqueItems") and any(item in value[:position] for position, item in enumerate(value)):
        yield path, "must not hold an element twice"
    for position, item in enumerate(value):
        yield from _walk(item, schema.get("items", {}), root, f"{path}[{position}]")


def _broken_rules(value: Any, schema: Schema) -> Iterator[str]:
    """The rules that need no look inside."""
    if "const" in schema and (value != schema["const"] or isinstance(value, bool) != isinstance(schema["const"], bool)):
        yield f"must be {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"must be one of {', '.join(map(repr, schema['enum']))}"
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        yield f"must have the form {schema['pattern']}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value < schema.get("minimum", value):
            yield f"must be at least {schema['minimum']}"
        if value <= schema.get("exclusiveMinimum", -math.inf):
            yield f"must be above {schema['exclusiveMinimum']}"
        if value > schema.get("maximum", value):
            yield f"must be at most {schema['maximum']}"


def _is_a(value: object, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return kind in _TYPES and isinstance(value, _TYPES[kind])


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
