"""The Workflow object that KFP makes of a run and Argo writes to, as far as its size goes.

Recorded: where a step's container is repeated (once in the arguments; twice each, as Argo's default retries put a Retry
node around each pod, in the driver's inputs, the driver's output, and the inputs of the executor's group and of its
pod), the sizes after each event of a run, Argo's limit of 1 MiB with its compression of the node status beyond that,
and etcd's of 1.5 MiB. From reading: the form of nodes. `FIXED_BYTES` and `NODE_PADDING` are set so that the recorded
sizes come out.
"""

import base64
import gzip
import json
import threading
from collections.abc import Mapping
from typing import Any

from tests.emulators.kfp_backend.request import Pipeline

Document = dict[str, Any]
ARGO_BYTES = 1024 * 1024
ETCD_BYTES = 1536 * 1024
FIXED_BYTES = 13_000
"""The templates that every Workflow of KFP has, and its own metadata."""


class WorkflowTooLarge(Exception):  # noqa: N818  # it is what a write of Argo's ends with
    """The Workflow can no longer be written."""


class Workflow:
    """The object's parts that grow.

    Args:
        pipeline: The pipeline.
        name: The Workflow's name.
        default_retries: Whether Argo puts a Retry node around every pod, as KFP's own configuration has it.
    """

    def __init__(self, pipeline: Pipeline, name: str, *, default_retries: bool = True) -> None:
        self._name = name
        self._copies = 2 if default_retries else 1
        self._lock = threading.Lock()
        self._nodes: dict[str, Document] = {}
        self._specification = {"arguments": self._arguments(pipeline), "templates": self._templates(pipeline)}
        self._specification_bytes = len(dump(self._specification)) + FIXED_BYTES
        self.history: list[tuple[str, int]] = []
        """Event and size in bytes, before Argo's compression."""
        self.stored_bytes = 0
        """Size of what was written last."""

    @property
    def bytes(self) -> int:
        """The object's size, before Argo's compression."""
        return self.history[-1][1] if self.history else 0

    def document(self) -> Document:
        """The object as a client reads it, before Argo's compression."""
        with self._lock:
            kind = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"name": self._name}}
            status = {"nodes": json.loads(dump(self._nodes))}
            return {**kind, "spec": self._specification, "status": status}

    def write(self, event: str) -> None:
        """What Argo does after each event.

        Raises:
            WorkflowTooLarge: If it, or etcd, takes no more.
        """
        with self._lock:
            nodes = dump(self._nodes)
            whole = self._specification_bytes + len(nodes)
            self.history.append((event, whole))
            stored = whole
            if whole > ARGO_BYTES:
                packed = len(base64.b64encode(gzip.compress(nodes.encode())))
                stored = self._specification_bytes + packed
            if stored > ARGO_BYTES:
                argo = f"workflow is longer than maximum allowed size. compressed size {stored} > maxSize {ARGO_BYTES}"
                raise WorkflowTooLarge("etcdserver: request is too large" if whole > ETCD_BYTES else argo)
            self.stored_bytes = stored

    def add_pod(self, node: str, template: str, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
        """Add a pod's nodes, or change what they put out."""
        with self._lock:
            for copy in range(self._copies):
                name = node if copy == 0 else f"{node}(0)"
                kind = "Retry" if copy == 0 and self._copies > 1 else "Pod"
                self._nodes[self._identity(name)] = self._node(name, kind, template, inputs, outputs)

    def add_group(self, node: str, template: str, inputs: Mapping[str, Any]) -> None:
        """Add the node of a group of tasks."""
        with self._lock:
            for copy in range(self._copies):
                name = node if copy == 0 else f"{node}(0)"
                kind = "Retry" if copy == 0 and self._copies > 1 else "DAG"
                self._nodes[self._identity(name)] = self._node(name, kind, template, inputs, {})

    def _identity(self, name: str) -> str:
        return f"{self._name}-{abs(hash(name)) % 10**10:010d}"

    def _node(
        self, name: str, kind: str, template: str, inputs: Mapping[str, Any], outputs: Mapping[str, Any]
    ) -> Document:
        node: Document = {
            "id": self._identity(name),
            "name": f"{self._name}.root.{name}",
            "displayName": name.rsplit(".", 1)[-1],
            "type": kind,
            "templateName": template,
            "templateScope": f"local/{self._name}",
            "phase": "Succeeded",
            "boundaryID": f"{self._name}-0000000000",
            "startedAt": "2026-11-25T19:01:43Z",
            "finishedAt": "2026-11-25T19:01:59Z",
            "estimatedDuration": 10,
            "progress": "1/1",
            "resourcesDuration": {"cpu": 1, "memory": 10},
            "inputs": {"parameters": parameters(inputs)},
            "children": [f"{self._name}-0000000000"],
            "hostNodeName": "node-1",
        }
        if outputs:
            node["outputs"] = {"parameters": parameters(outputs), "exitCode": "0"}
        return node

    @staticmethod
    def _arguments(pipeline: Pipeline) -> list[Document]:
        values: dict[str, Any] = {"components-root": pipeline.root}
        for name, component in pipeline.specification.get("components", {}).items():
            values[f"components-{name}"] = component
            if "executorLabel" in component:
                values[f"implementations-{name}"] = pipeline.executor(component)
                if component["executorLabel"] in pipeline.platform:
                    values[f"kubernetes-{name}"] = pipeline.platform[component["executorLabel"]]
        return parameters(values)

    @staticmethod
    def _templates(pipeline: Pipeline) -> list[Document]:
        """One for each group of tasks; each task has its description in it, for its driver."""
        groups = [pipeline.root, *pipeline.specification.get("components", {}).values()]
        return [
            {
                "name": f"group-{number}",
                "dag": {
                    "tasks": [
                        {
                            "name": f"{name}-driver",
                            "template": "system-container-driver",
                            "arguments": {"parameters": parameters({"task": task, "parent-dag-id": "x" * 60})},
                            "depends": "",
                        }
                        for name, task in group["dag"]["tasks"].items()
                    ]
                },
            }
            for number, group in enumerate(groups)
            if "dag" in group
        ]


def parameters(values: Mapping[str, Any]) -> list[Document]:
    """Argo's parameters: structures are JSON text inside JSON."""
    return [{"name": name, "value": value if isinstance(value, str) else dump(value)} for name, value in values.items()]


def dump(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
