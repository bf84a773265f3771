"""Checks of a compiled pipeline: what the KFP backend would refuse and what would break in a pod.

The backend reads a strict protobuf JSON form (unknown fields are errors), and wants one specification and at most one
platform document. How large a run grows is `workflow_size`'s matter.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from kfp_image_tuning.core.errors import ImageTuningError
from kfp_image_tuning.delivery.pod_checks import find_broken_pods

MAXIMUM_PARAMETER_BYTES = 10_000
"""The backend's default limit on all of a run's parameters together, as JSON."""

SCHEMA_VERSION = "2.1.0"

_PIPELINE_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,126}[a-z0-9])?")


class CompilationError(ImageTuningError):
    """A pipeline that cannot be delivered in the way that was asked for."""

    code = "compilation"
    way_out = "Correct the options of `compile` or the values file; [values](values.md) lists what the file may hold."
    exit_code = 2


def check_specification(documents: Sequence[Mapping[str, Any]]) -> None:
    """Check the documents of a compiled pipeline.

    Args:
        documents: The pipeline specification and, if there is one, the platform document.

    Raises:
        CompilationError: With every problem.
    """
    problems = _form_problems(documents)
    if not problems:
        problems = [*_name_problems(documents[0]), *find_broken_pods(documents), *_parameter_problems(documents[0])]
    if problems:
        raise CompilationError.from_problems(problems)


def _form_problems(documents: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the backend's own reader would refuse."""
    # Imported here: protobuf and kfp are slow to import, and only compiling needs them.
    from google.protobuf.json_format import ParseDict, ParseError
    from kfp.kubernetes import kubernetes_executor_config_pb2
    from kfp.pipeline_spec import pipeline_spec_pb2

    if not 1 <= len(documents) <= 2:
        return [f"the backend takes one pipeline and at most one platform document, got {len(documents)} documents"]
    forms: list[tuple[str, Mapping[str, Any], Any]] = [
        ("pipeline specification", documents[0], pipeline_spec_pb2.PipelineSpec())
    ]
    for platform in documents[1:]:
        forms.append(("platform document", platform, pipeline_spec_pb2.PlatformSpec()))
        executors = platform.get("platforms", {}).get("kubernetes", {}).get("deploymentSpec", {}).get("executors", {})
        forms += [
            (f"platform document, {name}", executor, kubernetes_executor_config_pb2.KubernetesExecutorConfig())
            for name, executor in executors.items()
        ]
    problems = []
    for place, document, message in forms:
        try:
            ParseDict(document, message)
        except ParseError as error:
            problems.append(f"{place}: the backend would refuse it: {error}")
    return problems


def _name_problems(specification: Mapping[str, Any]) -> list[str]:
    problems = []
    name = specification.get("pipelineInfo", {}).get("name", "")
    if not _PIPELINE_NAME.fullmatch(name):
        problems.append(f"pipelineInfo.name: {name!r} must be 1 to 128 lower-case letters, digits and inner dashes")
    if specification.get("schemaVersion") != SCHEMA_VERSION:
        problems.append(f"schemaVersion: is {SCHEMA_VERSION}, got {specification.get('schemaVersion')!r}")
    if "root" not in specification:
        problems.append("root: is missing")
    return problems


def _parameter_problems(specification: Mapping[str, Any]) -> list[str]:
    inputs = specification["root"].get("inputDefinitions", {}).get("parameters", {})
    defaults = {name: definition.get("defaultValue") for name, definition in inputs.items()}
    size = len(json.dumps(defaults).encode())
    if size < MAXIMUM_PARAMETER_BYTES:
        return []
    return [f"the defaults of the run's parameters take {size} bytes, the backend takes {MAXIMUM_PARAMETER_BYTES}"]
