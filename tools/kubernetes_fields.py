"""Makes ``src/kfp_image_tuning/engines/katib/request/kubernetes_fields.json`` out of Kubernetes' published schemas.

To write it again: ``python -m tools.kubernetes_fields``.
"""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import kubernetes_validate

TABLE = Path(__file__).parents[1] / "src/kfp_image_tuning/engines/katib/request/kubernetes_fields.json"
ROOT = "io.k8s.api.batch.v1.JobSpec"
PLAIN = {"Quantity": "quantity", "IntOrString": "integer or string", "Time": "string", "FieldsV1": "object"}


def make_table() -> dict[str, Any]:
    """Every type that a Job's ``spec`` can hold: its fields and what they hold; required ones end in ``!``."""
    version = kubernetes_validate.latest_version()
    folder = files(kubernetes_validate) / "kubernetes-json-schema" / f"v{version}-local-strict"
    definitions = json.loads((folder / "_definitions.json").read_text())["$defs"]
    types: dict[str, Any] = {}
    waiting = [ROOT]
    while waiting:
        name = waiting.pop()
        if _short(name) in types or _short(name) in PLAIN:
            continue
        definition = definitions[name]
        required = definition.get("required", ())
        fields = {}
        for field, schema in sorted(definition.get("properties", {}).items()):
            fields[field] = _describe(schema, waiting) + ("!" if field in required else "")
        types[_short(name)] = fields
    return {"kubernetes": version, "types": dict(sorted(types.items()))}


def _short(name: str) -> str:
    return name.rsplit(".", 1)[1]


def _describe(schema: dict[str, Any], waiting: list[str]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        waiting.append(name)
        return PLAIN.get(_short(name), _short(name))
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    kind = next(kind for kind in kinds if kind != "null")
    if kind == "array":
        return f"list of {_describe(schema['items'], waiting)}"
    if "additionalProperties" in schema:
        return f"map of {_describe(schema['additionalProperties'], waiting)}"
    return str(kind)


if __name__ == "__main__":
    TABLE.write_text(json.dumps(make_table(), indent=1) + "\n")
