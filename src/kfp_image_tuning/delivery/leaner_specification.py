"""Takes out of a compiled pipeline what nothing reads.

KFP keeps each step's component and container about nine times in the object of a run, which has a limit.
"""

import ast
import io
import tokenize
from collections.abc import Collection, Iterator
from typing import Any

Document = dict[str, Any]

_AMOUNTS = (
    *("cpu_request", "cpu_limit", "memory_request", "memory_limit"),
    *("accelerator_type", "accelerator_count"),
)


def make_leaner(specification: Document, names: Collection[str]) -> None:
    """Leave out what nothing reads: descriptions that no form shows, inputs that no task gives, values that are double.

    Args:
        specification: The pipeline specification, which is changed.
        names: Components that may be changed: this project's.
    """
    components = specification["components"]
    given: dict[str, set[str]] = {name: set() for name in names}
    for task in _tasks(specification):
        name = task["componentRef"]["name"]
        if name in given:
            inputs = task.get("inputs", {}).get("parameters", {})
            _drop_doubled(inputs, _parameters(components[name]))
            given[name].update(inputs)
    for name in names:
        _drop_descriptions(components[name])
        parameters = _parameters(components[name])
        for entry, definition in list(parameters.items()):
            if _has_default(definition):
                # The function that the component is has the same default.
                definition.pop("defaultValue", None)
                if entry not in given[name]:
                    del parameters[entry]


def _tasks(specification: Document) -> Iterator[Document]:
    for group in (specification["root"], *specification["components"].values()):
        yield from group.get("dag", {}).get("tasks", {}).values()


def _parameters(component: Document) -> Document:
    parameters: Document = component.get("inputDefinitions", {}).get("parameters", {})
    return parameters


def _has_default(definition: Document) -> bool:
    """A task's configuration is optional as well, but KFP gives it."""
    return bool(definition.get("isOptional")) and definition["parameterType"] != "TASK_CONFIG"


def _drop_doubled(inputs: Document, declared: Document) -> None:
    """KFP's compiler gives a pod's amounts twice: its driver reads the one, nothing the other (``cpu_limit``)."""
    for name in [name for name in inputs if name in _AMOUNTS and name not in declared]:
        del inputs[name]


def _drop_descriptions(part: Any) -> None:
    if isinstance(part, dict):
        if isinstance(part.get("description"), str):
            del part["description"]
        for value in part.values():
            _drop_descriptions(value)


def strip_source(source: str) -> str:
    """A component's source without comments, and without the docstring of its function."""
    lines = source.split("\n")
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column].rstrip()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None:
            docstring = node.body[0]
            del lines[docstring.lineno - 1 : docstring.end_lineno]
    return "\n".join(line for line in lines if line)
