"""Settings of a values file as the entries that KFP's platform document has for them."""

from collections.abc import Mapping
from typing import Any

from kfp_image_tuning.delivery.values import KeySource, StepSettings

Document = dict[str, Any]


def pod_entries(settings: StepSettings) -> dict[str, list[Document]]:
    """Field of the platform document to what a step's settings add to it.

    Args:
        settings: The step's.
    """
    return {
        "secretAsEnv": [_as_variables(source, "secret") for source in settings.secrets if source.env],
        "secretAsVolume": [_as_files(source, "secret") for source in settings.secrets if source.mount_path],
        "configMapAsEnv": [_as_variables(source, "configMap") for source in settings.config_maps if source.env],
        "configMapAsVolume": [_as_files(source, "configMap") for source in settings.config_maps if source.mount_path],
        "pvcMount": _claims(settings),
        "genericEphemeralVolume": _ephemeral_volumes(settings),
        "emptyDirMounts": _empty_folders(settings),
        "tolerations": [_toleration(entry) for entry in settings.tolerations],
        "nodeAffinity": _node_affinity(settings.affinity.get("nodeAffinity", {})),
        "imagePullSecret": [
            {"secretName": name, "secretNameParameter": _constant(name)} for name in settings.image_pull_secrets
        ],
    }


def _constant(name: str) -> Document:
    return {"runtimeValue": {"constant": name}}


def _named(source: KeySource, kind: str) -> Document:
    # Older backends read the plain name, newer ones the parameter.
    return {f"{kind}Name": source.name, f"{kind}NameParameter": _constant(source.name), "optional": source.optional}


def _as_variables(source: KeySource, kind: str) -> Document:
    pairs = [{f"{kind}Key": key, "envVar": name} for name, key in sorted(source.env.items())]
    return {**_named(source, kind), "keyToEnv": pairs}


def _as_files(source: KeySource, kind: str) -> Document:
    return {**_named(source, kind), "mountPath": source.mount_path}


def _claims(settings: StepSettings) -> list[Document]:
    return [
        {
            "constant": entry.claim,
            "pvcNameParameter": _constant(entry.claim),
            "mountPath": entry.mount_path,
            **({"subPath": entry.sub_path} if entry.sub_path else {}),
        }
        for entry in settings.volume_claims
    ]


def _volume_name(kind: str, mount_path: str) -> str:
    """A volume's name in the pod: its place, in the letters that a name may have."""
    letters = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in mount_path.lower())
    return f"{kind}-{letters.strip('-')}"[:63].rstrip("-")


def _ephemeral_volumes(settings: StepSettings) -> list[Document]:
    return [
        {
            "volumeName": _volume_name("ephemeral", entry.mount_path),
            "mountPath": entry.mount_path,
            "accessModes": list(entry.access_modes),
            "size": entry.size,
            **({"storageClassName": entry.storage_class} if entry.storage_class else {"defaultStorageClass": True}),
        }
        for entry in settings.ephemeral_volumes
    ]


def _empty_folders(settings: StepSettings) -> list[Document]:
    folders = [(entry.mount_path, entry.size, entry.in_memory) for entry in settings.empty_folders]
    if settings.shared_memory:
        folders.append(("/dev/shm", settings.shared_memory, True))
    return [
        {
            "volumeName": _volume_name("empty", path),
            "mountPath": path,
            **({"medium": "Memory"} if in_memory else {}),
            **({"sizeLimit": size} if size else {}),
        }
        for path, size, in_memory in folders
    ]


def _toleration(entry: Mapping[str, Any]) -> Document:
    seconds = {"tolerationSeconds": str(entry["tolerationSeconds"])} if "tolerationSeconds" in entry else {}
    return {**entry, **seconds}


def _node_affinity(affinity: Mapping[str, Any]) -> list[Document]:
    """Kubernetes' nodeAffinity as KFP's terms: with a weight a preferred one, otherwise required."""
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution", {}).get("nodeSelectorTerms", [])
    preferred = affinity.get("preferredDuringSchedulingIgnoredDuringExecution", [])
    return [*map(dict, required), *({**entry["preference"], "weight": entry["weight"]} for entry in preferred)]
