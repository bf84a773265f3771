"""Volume claims of a pod: each in one volume, however many parts of it are mounted.

A kubelet never starts a pod that names one claim in two volumes. It waits for the second one without an event, and says
so in its own log only (kubernetes/kubernetes#82526).
"""

from collections.abc import Mapping, Sequence
from typing import Any

Documents = list[dict[str, Any]]


def merge_claims(
    volumes: Sequence[Mapping[str, Any]], mounts: Sequence[Mapping[str, Any]]
) -> tuple[Documents, Documents]:
    """Let volumes of the same claim be one.

    A claim that is only read is attached for reading; a mount of a volume that was only to be read stays read-only.

    Args:
        volumes: The pod's volumes.
        mounts: A container's mounts of them.

    Returns:
        Volumes, the first of each claim, and mounts.
    """
    kept: Documents = []
    claims: dict[str, dict[str, Any]] = {}
    """Claim to the volume that stays."""
    stands_in: dict[object, str] = {}
    """Volume on a claim to the one that stays."""
    read_only: dict[object, bool] = {}
    for number, volume in enumerate(volumes):
        name, source = volume.get("name"), volume.get("persistentVolumeClaim")
        claim = source.get("claimName") if isinstance(source, Mapping) else None
        # What has no claim's form, or a name that is taken, stays for the check of the finished document.
        if not isinstance(source, Mapping) or not isinstance(claim, str) or name in stands_in:
            if volume not in volumes[:number]:
                kept.append(dict(volume))
            continue
        if claim not in claims:
            claims[claim] = {**volume, "name": str(name), "persistentVolumeClaim": {"claimName": claim}}
            kept.append(claims[claim])
        stands_in[name] = claims[claim]["name"]
        read_only[name] = bool(source.get("readOnly"))
    moved = [_moved(mount, stands_in, read_only) for mount in mounts]
    for volume in claims.values():
        uses = [bool(mount.get("readOnly")) for mount in moved if mount.get("name") == volume["name"]]
        if all(uses or [read_only[volume["name"]]]):
            volume["persistentVolumeClaim"]["readOnly"] = True
    return kept, moved


def _moved(
    mount: Mapping[str, Any], stands_in: Mapping[object, str], read_only: Mapping[object, bool]
) -> dict[str, Any]:
    """A mount as it is after its volume was merged into another."""
    name = mount.get("name")
    moved = {**mount, "name": stands_in.get(name, name)}
    return moved | {"readOnly": True} if read_only.get(name) else moved
