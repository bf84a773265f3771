"""What a cluster shows of the backend's runs: Argo's Workflows with their nodes, the steps' pods, and the pods' logs.

Recorded: labels and names of pods, where a step's text ends up in a node's message. The pods are entries in the API
server alone, on a node that nobody but the log server here stands for: what runs is the backend's.
"""

import contextlib
import threading
from typing import Any

from kubernetes import client

from tests.emulators.kfp_backend.backend import Backend
from tests.emulators.kfp_backend.pod import Pod
from tests.emulators.kfp_backend.run import Run, Task
from tests.emulators.kubelet_logs import serve_logs

Document = dict[str, Any]
GROUP, VERSION, PLURAL = "argoproj.io", "v1alpha1", "workflows"
RUN_LABEL = "pipeline/runid"
NODE = "kfp-steps"
INTERVAL = 0.3
PHASES = {"RUNNING": "Running", "SUCCEEDED": "Succeeded", "FAILED": "Failed", "PENDING": "Pending"}


def custom_resource_definition() -> Document:
    """Argo's Workflow, which the API server does not check."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": VERSION, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"kind": "Workflow", "plural": PLURAL, "singular": "workflow"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]},
    }


class ClusterView:
    """Keeps the cluster's objects as the backend's runs are, until `close`.

    Args:
        backend: The backend.
        api: An administrator's connection.
        namespace: Where its runs are.
    """

    def __init__(self, backend: Backend, api: client.ApiClient, namespace: str) -> None:
        self._backend, self._namespace = backend, namespace
        self._core, self._custom = client.CoreV1Api(api), client.CustomObjectsApi(api)
        self._logs = serve_logs(self._log)
        self._pods: dict[str, Pod] = {}
        self._written: dict[str, object] = {}
        self._runs: dict[str, Run] = {}
        self._ended = threading.Event()
        self._kinds = client.ApiextensionsV1Api(api)
        self._kinds.create_custom_resource_definition(custom_resource_definition())
        self._add_node()
        backend.announce_pod = self._announce
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self._logs.close()
        self._core.delete_node(NODE)
        self._kinds.delete_custom_resource_definition(f"{PLURAL}.{GROUP}")

    def _log(self, _: str, pod: str, container: str) -> str:
        file = self._pods[pod].log_file if pod in self._pods and container == "main" else None
        return file.read_text(encoding="utf-8", errors="replace") if file and file.exists() else ""

    def _add_node(self) -> None:
        self._core.create_node({"metadata": {"name": NODE}})
        status = {
            "addresses": [{"type": "InternalIP", "address": self._logs.address}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._logs.port}},
        }
        self._core.patch_node_status(NODE, {"status": status})

    def _work(self) -> None:
        while not self._ended.wait(INTERVAL):
            # The next round tries again.
            with contextlib.suppress(client.ApiException):
                self._show_all()

    def _show_all(self) -> None:
        known = {run.workflow_name: run for run in list(self._backend.runs)}
        for name, run in known.items():
            self._show_workflow(name, run)
            # A retry takes a pod's name again.
            pods = {pod.name: (task, pod) for task in run.tasks for pod in task.attempts}
            for task, pod in pods.values():
                self._show_pod(task, pod)
        for name in [name for name in self._runs if name not in known]:
            self._remove(name)

    def _show_workflow(self, name: str, run: Run) -> None:
        state = (len(run.workflow.history), run.state, tuple(run.states.items()))
        if self._written.get(name) == state:
            return
        document = run.workflow.document()
        document["metadata"] |= {"labels": {RUN_LABEL: run.run_id}}
        document["status"]["phase"] = PHASES[run.state]
        messages = {f"{'.'.join(task.path)}.executor": task for task in run.tasks if task.attempts}
        for node in document["status"]["nodes"].values():
            task = messages.get(node["name"].removeprefix(f"{name}.root.").removesuffix("(0)"))
            if task is not None:
                node |= {"phase": PHASES.get(task.state, "Succeeded"), "message": task.message}
        place = (GROUP, VERSION, self._namespace, PLURAL)
        if name not in self._runs:
            self._custom.create_namespaced_custom_object(*place, document)
        else:
            self._custom.patch_namespaced_custom_object(*place, name, document)
        self._runs[name], self._written[name] = run, state

    def _show_pod(self, task: Task, pod: Pod) -> None:
        self._pods[pod.name] = pod
        waiting = pod.waits_for or (
            pod is task.pod and task.state in ("PENDING", "RUNNING") and not pod.log_file.exists()
        )
        ended = "Succeeded" if pod is task.pod and task.state == "SUCCEEDED" else "Failed"
        phase = "Running" if pod.is_running else "Pending" if waiting else ended
        if self._written.get(pod.uid) != phase:
            self._core.patch_namespaced_pod_status(pod.name, self._namespace, {"status": {"phase": phase}})
            self._written[pod.uid] = phase

    def _announce(self, run: Run, name: str) -> str:
        """Make the pod's entry before it runs: what it makes in the cluster belongs to it."""
        self._delete_pod(name)
        labels = {RUN_LABEL: run.run_id, "pipelines.kubeflow.org/v2_component": "true"}
        spec = {
            "nodeName": NODE,
            "containers": [{"name": "main", "image": "step"}],
            # The node has no kubelet, and is found lost.
            "tolerations": [{"operator": "Exists"}],
        }
        pod = {"metadata": {"name": name, "labels": labels}, "spec": spec}
        return str(self._core.create_namespaced_pod(self._namespace, pod).metadata.uid)

    def _delete_pod(self, name: str) -> None:
        with contextlib.suppress(client.ApiException):
            self._core.delete_namespaced_pod(name, self._namespace, grace_period_seconds=0)

    def _remove(self, name: str) -> None:
        """A run that was deleted takes its objects with it."""
        run = self._runs.pop(name)
        for task in run.tasks:
            for pod in task.attempts:
                self._delete_pod(pod.name)
                self._pods.pop(pod.name, None)
        self._custom.delete_namespaced_custom_object(GROUP, VERSION, self._namespace, PLURAL, name)
