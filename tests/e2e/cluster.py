"""The Kubernetes side of a cluster: pods and their logs, Argo's Workflows, Katib's Experiments, and what is set up."""

import base64
import contextlib
import json
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client, config
from kubernetes.client import ApiException

from kfp_image_tuning.core.store_address import KUBEFLOW_SECRET
from kfp_image_tuning.engines.katib.request.names import MANAGED_BY_LABEL, MANAGER
from kfp_image_tuning.engines.katib.session.cluster import (
    EXPERIMENT_LABEL,
    GROUP,
    INJECTION_LABEL,
    TRIAL_LABEL,
    VERSION,
)

ROLE_FILE = Path(__file__).parents[2] / "manifests" / "katib" / "role.yaml"
ROLE = "kfp-image-tuning-e2e"
RUN_LABEL = "pipeline/runid"
"""KFP's label of a run's Workflow and pods."""
STEP = "-system-container-impl-"
"""In the names of steps' pods; the others are drivers'."""
LOG_LINES = 60
FRAME = "kfp-image-tuning: ERROR"

Document = dict[str, Any]


class Cluster:
    """One namespace of a cluster.

    Args:
        kubeconfig: Access to it.
        namespace: Where runs' pods are.
    """

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        configuration = client.Configuration()
        config.load_kube_config(str(kubeconfig), client_configuration=configuration)
        self.namespace = namespace
        self.server = configuration.host
        self._api = client.ApiClient(configuration)
        self._core, self._custom = client.CoreV1Api(self._api), client.CustomObjectsApi(self._api)
        self._rbac = client.RbacAuthorizationV1Api(self._api)

    def store_keys(self) -> tuple[str, str]:
        """Access key and secret key of Kubeflow's own store."""
        found = self._core.read_namespaced_secret(KUBEFLOW_SECRET, self.namespace).data
        return tuple(base64.b64decode(found[name]).decode() for name in ("accesskey", "secretkey"))  # type: ignore[return-value]

    @property
    def has_katib(self) -> bool:
        """Whether Katib's kinds are there."""
        try:
            self._custom.list_namespaced_custom_object(GROUP, VERSION, self.namespace, "experiments", limit=1)
        except ApiException as error:
            if error.status != 404:
                raise
            return False
        return True

    def experiments(self) -> set[str]:
        """Names of this project's Experiments."""
        return self._names("experiments", f"{MANAGED_BY_LABEL}={MANAGER}")

    def finished_trials(self, experiments: set[str]) -> set[str]:
        """Names of the Trials of some Experiments that have succeeded and still exist."""
        found = self._custom.list_namespaced_custom_object(GROUP, VERSION, self.namespace, "trials")["items"]
        return {
            trial["metadata"]["name"]
            for trial in found
            if trial["metadata"].get("labels", {}).get(EXPERIMENT_LABEL) in experiments
            for condition in trial.get("status", {}).get("conditions", ())
            if (condition["type"], condition["status"]) == ("Succeeded", "True")
        }

    def delete_experiment(self, name: str) -> None:
        self._custom.delete_namespaced_custom_object(GROUP, VERSION, self.namespace, "experiments", name)

    def pods(self, run_id: str, *phases: str) -> list[str]:
        """Pods of a run that are in one of some phases, the oldest first."""
        found = self._core.list_namespaced_pod(self.namespace, label_selector=f"{RUN_LABEL}={run_id}").items
        found.sort(key=lambda pod: pod.metadata.creation_timestamp)
        return [pod.metadata.name for pod in found if not phases or pod.status.phase in phases]

    def trial_pods(self, experiments: set[str]) -> list[str]:
        """Pods of the trials of some Experiments that have not ended."""
        selector = f"{TRIAL_LABEL},{EXPERIMENT_LABEL} in ({','.join(sorted(experiments))})"
        found = self._core.list_namespaced_pod(self.namespace, label_selector=selector).items
        return [pod.metadata.name for pod in found if pod.status.phase in ("Pending", "Running")]

    def log(self, pod: str, lines: int = LOG_LINES) -> str:
        """The end of a step's log, or why there is none."""
        try:
            answer = self._core.read_namespaced_pod_log(
                pod, self.namespace, container="main", tail_lines=lines, _preload_content=False
            )
            return str(answer.data.decode(errors="replace"))
        except ApiException as error:
            return f"(no log: {error.reason})"

    def running_logs(self, run_id: str) -> str:
        """What the steps of a run that run now have written."""
        return "\n".join(self.log(pod, 1000) for pod in self.pods(run_id, "Running") if STEP in pod)

    def workflow(self, run_id: str) -> tuple[Document, int]:
        """Argo's Workflow of a run, and its size in bytes; empty and 0 where it cannot be read."""
        try:
            answer = self._custom.api_client.call_api(
                f"/apis/argoproj.io/v1alpha1/namespaces/{self.namespace}/workflows",
                "GET",
                query_params=[("labelSelector", f"{RUN_LABEL}={run_id}")],
                header_params={"Accept": "application/json"},
                auth_settings=["BearerToken"],
                _preload_content=False,
                _return_http_data_only=True,
            )
        except ApiException:
            return {}, 0
        items = json.loads(answer.data)["items"]
        return (items[0], len(json.dumps(items[0], separators=(",", ":")).encode())) if items else ({}, 0)

    def explain(self, run_id: str) -> str:
        """Why a run has failed: messages of Argo's nodes, and logs of failed steps (of all that ran, if none has)."""
        status = self.workflow(run_id)[0].get("status", {})
        told = {
            # A step that is retried has a node around its pod's, with the same message.
            f"{node['name'].removesuffix('(0)')}: {node['message']}"
            for node in status.get("nodes", {}).values()
            if node.get("message") and node.get("phase") in ("Failed", "Error")
        }
        whole = f"Workflow {status.get('phase', 'cannot be read')} {status.get('message', '')}".rstrip()
        if status.get("compressedNodes"):
            whole += " (its nodes are compressed: argo get shows their messages)"
        pods = self.pods(run_id, "Failed") or self.pods(run_id)
        logs = [f"--- the end of the log of {pod}\n{from_frame(self.log(pod))}" for pod in pods[-3:]]
        return "\n".join([*sorted(told), whole, *logs])

    # What is set up, and taken back.

    def collect_metrics(self) -> bool:
        """Let Katib collect metrics in the namespace; returns whether that was to be set."""
        labels = self._core.read_namespace(self.namespace).metadata.labels or {}
        if labels.get(INJECTION_LABEL) == "enabled":
            return False
        self._core.patch_namespace(self.namespace, {"metadata": {"labels": {INJECTION_LABEL: "enabled"}}})
        return True

    def stop_collecting_metrics(self) -> None:
        self._core.patch_namespace(self.namespace, {"metadata": {"labels": {INJECTION_LABEL: None}}})

    def allow_launcher(self, service_account: str) -> None:
        """Give a service account the rights of ``manifests/katib``."""
        self.withdraw_rights()
        role = yaml.safe_load(ROLE_FILE.read_text(encoding="utf-8")) | {"metadata": {"name": ROLE}}
        subject = {"kind": "ServiceAccount", "name": service_account, "namespace": self.namespace}
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ROLE}
        self._rbac.create_namespaced_role(self.namespace, role)
        self._rbac.create_namespaced_role_binding(
            self.namespace, {"metadata": {"name": ROLE}, "roleRef": reference, "subjects": [subject]}
        )

    def withdraw_rights(self) -> None:
        for delete in (self._rbac.delete_namespaced_role_binding, self._rbac.delete_namespaced_role):
            with contextlib.suppress(ApiException):
                delete(ROLE, self.namespace)

    def _names(self, plural: str, selector: str) -> set[str]:
        found = self._custom.list_namespaced_custom_object(
            GROUP, VERSION, self.namespace, plural, label_selector=selector
        )
        return {item["metadata"]["name"] for item in found["items"]}


def from_frame(log: str) -> str:
    """A log from a few lines before our own error on, or all of it; KFP's executor prints its whole input before."""
    lines = log.splitlines()
    start = next((number for number, line in enumerate(lines) if line.startswith(FRAME)), 0)
    return "\n".join(lines[max(0, start - 4) :])
