"""The pod that KFP's backend makes of a step, as its driver (backend/src/v2/driver/k8s.go) and Argo's patch have it.

Volumes are named after what is in them, and entries of one name, or mounts at one path, become one.
"""

import json
from typing import Any

from kfp_image_tuning.delivery.pod_checks import executors_of

Document = dict[str, Any]


def pod_of(documents: list[Document], executor: str) -> Document:
    """The pod of an executor whose settings are constants, or parameters of the pipeline with a default."""
    container = documents[0]["deploymentSpec"]["executors"][executor]["container"]
    given = executors_of(documents[1]).get(executor, {}) if len(documents) > 1 else {}
    volumes: dict[str, Document] = {}
    mounts: dict[str, Document] = {}
    for name, volume, entry in _volumes(given):
        volumes[name] = {**volumes.get(name, {}), "name": name, **volume}
        sub_path = {"subPath": entry["subPath"]} if "subPath" in entry else {}
        mounts[entry["mountPath"]] = {"name": name, "mountPath": entry["mountPath"], **sub_path}
    main: Document = {
        "name": "main",
        "image": container["image"],
        "command": container["command"],
        "args": container["args"],
        "env": _variables(container, given, _defaults(documents[0])),
        "volumeMounts": list(mounts.values()),
        **({"imagePullPolicy": given["imagePullPolicy"]} if "imagePullPolicy" in given else {}),
        **({"securityContext": _numbers(given["securityContext"])} if "securityContext" in given else {}),
    }
    spec: Document = {"containers": [main], "restartPolicy": "Never", "volumes": list(volumes.values())}
    if "activeDeadlineSeconds" in given:
        spec["activeDeadlineSeconds"] = int(given["activeDeadlineSeconds"])
    if "imagePullSecret" in given:
        spec["imagePullSecrets"] = [{"name": _name(entry, "secret")} for entry in given["imagePullSecret"]]
    if "nodeSelector" in given:
        spec["nodeSelector"] = given["nodeSelector"]["labels"]
    if "tolerations" in given:
        spec["tolerations"] = [_numbers(entry) for entry in given["tolerations"]]
    if "nodeAffinity" in given:
        spec["affinity"] = {"nodeAffinity": _node_affinity(given["nodeAffinity"])}
    metadata = {"name": "pod", **given.get("podMetadata", {})}
    # As Kubernetes would read it: plain JSON.
    pod: Document = json.loads(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}))
    return pod


def _defaults(specification: Document) -> Document:
    parameters = specification["root"].get("inputDefinitions", {}).get("parameters", {})
    return {name: entry.get("defaultValue") for name, entry in parameters.items()}


def _name(entry: Document, kind: str, defaults: Document | None = None) -> str:
    given = entry[f"{kind}NameParameter"]
    if "componentInputParameter" in given:
        return str((defaults or {})[given["componentInputParameter"]])
    return str(given["runtimeValue"]["constant"])


def _numbers(entry: Document) -> Document:
    return {name: int(value) if name in _NUMBERS else value for name, value in entry.items()}


_NUMBERS = ("runAsUser", "runAsGroup", "tolerationSeconds")


def _volumes(given: Document) -> list[tuple[str, Document, Document]]:
    found: list[tuple[str, Document, Document]] = []
    for entry in given.get("pvcMount", []):
        name = _name(entry, "pvc")
        found.append((name, {"persistentVolumeClaim": {"claimName": name}}, entry))
    for entry in given.get("secretAsVolume", []):
        name = _name(entry, "secret")
        found.append((name, {"secret": {"secretName": name, "optional": entry.get("optional", False)}}, entry))
    for entry in given.get("configMapAsVolume", []):
        name = _name(entry, "configMap")
        found.append((name, {"configMap": {"name": name, "optional": entry.get("optional", False)}}, entry))
    for entry in given.get("genericEphemeralVolume", []):
        storage = {} if entry.get("defaultStorageClass") else {"storageClassName": entry["storageClassName"]}
        claim = {"accessModes": entry["accessModes"], "resources": {"requests": {"storage": entry["size"]}}, **storage}
        found.append((entry["volumeName"], {"ephemeral": {"volumeClaimTemplate": {"spec": claim}}}, entry))
    for entry in given.get("emptyDirMounts", []):
        empty = {name: entry[name] for name in ("medium", "sizeLimit") if name in entry}
        found.append((entry["volumeName"], {"emptyDir": empty}, entry))
    return found


def _variables(container: Document, given: Document, defaults: Document) -> list[Document]:
    variables = list(container.get("env", []))
    for kind, reference in (("secret", "secretKeyRef"), ("configMap", "configMapKeyRef")):
        for entry in given.get(f"{kind}AsEnv", []):
            source = {"name": _name(entry, kind, defaults), "optional": entry.get("optional", False)}
            variables += [
                {"name": pair["envVar"], "valueFrom": {reference: {**source, "key": pair[f"{kind}Key"]}}}
                for pair in entry["keyToEnv"]
            ]
    return variables


def _node_affinity(terms: list[Document]) -> Document:
    required = [term for term in terms if "weight" not in term]
    preferred = [
        {"weight": term["weight"], "preference": {name: value for name, value in term.items() if name != "weight"}}
        for term in terms
        if "weight" in term
    ]
    return {
        **({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": required}} if required else {}),
        **({"preferredDuringSchedulingIgnoredDuringExecution": preferred} if preferred else {}),
    }
