"""What KFP's API checks when a run is created, before anything is started; everything else is found in the pods.

Recorded: missing and unknown parameters and wrong types are refused at once (400). A one-off run and a recurring run of
"the latest version" replace ``[[RunUUID]]`` and ``[[CurrentTime]]`` and no other macro; a recurring run with a pinned
version replaces none. From reading: the strict reader, the limit of 10,000 bytes on all parameters, literals.
"""

import datetime
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from kfp_image_tuning.delivery.specification import CompilationError, check_specification

Document = dict[str, Any]
MAXIMUM_PARAMETER_BYTES = 10_000


class RequestRefused(Exception):  # noqa: N818  # it is an answer of the API
    """The API's answer 400: nothing was created."""


@dataclass(frozen=True)
class Pipeline:
    """A pipeline as it was uploaded.

    Attributes:
        specification: The pipeline specification.
        platform: Executor label to its Kubernetes configuration.
    """

    specification: Document
    platform: Mapping[str, Document]

    @classmethod
    def read(cls, pipeline: str | Sequence[Document]) -> "Pipeline":
        """Take a compiled file's text or its documents.

        Raises:
            RequestRefused: If the API would not take it.
        """
        documents = list(yaml.safe_load_all(pipeline)) if isinstance(pipeline, str) else list(pipeline)
        try:
            check_specification(documents)
        except CompilationError as error:
            raise RequestRefused(str(error)) from None
        kubernetes = documents[1]["platforms"].get("kubernetes", {}) if len(documents) > 1 else {}
        return cls(documents[0], kubernetes.get("deploymentSpec", {}).get("executors", {}))

    @property
    def name(self) -> str:
        return str(self.specification["pipelineInfo"]["name"])

    @property
    def root(self) -> Document:
        return dict(self.specification["root"])

    def component(self, task: Document) -> Document:
        return dict(self.specification["components"][task["componentRef"]["name"]])

    def executor(self, component: Document) -> Document:
        return dict(self.specification["deploymentSpec"]["executors"][component["executorLabel"]])


TYPES: dict[str, tuple[type, ...]] = {
    "STRING": (str,),
    "NUMBER_INTEGER": (int, float),
    "NUMBER_DOUBLE": (int, float),
    "BOOLEAN": (bool,),
    "LIST": (list,),
    "STRUCT": (dict,),
}


def check_parameters(pipeline: Pipeline, given: Mapping[str, Any]) -> Document:
    """Check a run's parameters and add the defaults.

    Raises:
        RequestRefused: With the first problem, as the API has it.
    """
    definitions = pipeline.root.get("inputDefinitions", {}).get("parameters", {})
    unknown = sorted(set(given) - set(definitions))
    if unknown:
        raise RequestRefused(f"InvalidInputError: parameter {unknown[0]} is not defined in the pipeline's inputs")
    values = {}
    for name, definition in definitions.items():
        if name in given:
            _check_value(name, definition, given[name])
            values[name] = given[name]
        elif "defaultValue" in definition:
            values[name] = definition["defaultValue"]
        elif not definition.get("isOptional"):
            raise RequestRefused(f"InvalidInputError: parameter {name} is required and has no value")
    if len(json.dumps(dict(given)).encode()) > MAXIMUM_PARAMETER_BYTES:
        raise RequestRefused(f"InvalidInputError: the input parameters take more than {MAXIMUM_PARAMETER_BYTES} bytes")
    return values


def _check_value(name: str, definition: Document, value: Any) -> None:
    kind = definition["parameterType"]
    fits = isinstance(value, TYPES[kind]) and (kind == "BOOLEAN" or not isinstance(value, bool))
    if fits and kind == "NUMBER_INTEGER":
        fits = float(value).is_integer()
    if not fits:
        raise RequestRefused(f"InvalidInputError: input parameter {name} requires type {kind}, got {value!r}")
    if "literals" in definition and value not in definition["literals"]:
        raise RequestRefused(f"InvalidInputError: input parameter {name}: {value!r} is none of the allowed values")


def replace_macros(values: Mapping[str, Any], run_id: str, *, pinned: bool) -> Document:
    """Replace what is replaced of macros.

    Args:
        values: The run's parameters.
        run_id: The run's identity.
        pinned: Whether a recurring run with a pinned version makes this run.
    """
    if pinned:
        return dict(values)
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d%H%M%S")
    text = json.dumps(dict(values)).replace("[[RunUUID]]", run_id)
    return dict(json.loads(re.sub(r"\[\[CurrentTime\]\]", now, text)))
