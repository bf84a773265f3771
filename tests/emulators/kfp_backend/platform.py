"""A step's pod as the driver describes it: environment and mounts from the component and the platform document.

Recorded: the environment of a step's pod (nothing of AWS's, no namespace), the folders that every pod has, the form of
an input of type ``dsl.TaskConfig``. From reading (kubernetes_executor_config): what each entry of the platform document
does; an object that is missing and not optional keeps the pod from starting, as a kubelet does.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kfp_image_tuning.engines.katib.request.quantities import parse_quantity
from tests.emulators.kfp_backend.resources import make_resources

Document = dict[str, Any]
EMPTY_FOLDERS = ("/kfp-launcher", "/gcs", "/s3", "/minio", "/.local", "/.cache", "/.config", "/run/argo")
USUAL_PATH = "/usr/local/bin:/usr/bin:/bin"


class NotStarted(Exception):  # noqa: N818  # it is a state of a pod
    """What a pod waits for: an object that does not exist."""


@dataclass
class Namespace:
    """What a pod finds in its namespace.

    Attributes:
        config_maps: Name to ``{"data": …, "binaryData": …}`` (values as text or bytes, not base64).
        secrets: Name to keys and values.
        claims: PersistentVolumeClaim to the folder that it is.
        services: Service to address and port, as ``host:port``.
        service_account: Folder with token, ca.crt and namespace; None: an account that may do nothing.
        api_server: ``host:port`` of the Kubernetes API.
    """

    config_maps: Mapping[str, Mapping[str, Mapping[str, str | bytes]]] = field(default_factory=dict)
    secrets: dict[str, Mapping[str, str]] = field(default_factory=dict)
    claims: dict[str, Path] = field(default_factory=dict)
    services: dict[str, str] = field(default_factory=dict)
    service_account: Path | None = None
    api_server: str = "10.96.0.1:443"

    def files_of_config_map(self, name: str) -> dict[str, bytes] | None:
        """Its keys as files; None: there is no such ConfigMap."""
        if name not in self.config_maps:
            return None
        parts = [*self.config_maps[name].get("data", {}).items(), *self.config_maps[name].get("binaryData", {}).items()]
        return {key: as_bytes(value) for key, value in parts}

    def files_of_secret(self, name: str) -> dict[str, bytes] | None:
        """Its keys as files; None: there is no such Secret."""
        return {key: as_bytes(value) for key, value in self.secrets[name].items()} if name in self.secrets else None

    def service_variables(self) -> dict[str, str]:
        """What Kubernetes tells every pod of the namespace's Services."""
        variables: dict[str, str] = {}
        for name, place in {**self.services, "kubernetes": self.api_server}.items():
            host, _, port = place.rpartition(":")
            prefix = name.upper().replace("-", "_")
            variables |= {f"{prefix}_SERVICE_HOST": host, f"{prefix}_SERVICE_PORT": port}
            variables |= {f"{prefix}_PORT": f"tcp://{place}", f"{prefix}_PORT_{port}_TCP_ADDR": host}
        return variables


def as_bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


@dataclass(frozen=True)
class PodDescription:
    """What the driver decides of a step's pod; the start of it needs the namespace.

    Attributes:
        environment: Entries of Kubernetes' ``env``.
        volumes: Entries with ``kind`` (config_map, secret, claim, empty), ``name``, ``path`` and more.
        resources: Kubernetes' ``resources``.
        user: The number of the user; None: the image's.
        deadline_seconds: After which the pod is ended; None: never.
        more: Node selector, tolerations and affinity; None where nothing is set.
        metadata: The pod's labels and annotations, as far as they are set.
    """

    environment: list[Document]
    volumes: list[Document]
    resources: Document
    user: int | None
    deadline_seconds: float | None
    more: Document
    metadata: Document


def describe(
    container: Document, platform: Document, inputs: Document, resolve: Callable[[Document], Any]
) -> PodDescription:
    """Describe a step's pod.

    Args:
        container: The executor's container.
        platform: The executor's part of the platform document.
        inputs: Values of the task's input parameters.
        resolve: Value of an input parameter's description (constant, pipeline parameter or another task's output).

    Raises:
        DriverFailed: If an amount of its resources cannot be read.
    """

    def name_of(entry: Document, parameter: str, plain: str) -> str:
        return str(resolve(entry[parameter]) if parameter in entry else entry.get(plain, ""))

    environment: list[Document] = [
        {"name": entry["name"], "value": entry.get("value", "")} for entry in container.get("env", [])
    ]
    for kind, reference in (("secret", "secretKeyRef"), ("configMap", "configMapKeyRef")):
        for entry in platform.get(f"{kind}AsEnv", []):
            source = {"name": name_of(entry, f"{kind}NameParameter", f"{kind}Name"), "optional": optional(entry)}
            environment += [
                {"name": pair["envVar"], "valueFrom": {reference: {"key": pair[f"{kind}Key"], **source}}}
                for pair in entry["keyToEnv"]
            ]
    environment += [
        {"name": entry["name"], "valueFrom": {"fieldRef": {"fieldPath": entry["fieldPath"]}}}
        for entry in platform.get("fieldPathAsEnv", [])
    ]
    volumes: list[Document] = []
    for kind, name in (("secret", "secret"), ("configMap", "config_map")):
        for entry in platform.get(f"{kind}AsVolume", []):
            called = name_of(entry, f"{kind}NameParameter", f"{kind}Name")
            volumes.append({"kind": name, "name": called, "path": entry["mountPath"], "optional": optional(entry)})
    for entry in platform.get("pvcMount", []):
        called = name_of(entry, "pvcNameParameter", "constant")
        volumes.append(
            {"kind": "claim", "name": called, "path": entry["mountPath"], "folder": entry.get("subPath", "")}
        )
    for key, field_name in (("emptyDirMounts", "volumeName"), ("genericEphemeralVolume", "volumeName")):
        volumes += [
            {"kind": "empty", "name": entry.get(field_name, ""), "path": entry["mountPath"]}
            | {key: entry[key] for key in ("medium", "sizeLimit") if key in entry}
            for entry in platform.get(key, [])
        ]
    security = platform.get("securityContext", {})
    deadline = platform.get("activeDeadlineSeconds")
    return PodDescription(
        environment=environment,
        volumes=volumes,
        resources=make_resources(container.get("resources", {}), inputs),
        user=int(security["runAsUser"]) if "runAsUser" in security else None,
        deadline_seconds=float(deadline) if deadline else None,
        more={
            "nodeSelector": node_selector(platform, resolve),
            "tolerations": tolerations(platform, resolve),
            "affinity": affinity(platform),
        },
        metadata=dict(platform.get("podMetadata", {})),
    )


def optional(entry: Document) -> bool:
    return bool(entry.get("optional", False))


def node_selector(platform: Document, resolve: Callable[[Document], Any]) -> Document | None:
    given = platform.get("nodeSelector", {})
    if "nodeSelectorJson" in given:
        chosen = resolve(given["nodeSelectorJson"])
        return dict(json.loads(chosen) if isinstance(chosen, str) else chosen) or None
    return dict(given.get("labels", {})) or None


def tolerations(platform: Document, resolve: Callable[[Document], Any]) -> list[Document] | None:
    made: list[Document] = []
    for entry in platform.get("tolerations", []):
        if "tolerationJson" not in entry:
            made.append(dict(entry))
            continue
        value = resolve(entry["tolerationJson"])
        value = json.loads(value) if isinstance(value, str) else value
        made += value if isinstance(value, list) else [value] if value else []
    return made or None


def affinity(platform: Document) -> Document | None:
    return {"nodeAffinity": platform["nodeAffinity"]} if platform.get("nodeAffinity") else None


def task_config(component: Document, pod: PodDescription) -> Document:
    """What an input of type ``dsl.TaskConfig`` holds."""
    passed = {entry["field"] for entry in component.get("taskConfigPassthroughs", [])}
    volumes = [
        volume
        for entry in pod.volumes
        if (volume := kubernetes_volume(entry)) is not None and "KUBERNETES_VOLUMES" in passed
    ]
    mounts = [
        {"name": entry["name"], "mountPath": entry["path"]}
        | ({"subPath": entry["folder"]} if entry.get("folder") else {})
        for entry in pod.volumes
        if "KUBERNETES_VOLUMES" in passed
    ]
    return {
        "affinity": pod.more["affinity"] if "KUBERNETES_AFFINITY" in passed else None,
        "env": (pod.environment or None) if "ENV" in passed else None,
        "nodeSelector": pod.more["nodeSelector"] if "KUBERNETES_NODE_SELECTOR" in passed else None,
        "resources": pod.resources if "RESOURCES" in passed else {},
        "tolerations": pod.more["tolerations"] if "KUBERNETES_TOLERATIONS" in passed else None,
        "volumeMounts": mounts or None,
        "volumes": volumes or None,
    }


def kubernetes_volume(entry: Document) -> Document | None:
    """Kubernetes' form of a volume."""
    name = entry["name"]
    sources: dict[str, Document] = {
        "claim": {"persistentVolumeClaim": {"claimName": name}},
        "secret": {"secret": {"secretName": name, "optional": entry.get("optional", False)}},
        "config_map": {"configMap": {"name": name, "optional": entry.get("optional", False)}},
        "empty": {"emptyDir": {key: entry[key] for key in ("medium", "sizeLimit") if key in entry}},
    }
    return {"name": name, **sources[entry["kind"]]}


def environment_of(pod: PodDescription, namespace: Namespace, fields: Mapping[str, str]) -> dict[str, str]:
    """Values of the pod's own variables.

    Raises:
        NotStarted: If a variable comes from what does not exist.
    """
    values = {}
    for entry in pod.environment:
        source = entry.get("valueFrom", {})
        if "value" in entry:
            values[entry["name"]] = entry["value"]
        elif "fieldRef" in source:
            values[entry["name"]] = fields.get(source["fieldRef"]["fieldPath"], "")
        else:
            kind = "secret" if "secretKeyRef" in source else "config map"
            wanted = source.get("secretKeyRef") or source["configMapKeyRef"]
            files = (
                namespace.files_of_secret(wanted["name"])
                if kind == "secret"
                else namespace.files_of_config_map(wanted["name"])
            )
            if files is not None and wanted["key"] in files:
                values[entry["name"]] = files[wanted["key"]].decode()
            elif not wanted["optional"]:
                raise NotStarted(f"CreateContainerConfigError: {kind} {wanted['name']!r} or its key not found")
    return values


def mounts_of(pod: PodDescription, namespace: Namespace, folder: Path) -> list[Document]:
    """Folders that the pod sees: where they are on this machine, and where it sees them.

    Raises:
        NotStarted: If a volume does not exist.
    """
    mounts: list[Document] = []
    for number, path in enumerate(EMPTY_FOLDERS):
        mounts.append({"source": str(open_folder(folder / f"empty-{number}")), "path": path})
    for number, entry in enumerate(pod.volumes):
        place = folder / f"volume-{number}"
        if entry["kind"] == "claim":
            if entry["name"] not in namespace.claims:
                raise NotStarted(f"FailedScheduling: persistentvolumeclaim {entry['name']!r} not found")
            source = namespace.claims[entry["name"]] / entry["folder"]
            source.mkdir(parents=True, exist_ok=True)
            mounts.append({"source": str(source), "path": entry["path"]})
        elif entry.get("medium") == "Memory":
            limit = parse_quantity(entry["sizeLimit"]) if "sizeLimit" in entry else None
            mounts.append({"memory": f"size={limit or 0:.0f}", "path": entry["path"]})
        elif entry["kind"] == "empty":
            mounts.append({"source": str(open_folder(place)), "path": entry["path"]})
        else:
            read = namespace.files_of_secret if entry["kind"] == "secret" else namespace.files_of_config_map
            files = read(entry["name"])
            if files is None and not entry["optional"]:
                raise NotStarted(f"FailedMount: {entry['kind']} {entry['name']!r} not found")
            mounts.append({"source": str(write_files(place, files or {})), "path": entry["path"], "read_only": True})
    if namespace.service_account is not None:
        path = "/run/secrets/kubernetes.io/serviceaccount"
        mounts.append({"source": str(namespace.service_account), "path": path, "read_only": True})
    for mount in mounts:
        if os.path.islink("/var/run"):
            mount["path"] = mount["path"].replace("/var/run/", "/run/", 1)
    return mounts


def open_folder(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o777)
    return folder


def write_files(folder: Path, files: Mapping[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder
