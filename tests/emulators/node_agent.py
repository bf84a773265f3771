"""A node agent that runs pods' commands as local processes: a stand-in for the kubelet, for a cluster without machines.

Scheduling, Jobs and garbage collection are the real control plane's. The agent makes the nodes (with as many GPUs as a
test likes), starts what the scheduler binds to them, reports what becomes of it, and hands out logs as a kubelet does.
An image is a folder that goes in front of PATH: what ``python3`` is in a pod depends on it. An image that the agent
does not know cannot be pulled.
"""

import base64
import contextlib
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kubernetes import client

from tests.emulators.kubelet_logs import serve_logs
from tests.emulators.pod_processes import PodProcesses, now

INTERVAL = 0.2
HEARTBEAT = 2.0
"""Seconds between two signs of life of every node."""
CREATING = {"reason": "ContainerCreating"}
"""Why a container waits whose volumes or image are not there yet."""


class NodeAgent:
    """Nodes and what runs on them.

    Args:
        api: The connection.
        folder: For the pods' files.
        images: Image to the folder that goes in front of PATH.
        claims: Volume claim to the folder that it is, in every namespace.
        address: Where the API server reaches the agent.

    Attributes:
        images: The images.
    """

    def __init__(
        self,
        api: client.ApiClient,
        folder: Path,
        images: dict[str, Path],
        claims: Mapping[str, Path],
        address: str = "127.0.0.1",
    ) -> None:
        self._core = client.CoreV1Api(api)
        self._api = api
        self._folder = folder
        self.images = images
        self._claims = claims
        self._pods: dict[str, PodProcesses] = {}
        self._places: dict[tuple[str, str], str] = {}
        self._reported: dict[str, dict[str, Any]] = {}
        self._nodes: set[str] = set()
        self._made: set[str] = set()
        self._ended = threading.Event()
        self._server = serve_logs(self.log, address)
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._run, self._beat)]
        for thread in self._threads:
            thread.start()

    def add_node(self, name: str, gpus: int, memory: str = "64Gi") -> None:
        """A node that is ready at once."""
        capacity = {"cpu": "64", "memory": memory, "pods": "100", "nvidia.com/gpu": str(gpus)}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"zone": "a"}}}
        self._core.create_node(node)
        self._made.add(name)
        status = {
            "capacity": capacity,
            "allocatable": capacity,
            "addresses": [{"type": "InternalIP", "address": self._server.address}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._server.port}},
        }
        self._core.patch_node_status(name, {"status": status | _signs_of_life()})
        # The API server itself taints new nodes, until a controller finds them ready.
        self._core.patch_node(name, {"spec": {"taints": []}})
        self._nodes.add(name)

    def lose_node(self, name: str) -> None:
        """The machine is gone: nothing is heard of it any more, but the Node stays."""
        self._nodes.discard(name)
        for pod in self._core.list_pod_for_all_namespaces(field_selector=f"spec.nodeName={name}").items:
            if processes := self._pods.get(pod.metadata.uid):
                processes.kill()

    def remove_node(self, name: str) -> None:
        """The machine is gone, and so is its Node; nobody says what became of its pods."""
        self.lose_node(name)
        with contextlib.suppress(client.ApiException):
            self._core.delete_node(name)

    def log(self, namespace: str, pod: str, container: str) -> str:
        """What a container wrote; empty if it never ran here."""
        uid = self._places.get((namespace, pod))
        return self._pods[uid].log_file(container).read_text(errors="replace") if uid else ""

    @property
    def running(self) -> int:
        """Trials that run."""
        return sum(pod.is_running for pod in list(self._pods.values()))

    def close(self) -> None:
        for name in self._made:
            with contextlib.suppress(client.ApiException):
                self._core.delete_node(name)
        self._ended.set()
        for thread in self._threads:
            thread.join()
        for pod in self._pods.values():
            pod.kill()
        self._server.close()

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT):
            for name in [*self._nodes]:
                with contextlib.suppress(Exception):
                    self._core.patch_node_status(name, {"status": _signs_of_life()}, _request_timeout=5)

    def _run(self) -> None:
        while not self._ended.wait(INTERVAL):
            for processes in [*self._pods.values()]:
                processes.look_after()
            # The API server may be away: the next round tries again.
            with contextlib.suppress(Exception):
                for pod in self._core.list_pod_for_all_namespaces(_request_timeout=5).items:
                    if pod.spec.node_name in self._nodes:
                        with contextlib.suppress(client.ApiException):
                            self._look_after(self._api.sanitize_for_serialization(pod))

    def _look_after(self, pod: dict[str, Any]) -> None:
        metadata = pod["metadata"]
        processes = self._pods.get(metadata["uid"])
        if processes is not None:
            self._report(pod, processes.status())
        if metadata.get("deletionTimestamp"):
            if processes is not None and not processes.are_gone:
                processes.tell_to_end()
            else:
                self._core.delete_namespaced_pod(metadata["name"], metadata["namespace"], grace_period_seconds=0)
        elif processes is None and pod["status"].get("phase") == "Pending":
            self._start(pod)

    def _start(self, pod: dict[str, Any]) -> None:
        metadata, containers = pod["metadata"], pod["spec"]["containers"]
        if self._cannot_mount(pod):
            self._report(pod, _waiting_status(containers, dict.fromkeys(map(_name, containers), CREATING)))
            return
        unknown = [container for container in containers if container["image"] not in self.images]
        if unknown:
            state = {"reason": "ErrImagePull", "message": f"{unknown[0]['image']}: not found"}
            self._report(pod, _waiting_status(containers, dict.fromkeys(map(_name, unknown), state)))
            return
        if problem := self._fill_in_secrets(pod):
            state = {"reason": "CreateContainerConfigError", "message": problem}
            self._report(pod, _waiting_status(containers, dict.fromkeys(map(_name, containers), state)))
            return
        folder = self._folder / metadata["namespace"] / metadata["name"]
        folder.mkdir(parents=True, exist_ok=True)
        processes = PodProcesses(pod, folder, self.images, self._volumes(pod, folder / "volumes"))
        self._pods[metadata["uid"]] = processes
        self._places[metadata["namespace"], metadata["name"]] = metadata["uid"]
        self._report(pod, processes.status())

    def _cannot_mount(self, pod: dict[str, Any]) -> bool:
        """Whether a kubelet would wait for the pod's volumes."""
        volumes = pod["spec"].get("volumes", ())
        claims = [
            volume["persistentVolumeClaim"]["claimName"] for volume in volumes if "persistentVolumeClaim" in volume
        ]
        if len(claims) > len(set(claims)):
            # It waits for both volumes, finds one, and says so in its own log only.
            return True
        missing = [problem for volume in volumes if (problem := self._missing_source(pod, volume))]
        for problem in missing:
            self._warn(pod, "FailedMount", problem)
        return bool(missing)

    def _missing_source(self, pod: dict[str, Any], volume: dict[str, Any]) -> str:
        """What a kubelet says of a ConfigMap or Secret that is not there; empty if all is."""
        namespace = pod["metadata"]["namespace"]
        for kind, key, read in (
            ("configMap", "name", self._core.read_namespaced_config_map),
            ("secret", "secretName", self._core.read_namespaced_secret),
        ):
            source = volume.get(kind)
            if not source or source.get("optional"):
                continue
            try:
                read(source[key], namespace)
            except client.ApiException as error:
                if error.status != 404:
                    raise
                place = f'MountVolume.SetUp failed for volume "{volume["name"]}"'
                return f'{place} : {kind.lower()} "{source[key]}" not found'
        return ""

    def _fill_in_secrets(self, pod: dict[str, Any]) -> str:
        """Give variables that come from Secrets their values; returns what a kubelet says of one that is missing."""
        namespace = pod["metadata"]["namespace"]
        for container in pod["spec"]["containers"]:
            for entry in [entry for entry in container.get("env", ()) if "valueFrom" in entry]:
                reference = entry["valueFrom"].get("secretKeyRef")
                if not reference:
                    continue
                try:
                    found = self._core.read_namespaced_secret(reference["name"], namespace).data or {}
                except client.ApiException as error:
                    if error.status != 404:
                        raise
                    found = None
                if found and reference["key"] in found:
                    entry["value"] = base64.b64decode(found[reference["key"]]).decode()
                elif not reference.get("optional"):
                    name = reference["name"]
                    missing = f"couldn't find key {reference['key']} in Secret {namespace}/{name}"
                    return missing if found is not None else f'secret "{name}" not found'
        return ""

    def _warn(self, pod: dict[str, Any], reason: str, message: str) -> None:
        """Make the event once; a kubelet counts it up."""
        metadata = pod["metadata"]
        about = {"apiVersion": "v1", "kind": "Pod"} | {name: metadata[name] for name in ("name", "namespace", "uid")}
        event: dict[str, Any] = {"metadata": {"name": f"{metadata['name']}.{reason.lower()}"}, "involvedObject": about}
        event |= {"type": "Warning", "reason": reason, "message": message, "lastTimestamp": now()}
        with contextlib.suppress(client.ApiException):
            self._core.create_namespaced_event(metadata["namespace"], event)

    def _volumes(self, pod: dict[str, Any], folder: Path) -> dict[str, Path]:
        """The pod's volumes as folders: claims, ConfigMaps, and empty ones."""
        volumes = {}
        for volume in pod["spec"].get("volumes", ()):
            place = folder / volume["name"]
            if claim := volume.get("persistentVolumeClaim"):
                place = self._claims[claim["claimName"]]
            elif config_map := volume.get("configMap"):
                place.mkdir(parents=True, exist_ok=True)
                for name, content in self._read_config_map(config_map, pod["metadata"]["namespace"]).items():
                    (place / name).write_bytes(content)
            volumes[volume["name"]] = place
        return volumes

    def _read_config_map(self, volume: Mapping[str, Any], namespace: str) -> dict[str, bytes]:
        """The files of a ConfigMap; none if it is optional and missing."""
        try:
            found = self._core.read_namespaced_config_map(volume["name"], namespace)
        except client.ApiException as error:
            if error.status == 404 and volume.get("optional"):
                return {}
            raise
        files = {name: text.encode() for name, text in (found.data or {}).items()}
        return files | {name: base64.b64decode(text) for name, text in (found.binary_data or {}).items()}

    def _report(self, pod: dict[str, Any], status: dict[str, Any]) -> None:
        metadata = pod["metadata"]
        if self._reported.get(metadata["uid"]) != status:
            self._core.patch_namespaced_pod_status(metadata["name"], metadata["namespace"], {"status": status})
            self._reported[metadata["uid"]] = status


def _name(container: dict[str, Any]) -> str:
    return str(container["name"])


def _waiting_status(containers: list[dict[str, Any]], waiting: Mapping[str, dict[str, str]]) -> dict[str, Any]:
    """The status of a pod none of whose containers runs yet; ``waiting`` says of some of them why."""
    states = [
        {"name": item["name"], "image": item["image"], "imageID": "", "ready": False, "restartCount": 0}
        | ({"state": {"waiting": waiting[item["name"]]}} if item["name"] in waiting else {})
        for item in containers
    ]
    return {"phase": "Pending", "containerStatuses": states}


def _signs_of_life() -> dict[str, Any]:
    return {"conditions": [{"type": "Ready", "status": "True", "reason": "Agent", "lastHeartbeatTime": now()}]}
