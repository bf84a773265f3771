"""What each field of an Experiment holds, by Katib's own types (Katib 0.19, ``pkg/apis/controller``).

Katib's webhook reads an Experiment into these types before it looks at any rule, and refuses it where something else
stands: a number where text belongs, such as a bound of a parameter. The API server alone takes all of it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_SETTING = {"name": "string", "value": "string"}

TYPES: Mapping[str, Mapping[str, str]] = {
    "Experiment": {"apiVersion": "string", "kind": "string", "metadata": "ObjectMeta", "spec": "ExperimentSpec"},
    "ObjectMeta": {
        "name": "string",
        "namespace": "string",
        "labels": "map of string",
        "annotations": "map of string",
    },
    "ExperimentSpec": {
        "parameters": "list of ParameterSpec",
        "objective": "ObjectiveSpec",
        "algorithm": "AlgorithmSpec",
        "earlyStopping": "EarlyStoppingSpec",
        "trialTemplate": "TrialTemplate",
        "parallelTrialCount": "int32",
        "maxTrialCount": "int32",
        "maxFailedTrialCount": "int32",
        "metricsCollectorSpec": "MetricsCollectorSpec",
        "nasConfig": "NasConfig",
        "resumePolicy": "string",
    },
    "ParameterSpec": {"name": "string", "parameterType": "string", "feasibleSpace": "FeasibleSpace"},
    "FeasibleSpace": {
        "min": "string",
        "max": "string",
        "step": "string",
        "list": "list of string",
        "distribution": "string",
    },
    "ObjectiveSpec": {
        "type": "string",
        "goal": "float64",
        "objectiveMetricName": "string",
        "additionalMetricNames": "list of string",
        "metricStrategies": "list of MetricStrategy",
    },
    "MetricStrategy": _SETTING,
    "AlgorithmSpec": {"algorithmName": "string", "algorithmSettings": "list of AlgorithmSetting"},
    "AlgorithmSetting": _SETTING,
    "EarlyStoppingSpec": {"algorithmName": "string", "algorithmSettings": "list of EarlyStoppingSetting"},
    "EarlyStoppingSetting": _SETTING,
    "TrialTemplate": {
        "retain": "bool",
        "trialSpec": "object",
        "configMap": "ConfigMapSource",
        "trialParameters": "list of TrialParameterSpec",
        "primaryPodLabels": "map of string",
        "primaryContainerName": "string",
        "successCondition": "string",
        "failureCondition": "string",
    },
    "ConfigMapSource": {"configMapName": "string", "configMapNamespace": "string", "templatePath": "string"},
    "TrialParameterSpec": {"name": "string", "description": "string", "reference": "string"},
    "MetricsCollectorSpec": {"source": "SourceSpec", "collector": "CollectorSpec"},
    "SourceSpec": {"httpGet": "object", "fileSystemPath": "FileSystemPath", "filter": "FilterSpec"},
    "FileSystemPath": {"path": "string", "kind": "string", "format": "string"},
    "FilterSpec": {"metricsFormat": "list of string"},
    "CollectorSpec": {"kind": "string", "customCollector": "object"},
    "NasConfig": {"graphConfig": "GraphConfig", "operations": "list of Operation"},
    "GraphConfig": {"numLayers": "int32", "inputSizes": "list of int32", "outputSizes": "list of int32"},
    "Operation": {"operationType": "string", "parameters": "list of ParameterSpec"},
}
"""Type to field to what it holds, in Go's words. Fields that are not here are ignored by Katib."""

_PLAIN: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "int32": (int,),
    "float64": (int, float),
    "bool": (bool,),
    "object": (Mapping,),
}
_WORDS: Mapping[str, str] = {
    "string": "text",
    "int32": "a whole number",
    "float64": "a number",
    "bool": "true or false",
}


@dataclass(frozen=True)
class Mistyped:
    """A value of another type than Katib reads.

    Attributes:
        place: Such as ``spec.parameters[0].feasibleSpace.min``.
        owner: The type whose field it is.
        wanted: What Katib reads there: ``string``, ``int32``, ``float64``, ``bool``, ``object`` or ``list``.
        value: What stands there.
    """

    place: str
    owner: str
    wanted: str
    value: Any

    def __str__(self) -> str:
        wanted = _WORDS.get(self.wanted, f"{'a' if self.wanted == 'list' else 'an'} {self.wanted}")
        quotes = "; write it in quotes" if self.wanted == "string" and isinstance(self.value, int | float) else ""
        return f"{self.place}: must be {wanted}, got {self.value!r}{quotes}"


def find_mistyped(experiment: Mapping[str, Any]) -> Iterator[Mistyped]:
    """Every value that Katib could not read; nothing (null) is read as if it were not there."""
    yield from _find_in_value(experiment, "Experiment", "", "Experiment")


def _find_in_value(value: Any, kind: str, place: str, owner: str) -> Iterator[Mistyped]:
    if value is None:
        return
    if kind.startswith("list of "):
        if not isinstance(value, list):
            yield Mistyped(place, owner, "list", value)
            return
        for number, item in enumerate(value):
            yield from _find_in_value(item, kind.removeprefix("list of "), f"{place}[{number}]", owner)
    elif kind in _PLAIN:
        if not isinstance(value, _PLAIN[kind]) or (isinstance(value, bool) and kind != "bool"):
            yield Mistyped(place, owner, kind, value)
    elif not isinstance(value, Mapping):
        yield Mistyped(place, owner, "object", value)
    elif kind.startswith("map of "):
        for name, item in value.items():
            yield from _find_in_value(item, kind.removeprefix("map of "), f"{place}.{name}", owner)
    else:
        for name, wanted in TYPES[kind].items():
            yield from _find_in_value(value.get(name), wanted, f"{place}.{name}".lstrip("."), kind)
