"""KFP's driver: what a step gets, where its outputs go, whether an earlier execution answers for it.

Recorded: the form of executor inputs, addresses of artifacts, values of placeholders. From reading: the key of the
cache (image, command, arguments and variables of the container; input parameters; names of input artifacts; outputs).
"""

import hashlib
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.emulators.kfp_backend.metadata import Artifact, as_go_writes
from tests.emulators.kfp_backend.platform import PodDescription, describe, task_config

Document = dict[str, Any]
ROOT = "minio://mlpipeline/v2/artifacts"
INPUT_PLACEHOLDER = re.compile(r"\{\{\$\.inputs\.parameters\[['\"](.+?)['\"]\]\}\}")
SELECTOR = re.compile(r'\["?([^"\]]+)"?\]')


@dataclass
class Values:
    """Parameters and artifacts of a task or a group of tasks.

    Attributes:
        parameters: By name.
        artifacts: By name; more than one where they were collected.
    """

    parameters: Document = field(default_factory=dict)
    artifacts: dict[str, list[Artifact]] = field(default_factory=dict)


@dataclass
class Scope:
    """What tasks of a group see.

    Attributes:
        given: The group's own inputs.
        outputs: Those of its finished tasks.
        final_states: What an exit task is told of a task.
    """

    given: Values
    outputs: dict[str, Values] = field(default_factory=dict)
    final_states: dict[str, Document] = field(default_factory=dict)


@dataclass(frozen=True)
class Prepared:
    """An execution that is ready to start.

    Attributes:
        executor_input: As the step gets it.
        command: The container's command and arguments, placeholders replaced.
        pod: The description of its pod.
        cache_key: Fits an earlier execution with the same work.
    """

    executor_input: Document
    command: list[str]
    pod: PodDescription
    cache_key: str


def resolve_inputs(task: Document, component: Document, scope: Scope, placeholders: Mapping[str, str]) -> Values:
    """The inputs of a task, with the component's defaults."""
    wanted = task.get("inputs", {})
    values = Values()
    for name, source in wanted.get("parameters", {}).items():
        found, value = resolve_parameter(source, scope, placeholders)
        if found:
            values.parameters[name] = value
    for name, value in values.parameters.items():
        values.parameters[name] = _fill(value, values.parameters)
    definitions = component.get("inputDefinitions", {})
    for name, definition in definitions.get("parameters", {}).items():
        if name not in values.parameters and "defaultValue" in definition:
            values.parameters[name] = definition["defaultValue"]
    for name, source in wanted.get("artifacts", {}).items():
        artifacts = resolve_artifacts(source, scope)
        if artifacts:
            values.artifacts[name] = artifacts
    return values


def resolve_parameter(source: Document, scope: Scope, placeholders: Mapping[str, str]) -> tuple[bool, Any]:
    """Whether an input has a value, and which."""
    if "runtimeValue" in source:
        value = source["runtimeValue"]["constant"]
        return True, replace(value, placeholders) if isinstance(value, str) else value
    if "taskFinalStatus" in source:
        return True, scope.final_states[source["taskFinalStatus"]["producerTask"]]
    if "componentInputParameter" in source:
        known, name = scope.given.parameters, source["componentInputParameter"]
    else:
        output = source["taskOutputParameter"]
        known, name = scope.outputs[output["producerTask"]].parameters, output["outputParameterKey"]
    if name not in known:
        return False, None
    value = known[name]
    if "parameterExpressionSelector" in source:
        value = json.loads(value) if isinstance(value, str) else value
        for key in SELECTOR.findall(source["parameterExpressionSelector"]):
            value = value[int(key) if isinstance(value, list) else key]
    return True, value


def resolve_artifacts(source: Document, scope: Scope) -> list[Artifact]:
    """Artifacts of an input; none where an optional one is not given."""
    if "componentInputArtifact" in source:
        return scope.given.artifacts.get(source["componentInputArtifact"], [])
    output = source["taskOutputArtifact"]
    return scope.outputs[output["producerTask"]].artifacts.get(output["outputArtifactKey"], [])


def _fill(value: Any, parameters: Document) -> Any:
    """Replace placeholders of other inputs inside texts and structures."""
    if isinstance(value, dict):
        return {key: _fill(entry, parameters) for key, entry in value.items()}
    if isinstance(value, list):
        return [_fill(entry, parameters) for entry in value]
    if not isinstance(value, str):
        return value
    whole = INPUT_PLACEHOLDER.fullmatch(value)
    if whole and whole[1] in parameters:
        return parameters[whole[1]]
    return INPUT_PLACEHOLDER.sub(lambda match: as_text(parameters.get(match[1], match[0])), value)


def as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(as_go_writes(value))


def replace(text: str, placeholders: Mapping[str, str]) -> str:
    for name, value in placeholders.items():
        text = text.replace(f"{{{{$.{name}}}}}", value)
    return text


def prepare(
    *,
    pipeline: str,
    run: str,
    task: str,
    component: Document,
    container: Document,
    platform: Document,
    values: Values,
    scope: Scope,
    placeholders: Mapping[str, str],
) -> Prepared:
    """Prepare one execution of a container."""

    def of_input(source: Document) -> Any:
        if "componentInputParameter" in source and source["componentInputParameter"] in values.parameters:
            return values.parameters[source["componentInputParameter"]]
        return resolve_parameter(source, scope, placeholders)[1]

    pod = describe(container, platform, values.parameters, of_input)
    parameters = dict(values.parameters)
    for name, definition in component.get("inputDefinitions", {}).get("parameters", {}).items():
        if definition["parameterType"] == "TASK_CONFIG":
            parameters[name] = task_config(component, pod)
            pod = _without_passed_on(component, pod)
    key = cache_key(component, container, parameters, values.artifacts)
    place = f"{ROOT}/{pipeline}/{run}/{task}/{uuid.uuid4()}"
    executor_input = make_executor_input(component, parameters, values.artifacts, place)
    command = [
        fill_command(part, executor_input, placeholders)
        for part in (*container.get("command", ()), *container.get("args", ()))
    ]
    return Prepared(executor_input, command, pod, key)


def _without_passed_on(component: Document, pod: PodDescription) -> PodDescription:
    """What is passed on without ``applyToTask`` is not the step's own."""
    kept = {entry["field"] for entry in component.get("taskConfigPassthroughs", []) if entry.get("applyToTask")}
    passed = {entry["field"] for entry in component.get("taskConfigPassthroughs", [])}
    return PodDescription(
        environment=pod.environment if "ENV" in kept or "ENV" not in passed else [],
        volumes=pod.volumes if "KUBERNETES_VOLUMES" in kept or "KUBERNETES_VOLUMES" not in passed else [],
        resources=pod.resources if "RESOURCES" in kept or "RESOURCES" not in passed else {},
        user=pod.user,
        deadline_seconds=pod.deadline_seconds,
        more=pod.more,
        metadata=pod.metadata,
    )


def make_executor_input(
    component: Document, parameters: Document, artifacts: Mapping[str, list[Artifact]], place: str
) -> Document:
    """The executor input of one execution.

    Args:
        component: The component's specification.
        parameters: Values of its input parameters.
        artifacts: Its input artifacts.
        place: Address of the execution's artifacts.
    """
    inputs: Document = {}
    if artifacts:
        inputs["artifacts"] = {
            name: {"artifacts": [artifact.as_input() for artifact in artifacts[name]]} for name in sorted(artifacts)
        }
    if parameters:
        inputs["parameterValues"] = as_go_writes(parameters)
    definitions = component.get("outputDefinitions", {})
    made: Document = {}
    if definitions.get("parameters"):
        made["parameters"] = {
            name: {"outputFile": f"/tmp/kfp/outputs/{name}"} for name in sorted(definitions["parameters"])
        }
    kinds = {name: entry["artifactType"] for name, entry in definitions.get("artifacts", {}).items()}
    kinds["executor-logs"] = {"schemaTitle": "system.Artifact"}
    made["artifacts"] = {
        name: {"artifacts": [{"name": name, "type": kinds[name], "uri": f"{place}/{name}"}]} for name in sorted(kinds)
    }
    made["outputFile"] = f"/minio/{place.removeprefix('minio://')}/output_metadata.json"
    return {"inputs": inputs, "outputs": made}


def fill_command(part: str, executor_input: Document, placeholders: Mapping[str, str]) -> str:
    """Replace the placeholders in one part of a command."""
    part = replace(part, placeholders).replace("{{$}}", json.dumps(executor_input, separators=(",", ":")))
    parameters = executor_input["inputs"].get("parameterValues", {})
    part = INPUT_PLACEHOLDER.sub(lambda match: as_text(parameters.get(match[1], match[0])), part)
    for side in ("inputs", "outputs"):
        for name, group in executor_input[side].get("artifacts", {}).items():
            uri = group["artifacts"][0]["uri"]
            path = "/" + uri.replace("://", "/").replace("gs/", "gcs/", 1) if "://" in uri else uri
            part = part.replace(f"{{{{$.{side}.artifacts['{name}'].path}}}}", path)
            part = part.replace(f"{{{{$.{side}.artifacts['{name}'].uri}}}}", uri)
    for name, entry in executor_input["outputs"].get("parameters", {}).items():
        part = part.replace(f"{{{{$.outputs.parameters['{name}'].output_file}}}}", entry["outputFile"])
    return part


def cache_key(
    component: Document, container: Document, parameters: Document, artifacts: Mapping[str, list[Artifact]]
) -> str:
    """Equal for executions whose results KFP takes for the same."""
    outputs = component.get("outputDefinitions", {})
    key = {
        "container": {
            "image": container["image"],
            "command": [*container.get("command", ()), *container.get("args", ())],
            "env": container.get("env", []),
        },
        "parameters": as_go_writes(parameters),
        "artifacts": {name: [str(entry.number) for entry in group] for name, group in artifacts.items()},
        "outputs": {
            "parameters": {name: entry["parameterType"] for name, entry in outputs.get("parameters", {}).items()},
            "artifacts": {name: entry["artifactType"] for name, entry in outputs.get("artifacts", {}).items()},
        },
    }
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
