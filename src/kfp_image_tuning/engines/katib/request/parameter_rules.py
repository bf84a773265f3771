"""Katib's rules for ``spec.parameters``: those of its webhook, and what breaks the search services later."""

from collections.abc import Iterator, Mapping
from typing import Any

NUMBER_TYPES = ("double", "int")
LIST_TYPES = ("discrete", "categorical")
DISTRIBUTIONS = ("uniform", "logUniform", "normal", "logNormal")
SPACE_FIELDS = ("min", "max", "step", "list", "distribution")


def find_broken_parameter_rules(spec: Mapping[str, Any]) -> Iterator[str]:
    """Every rule that the parameters break."""
    parameters = spec.get("parameters")
    if not parameters and not spec.get("nasConfig"):
        yield "spec.parameters: is missing; an Experiment tunes something"
    if parameters and spec.get("nasConfig"):
        yield "spec: has parameters and nasConfig, only one of them is allowed"
    names = [parameter.get("name") for parameter in parameters or ()]
    for name in sorted({str(name) for name in names if names.count(name) > 1}):
        yield f"spec.parameters: {name} stands there twice"
    for number, parameter in enumerate(parameters or ()):
        place = f"spec.parameters[{number}] ({parameter.get('name')})"
        for problem in _find_in_parameter(parameter):
            yield f"{place}{problem}"


def _find_in_parameter(parameter: Mapping[str, Any]) -> Iterator[str]:
    kind, space = parameter.get("parameterType"), parameter.get("feasibleSpace")
    if not parameter.get("name"):
        yield ".name: is missing"
    if kind not in NUMBER_TYPES + LIST_TYPES:
        yield f".parameterType: must be one of {', '.join(NUMBER_TYPES + LIST_TYPES)}, got {kind!r}"
    if not space:
        yield ".feasibleSpace: is missing"
        return
    for name in sorted(set(space) - set(SPACE_FIELDS)):
        yield f".feasibleSpace.{name}: is unknown"
    if space.get("distribution", "uniform") not in DISTRIBUTIONS:
        yield f".feasibleSpace.distribution: must be one of {', '.join(DISTRIBUTIONS)}, got {space['distribution']!r}"
    if kind in NUMBER_TYPES:
        yield from _find_in_number(str(kind), space)
    elif kind in LIST_TYPES:
        yield from _find_in_list(str(kind), space)


def _find_in_number(kind: str, space: Mapping[str, Any]) -> Iterator[str]:
    if space.get("list"):
        yield f".feasibleSpace.list: is not for {kind}"
    if not space.get("min") or not space.get("max"):
        yield f".feasibleSpace: {kind} needs min and max"
        return
    read = int if kind == "int" else float
    bounds = {}
    for name in ("min", "max", "step"):
        if space.get(name):
            try:
                bounds[name] = read(space[name])
            except ValueError:
                yield f".feasibleSpace.{name}: {space[name]!r} is not a {kind}"
    if "min" in bounds and "max" in bounds and bounds["min"] >= bounds["max"]:
        yield f".feasibleSpace: min {space['min']} must be below max {space['max']}"
    if bounds.get("step", 1) <= 0:
        yield f".feasibleSpace.step: must be above 0, got {space['step']}"
    if space.get("distribution") in ("logUniform", "logNormal") and bounds.get("min", 1) <= 0:
        yield f".feasibleSpace: {space['distribution']} needs a min above 0, got {space['min']}"


def _find_in_list(kind: str, space: Mapping[str, Any]) -> Iterator[str]:
    if any(space.get(name) for name in ("min", "max", "step")):
        yield f".feasibleSpace: min, max and step are not for {kind}"
    values = space.get("list")
    if not values:
        yield f".feasibleSpace.list: {kind} needs one"
    elif len(set(values)) != len(values):
        yield f".feasibleSpace.list: each value only once, got {values}"
