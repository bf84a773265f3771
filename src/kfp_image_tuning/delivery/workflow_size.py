"""How large the object of a run grows that Kubeflow keeps in the cluster, known before anything is uploaded.

KFP makes an Argo Workflow of each run, and copies the description of every step into it again and again while the run
continues: once into its arguments, then into the inputs and outputs of the nodes of the step's driver and pod, twice
each with Argo's default retries. Argo takes 1 MiB; when the nodes take more, it compresses them first. A run that grows
beyond that fails in the middle, and says nothing of the reason.
"""

import base64
import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kfp_image_tuning.delivery.specification import CompilationError

Document = Mapping[str, Any]

MAXIMUM_WORKFLOW_BYTES = 1024 * 1024
"""What Argo takes (``maxSize`` of its error message)."""

_COMPRESSED = 0.125
"""What is left of plain text, as recorded with 24 steps; what stands here for names and times is too regular."""
_FIXED_BYTES = 13_000
"""The templates that every Workflow of KFP has, and its own metadata."""
_NODE = "n" * 900
"""What Argo keeps of each node beside its inputs and outputs: names, times, resources."""
_ADDRESS = "minio://mlpipeline/v2/artifacts/" + "u" * 130
_STORE = json.dumps({"Provider": "minio", "Params": dict.fromkeys("abcdefg", "v" * 12)})
_OUTPUT_ARTIFACT = {"artifacts": [{"name": "output", "type": {"schemaTitle": "system.Artifact"}, "uri": _ADDRESS}]}
_INPUT_ARTIFACT = {
    "artifacts": [
        {
            "name": "output",
            "artifactId": "12",
            "customPath": "",
            "type": {"instanceSchema": ""},
            "uri": _ADDRESS,
            "metadata": {"store_session_info": _STORE, "more": "m" * 100},
        }
    ]
}
_OUTPUT_PARAMETER = {"outputFile": "/tmp/kfp/outputs/output"}
_VALUE = "v" * 50
"""What stands for values that the run alone knows, in the forms that were recorded."""
_LAUNCHER = "l" * 900
"""KFP's launcher with its other options, and what else a pod is told."""
_NODES_OF_EACH = 2
"""A Retry node and the one inside it."""


@dataclass(frozen=True)
class WorkflowSize:
    """Sizes of the object at the end of a run.

    Attributes:
        bytes: Without compression.
        stored_bytes: As Argo writes it.
        repetition_bytes: What each repetition of the pipeline adds when another one runs it in a ``dsl.ParallelFor``.
        repetition_stored_bytes: The same, compressed.
    """

    bytes: int
    stored_bytes: int
    repetition_bytes: int
    repetition_stored_bytes: int

    @property
    def repetitions(self) -> int:
        """How often one run can hold the pipeline."""
        fixed = self.bytes - self.repetition_bytes
        return (MAXIMUM_WORKFLOW_BYTES - fixed) // self.repetition_stored_bytes


def estimate_workflow_size(documents: Sequence[Document]) -> WorkflowSize:
    """Estimate the size of a run's object at its end, when every step has run once.

    A loop counts as often as it has items; as one repetition if these come from a parameter or from another step.

    Args:
        documents: The pipeline specification and, if there is one, the platform document.
    """
    pipeline = _Pipeline(documents)
    nodes = "".join([_node(pipeline.root), *_nodes_of_group(pipeline, pipeline.root)])
    packed = max(len(base64.b64encode(gzip.compress(nodes.encode()))), int(_COMPRESSED * len(nodes)))
    fixed = len(_text(pipeline.arguments())) + _FIXED_BYTES
    whole = fixed + len(nodes)
    stored = whole if whole <= MAXIMUM_WORKFLOW_BYTES else fixed + packed
    return WorkflowSize(whole, stored, len(nodes), packed)


def check_workflow_size(documents: Sequence[Document]) -> None:
    """Refuse a pipeline whose run would end in the middle.

    Raises:
        CompilationError: If Argo could not write the run's object.
    """
    size = estimate_workflow_size(documents)
    if size.stored_bytes > MAXIMUM_WORKFLOW_BYTES:
        raise CompilationError(
            f"a run would take about {size.stored_bytes / 1024:,.0f} KiB in the cluster, and Argo keeps "
            f"{MAXIMUM_WORKFLOW_BYTES / 1024:,.0f}; use fewer steps or repetitions in one pipeline, and keep what "
            "steps carry small (code in an image, long texts in artifacts)"
        )


class _Pipeline:
    def __init__(self, documents: Sequence[Document]) -> None:
        self.root: Document = documents[0]["root"]
        self.components: Document = documents[0].get("components", {})
        self.executors: Document = documents[0].get("deploymentSpec", {}).get("executors", {})
        platform = documents[1] if len(documents) > 1 else {}
        kubernetes = platform.get("platforms", {}).get("kubernetes", {})
        self.settings: Document = kubernetes.get("deploymentSpec", {}).get("executors", {})

    def arguments(self) -> list[Any]:
        """What the specification of the Workflow holds: every component once, and every task in its group."""
        parts = [*self.components.values(), *self.executors.values(), *self.settings.values(), self.root]
        groups = [group for group in (self.root, *self.components.values()) if "dag" in group]
        tasks = [task for group in groups for task in group["dag"]["tasks"].values()]
        return [*map(_text, parts), *(_text(task) + "t" * 200 for task in tasks)]


def _nodes_of_group(pipeline: _Pipeline, group: Document) -> Iterator[str]:
    for task in group["dag"]["tasks"].values():
        component = pipeline.components[task["componentRef"]["name"]]
        if "dag" not in component:
            yield from _nodes_of_step(pipeline, task, component, _parameters_of(group))
            continue
        inner = "".join([_node(component), *_nodes_of_group(pipeline, component)])
        yield inner * _repetitions(task)


def _nodes_of_step(pipeline: _Pipeline, task: Document, component: Document, outer: Document) -> Iterator[str]:
    container = pipeline.executors[component["executorLabel"]].get("container")
    if container is None:  # an importer has no pod
        yield _node(component)
        return
    patch = _pod_patch(task, component, container, outer)
    yield _node(component, task, container, patch)  # the driver, with what it found out
    yield _node(patch)  # the group of the pod
    yield _node(patch)  # the pod


def _pod_patch(task: Document, component: Document, container: Document, outer: Document) -> Document:
    """What the driver tells Argo of the pod: its container, behind KFP's launcher and what that is told."""
    inputs, outputs = component.get("inputDefinitions", {}), component.get("outputDefinitions", {})
    given = task.get("inputs", {}).get("parameters", {})
    told = {
        "parameters": {
            name: _value(given.get(name, {}), definition, outer)
            for name, definition in _parameters_of(component).items()
        },
        "artifacts": dict.fromkeys(inputs.get("artifacts", {}), _INPUT_ARTIFACT),
        "outputs": dict.fromkeys(outputs.get("parameters", {}), _OUTPUT_PARAMETER),
        "made": dict.fromkeys((*outputs.get("artifacts", {}), "executor-logs"), _OUTPUT_ARTIFACT),
    }
    return {
        "command": [_LAUNCHER, _text(told), _text(component)],
        "args": [*container.get("command", ()), *container.get("args", ())],
        "env": container.get("env", []),
    }


def _value(given: Document, definition: Document, outer: Document) -> Any:
    """An input's value as far as it is known before the run: a constant, or a default here or of the group's."""
    if "constant" in (constant := given.get("runtimeValue", {})):
        return constant["constant"]
    inherited = outer.get(given.get("componentInputParameter", ""), {})
    return definition.get("defaultValue", inherited.get("defaultValue", _VALUE))


def _parameters_of(component: Document) -> Document:
    parameters: Document = component.get("inputDefinitions", {}).get("parameters", {})
    return parameters


def _repetitions(task: Document) -> int:
    """How often a group runs, as far as it is known before the run."""
    items = task.get("parameterIterator", {}).get("items", {})
    return len(json.loads(items["raw"])) if "raw" in items else 1


def _node(*parts: Document) -> str:
    """The text of a node and of the Retry node around it; structures are JSON text inside JSON."""
    return (_NODE + "".join(_text(_text(part)) for part in parts)) * _NODES_OF_EACH


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
