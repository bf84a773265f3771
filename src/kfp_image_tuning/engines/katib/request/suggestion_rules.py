"""The rules of Katib's suggestion services, which fail an Experiment only after it was accepted."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from kfp_image_tuning.engines.katib.request.algorithms import ALGORITHMS, smallest_bracket


def find_broken_algorithm_rules(spec: Mapping[str, Any]) -> Iterator[str]:
    """Every rule of the algorithm that the Experiment breaks."""
    algorithm = spec.get("algorithm")
    if not algorithm or not algorithm.get("algorithmName"):
        yield "spec.algorithm.algorithmName: is missing"
        return
    name = algorithm["algorithmName"]
    if name not in ALGORITHMS:
        yield f"spec.algorithm.algorithmName: {name!r} is unknown; Katib has {', '.join(ALGORITHMS)}"
        return
    rule = ALGORITHMS[name]
    settings: dict[str, str] = {}
    for setting in algorithm.get("algorithmSettings") or ():
        key, value = setting.get("name"), setting.get("value")
        settings[key] = value
        if key not in rule.settings:
            known = ", ".join(rule.settings) or "none"
            yield f"spec.algorithm.algorithmSettings: {name} has no setting {key!r}; it has {known}"
        elif not value or not rule.settings[key].accepts(value):
            described = rule.settings[key].describe()
            yield f"spec.algorithm.algorithmSettings: {key} must be {described}, as text, got {value!r}"
    parameters = [parameter for parameter in spec.get("parameters") or () if parameter.get("feasibleSpace")]
    numbers = [parameter for parameter in parameters if parameter.get("parameterType") in ("double", "int")]
    if len(numbers) < rule.least_numbers:
        yield (
            f"spec.algorithm: {name} needs at least {rule.least_numbers} numeric parameters, there are {len(numbers)}; "
            "tune more of them or choose another algorithm"
        )
    if not rule.allows_early_stopping and spec.get("earlyStopping"):
        yield f"spec.earlyStopping: {name} fails when one of its trials is ended by somebody else; leave it out"
    if name == "grid":
        yield from _find_broken_grid_rules(spec, parameters)
    elif name == "bayesianoptimization":
        yield from _find_zeros(parameters)
    elif name == "multivariate-tpe":
        yield from _find_normal_distributions(parameters)
    elif name == "hyperband":
        yield from _find_broken_hyperband_rules(spec, settings)


def _find_broken_grid_rules(spec: Mapping[str, Any], parameters: list[Mapping[str, Any]]) -> Iterator[str]:
    combinations = 1
    for parameter in parameters:
        space = parameter["feasibleSpace"]
        kind = parameter.get("parameterType")
        if kind in ("discrete", "categorical"):
            combinations *= max(1, len(space.get("list") or ()))
        elif kind == "double" and not space.get("step"):
            yield f"spec.parameters ({parameter.get('name')}): grid needs a step for real numbers"
        else:
            combinations *= _count_steps(space)
    most = spec.get("maxTrialCount")
    if isinstance(most, int) and most > combinations:
        yield f"spec.maxTrialCount: {most} is more than the grid's {combinations} combinations"


def _count_steps(space: Mapping[str, str]) -> int:
    try:
        span, step = float(space["max"]) - float(space["min"]), float(space.get("step") or 1)
        return max(1, math.floor(span / step + 1e-9) + 1)
    except (KeyError, ValueError, ZeroDivisionError):
        # Told by the rules for parameters.
        return 1


def _find_zeros(parameters: list[Mapping[str, Any]]) -> Iterator[str]:
    for parameter in parameters:
        space = parameter["feasibleSpace"]
        if parameter.get("parameterType") == "double" and _number(space.get("min")) <= 0:
            yield (
                f"spec.parameters ({parameter.get('name')}): bayesianoptimization searches every real number "
                f"logarithmically and fails on a min of {space.get('min')}; give a min above 0"
            )


def _find_normal_distributions(parameters: list[Mapping[str, Any]]) -> Iterator[str]:
    for parameter in parameters:
        if parameter["feasibleSpace"].get("distribution") in ("normal", "logNormal"):
            yield f"spec.parameters ({parameter.get('name')}): multivariate-tpe knows no normal distribution"


def _find_broken_hyperband_rules(spec: Mapping[str, Any], settings: Mapping[str, str]) -> Iterator[str]:
    for key in ("resource_name", "r_l"):
        if key not in settings:
            yield f"spec.algorithm.algorithmSettings: hyperband needs {key}"
    resource = settings.get("resource_name")
    if resource and resource not in [parameter.get("name") for parameter in spec.get("parameters") or ()]:
        yield f"spec.parameters: hyperband's resource {resource!r} must be one of them"
    epochs, eta = _number(settings.get("r_l")), _number(settings.get("eta", "3"))
    parallel = spec.get("parallelTrialCount")
    least = smallest_bracket(epochs, int(eta)) if epochs >= 1 and eta >= 2 else 1
    if isinstance(parallel, int) and parallel < least:
        yield (
            f"spec.parallelTrialCount: hyperband needs at least {least} for r_l {epochs:g} and eta {eta:g}, "
            f"got {parallel}"
        )


def _number(text: object) -> float:
    try:
        return float(str(text))
    except ValueError:
        return math.nan
