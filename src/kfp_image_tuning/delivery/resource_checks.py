"""Checks of what a pipeline asks for its pods in parameters: KFP's driver reads nothing but text there.

A number counts as empty. An empty amount of CPU or memory fails the step before its pod is made; an accelerator whose
type or count is empty is left out without a word.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

Document = Mapping[str, Any]

_INPUT = re.compile(r"\{\{\$\.inputs\.parameters\['(.+?)'\]\}\}")
_ACCELERATOR = "accelerator"
_NEEDED = re.compile(r"resource(Cpu|Memory)(Limit|Request)")


def find_broken_amounts(specification: Document) -> Iterator[str]:
    """One sentence for each amount that would not reach a pod.

    Args:
        specification: The pipeline specification.
    """
    components = specification["components"]
    for group in (specification["root"], *components.values()):
        tasks = group.get("dag", {}).get("tasks", {})
        for name, task in tasks.items():
            label = components[task["componentRef"]["name"]].get("executorLabel")
            if label is None:
                continue
            resources = specification["deploymentSpec"]["executors"][label].get("container", {}).get("resources", {})
            for field, text in {**resources, **resources.get(_ACCELERATOR, {})}.items():
                found = _INPUT.fullmatch(text) if isinstance(text, str) else None
                if found is not None:
                    definition = _definition(task["inputs"]["parameters"][found[1]], group, tasks, components)
                    yield from (f"{name}: {problem}" for problem in _problems(field, definition))


def _definition(
    source: Document, group: Document, tasks: Document, components: Document
) -> tuple[str, Document | None]:
    """Name and definition of what an input is taken from; None: the group of tasks has no such input."""
    if "taskOutputParameter" in source:
        output = source["taskOutputParameter"]
        producer = components[tasks[output["producerTask"]]["componentRef"]["name"]]
        name = output["outputParameterKey"]
        return name, producer["outputDefinitions"]["parameters"][name]
    name = source["componentInputParameter"]
    return name, group.get("inputDefinitions", {}).get("parameters", {}).get(name)


def _problems(field: str, source: tuple[str, Document | None]) -> Iterator[str]:
    name, definition = source
    shown = name.removeprefix("pipelinechannel--")
    loss = "the step would fail" if _NEEDED.fullmatch(field) else "the accelerator would be missing without a word"
    if definition is None:
        yield (
            f"{shown} does not reach a step in dsl.If or dsl.ParallelFor as {field}, because KFP's compiler does not "
            "hand it in; write the amount itself there, or make the group a pipeline with this parameter"
        )
    elif definition["parameterType"] != "STRING":
        yield f"{shown} must be a text (str) to be {field}: KFP reads a number there as empty, and {loss}"
    elif definition.get("defaultValue") == "" and _NEEDED.fullmatch(field):
        yield f'{shown} is empty where nothing is given, and {loss}; its default must be an amount, "0" for no limit'
