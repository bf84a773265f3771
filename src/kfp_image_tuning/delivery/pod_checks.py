"""Checks of the pods that KFP's backend will make of a compiled pipeline, before anything is uploaded.

The backend names a pod's volume after the claim, Secret or ConfigMap in it, and merges entries of the same name and
mounts of the same path without a word. What does not fit fails in a run, where KFP shows no reason.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Document = Mapping[str, Any]

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_VARIABLE = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")

BACKEND_VOLUMES = frozenset(
    {
        *("kfp-launcher", "gcs-scratch", "s3-scratch", "minio-scratch", "ca-bundle"),
        *("dot-local-scratch", "dot-cache-scratch", "dot-config-scratch"),
        *("var-run-argo", "tmp-dir-argo", "input-artifacts"),
    }
)
"""Volumes that KFP and Argo put into the pod of a step."""

BACKEND_FOLDERS = ("/", "/kfp-launcher", "/var/run/argo")
"""Where nothing else may be mounted: the pod would not find the program that starts it."""


@dataclass(frozen=True)
class _Volume:
    kind: str
    name: str
    mount_path: str


def find_broken_pods(documents: Sequence[Document]) -> Iterator[str]:
    """One sentence for each thing that Kubernetes would refuse or that would silently be lost.

    Args:
        documents: The pipeline specification and, if there is one, the platform document.
    """
    platform = executors_of(documents[1]) if len(documents) > 1 else {}
    for name, executor in documents[0]["deploymentSpec"]["executors"].items():
        settings = platform.get(name, {})
        step = name.removeprefix("exec-")
        volumes = list(_volumes(settings))
        yield from (f"{step}: {problem}" for problem in _volume_problems(volumes))
        yield from (f"{step}: {problem}" for problem in _mount_problems(volumes))
        yield from (f"{step}: {problem}" for problem in _variable_problems(executor.get("container", {}), settings))


def executors_of(platform: Document) -> dict[str, dict[str, Any]]:
    """Executor to its settings, of a platform document."""
    found: dict[str, dict[str, Any]] = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    return found


def _volumes(settings: Document) -> Iterator[_Volume]:
    """The volumes of a pod; one whose name is a parameter of the run is known only then."""
    for field, kind, parameter in (
        ("pvcMount", "volume claim", "pvcNameParameter"),
        ("secretAsVolume", "Secret", "secretNameParameter"),
        ("configMapAsVolume", "ConfigMap", "configMapNameParameter"),
    ):
        for entry in settings.get(field, ()):
            name = entry[parameter].get("runtimeValue", {}).get("constant")
            if isinstance(name, str):
                yield _Volume(kind, name, entry["mountPath"])
    for field, kind in (("genericEphemeralVolume", "ephemeral volume"), ("emptyDirMounts", "empty folder")):
        for entry in settings.get(field, ()):
            yield _Volume(kind, entry["volumeName"], entry["mountPath"])


def _volume_problems(volumes: Sequence[_Volume]) -> Iterator[str]:
    kinds: dict[str, set[str]] = {}
    for volume in volumes:
        kinds.setdefault(volume.name, set()).add(volume.kind)
    for name, found in kinds.items():
        if not _LABEL.fullmatch(name):
            yield (
                f"{' and '.join(sorted(found))} {name!r} cannot be mounted: KFP gives the volume the same name, and "
                "that must be 1 to 63 lower-case letters, digits and inner dashes (no dots)"
            )
        if len(found) > 1:
            yield (
                f"{' and '.join(sorted(found))} are both called {name!r}, and KFP would make one volume of them; "
                "rename one"
            )
        if name in BACKEND_VOLUMES:
            yield f"{' and '.join(sorted(found))} {name!r} has the name of a volume of KFP's own; rename it"
    own = Counter(volume.name for volume in volumes if volume.kind in ("ephemeral volume", "empty folder"))
    yield from (f"two volumes are called {name!r}; rename one" for name, times in own.items() if times > 1)


def _mount_problems(volumes: Sequence[_Volume]) -> Iterator[str]:
    for path, times in Counter(volume.mount_path.rstrip("/") or "/" for volume in volumes).items():
        if not path.startswith("/") or ":" in path or ".." in path.split("/"):
            yield f"mount path {path!r} must be absolute, without colons and .."
        if path in BACKEND_FOLDERS:
            yield f"nothing can be mounted at {path}, which KFP needs itself; mount it elsewhere"
        if times > 1:
            yield f"{times} volumes are mounted at {path}, and only one would be there; give each its own folder"


def _variable_problems(container: Document, settings: Document) -> Iterator[str]:
    names = [entry["name"] for entry in (*container.get("env", ()), *settings.get("fieldPathAsEnv", ()))]
    for field in ("secretAsEnv", "configMapAsEnv"):
        names += [pair["envVar"] for entry in settings.get(field, ()) for pair in entry["keyToEnv"]]
    for name, times in Counter(names).items():
        if not _VARIABLE.fullmatch(name):
            yield f"{name!r} is not a name of an environment variable: letters, digits, _, - and ., no digit first"
        if times > 1:
            yield f"environment variable {name} is set {times} times; set it once"
