"""A component's README, made from its docstring, its signature and its example.

``python -m tools.component_readmes`` writes them all.
"""

import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict

from tools.check_catalogue import find_folders

FOLDERS = find_folders()

_TYPES = {
    "STRING": "text",
    "NUMBER_INTEGER": "whole number",
    "NUMBER_DOUBLE": "number",
    "BOOLEAN": "true or false",
    "STRUCT": "JSON object",
    "LIST": "JSON list",
    "TASK_CONFIG": "task configuration",
}


def definitions(folder: Path, direction: str, kind: str) -> dict[str, Any]:
    """Inputs or outputs of a folder's component, as they are compiled."""
    component = next(iter(MessageToDict(face_of(folder).pipeline_spec)["components"].values()))
    found: dict[str, Any] = component.get(direction, {}).get(kind, {})
    # A protobuf map has no order; the signature, or for returned values the docstring, has.
    text = inspect.getsource(face_of(folder).python_func)
    return dict(sorted(found.items(), key=lambda item: text.index(f" {item[0]}:")))


def face_of(folder: Path) -> Any:
    """What ``@dsl.component`` made."""
    return getattr(import_module(f"kfp_image_tuning.components.{folder.parent.name}.{folder.name}"), folder.name)


def write_readme(folder: Path) -> str:
    """The text of a component's README."""
    name = folder.name
    docstring = inspect.getdoc(face_of(folder).python_func) or ""
    prose = docstring.partition("\nArgs:")[0].strip()
    lines = [f"# {name.replace('_', ' ').capitalize()}", "", prose, ""]
    for title, direction in (("Inputs", "inputDefinitions"), ("Outputs", "outputDefinitions")):
        lines += [f"## {title}", "", *_table(folder, direction), ""]
    lines += [
        "## Use",
        "",
        "```python",
        *_example(folder),
        "```",
        "",
        "The component's body imports `kfp_image_tuning`. `kfp-image-tuning compile` makes pipelines that carry this",
        "code; a pipeline that is compiled in another way needs an image in which `kfp-image-tuning` is installed.",
        "",
        "<!-- Made from component.py and example_pipelines.py by `make generate`. -->",
    ]
    return "\n".join(lines) + "\n"


def _example(folder: Path) -> list[str]:
    """The lines of the component's example, without its docstring and without words to the type checker."""
    lines = (folder / "example_pipelines.py").read_text(encoding="utf-8").splitlines()
    return [line.partition("  # type: ignore")[0] for line in lines[2:]]


def _table(folder: Path, direction: str) -> list[str]:
    inputs = direction == "inputDefinitions"
    lines = (
        ["| name | type | default | meaning |", "| --- | --- | --- | --- |"]
        if inputs
        else ["| name | type | meaning |", "| --- | --- | --- |"]
    )
    for name, entry in definitions(folder, direction, "artifacts").items():
        lines.append(_row(name, entry["artifactType"]["schemaTitle"], entry, inputs))
    for name, entry in definitions(folder, direction, "parameters").items():
        lines.append(_row(name, _TYPES[entry["parameterType"]], entry, inputs))
    return lines


def _row(name: str, kind: str, entry: dict[str, Any], inputs: bool) -> str:
    meaning = " ".join(entry.get("description", "").split()).replace("|", "\\|")
    if not inputs:
        return f"| `{name}` | {kind} | {meaning} |"
    if "defaultValue" in entry:
        default = f"`{_format(entry['defaultValue'])}`"
    else:
        default = "none" if entry.get("isOptional") else "required"
    return f"| `{name}` | {kind} | {default} | {meaning} |"


def _format(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return str(value) if value != "" else '""'


if __name__ == "__main__":
    for component_folder in FOLDERS:
        (component_folder / "README.md").write_text(write_readme(component_folder), encoding="utf-8")
