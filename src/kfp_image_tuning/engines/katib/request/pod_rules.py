"""Kubernetes' rules for a Job's ``spec``, strictly: no unknown field, no wrong type, nothing that would be lost.

Katib reads a Job into Kubernetes' own types, writes it out again and refuses it if anything changed: an unknown or
empty field, or an amount in an unusual form. The types stand in ``kubernetes_fields.json``, made from Kubernetes'
published schemas.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from kfp_image_tuning.core.object_forms import hint_at_nearest
from kfp_image_tuning.engines.katib.request.quantities import canonical_quantity, parse_quantity

FIELDS_LOST_WHEN_FALSE = frozenset({"readOnly", "hostNetwork", "hostPID", "hostIPC", "stdin", "stdinOnce", "tty"})
"""Kubernetes' types leave these out when they are false; other booleans say false."""
_KINDS: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "boolean": (bool,),
    "number": (int, float),
    "object": (dict,),
    "integer or string": (int, str),
}


@cache
def kubernetes_types() -> Mapping[str, Mapping[str, str]]:
    """Type to field to what it holds."""
    text = (Path(__file__).parent / "kubernetes_fields.json").read_text(encoding="utf-8")
    types: Mapping[str, Mapping[str, str]] = json.loads(text)["types"]
    return types


def find_broken_pod_rules(job_spec: Mapping[str, Any], place: str) -> Iterator[str]:
    """Every rule that the ``spec`` of a Job breaks."""
    yield from _find_in_value(job_spec, "JobSpec", place)
    template = job_spec.get("template") or {}
    pod = template.get("spec") if isinstance(template, Mapping) else None
    if not isinstance(pod, Mapping):
        return
    if pod.get("restartPolicy") not in ("Never", "OnFailure"):
        yield f"{place}.template.spec.restartPolicy: a Job needs Never or OnFailure, got {pod.get('restartPolicy')!r}"
    yield from _find_broken_references(pod, f"{place}.template.spec")


def find_broken_fragment(fragment: object, kind: str, place: str) -> Iterator[str]:
    """Every rule that a part of a pod breaks, such as a ``list of Toleration``."""
    yield from _find_in_value(fragment, kind, place)


def _find_broken_references(pod: Mapping[str, Any], place: str) -> Iterator[str]:
    volumes = [volume.get("name") for volume in pod.get("volumes", ()) if isinstance(volume, Mapping)]
    for name in sorted({str(name) for name in volumes if volumes.count(name) > 1}):
        yield f"{place}.volumes: the name {name} stands there twice"
    for container in pod.get("containers", ()):
        mounts = [mount for mount in container.get("volumeMounts", ()) if isinstance(mount, Mapping)]
        for mount in mounts:
            if mount.get("name") not in volumes:
                yield f"{place}.containers: {container.get('name')} mounts {mount.get('name')!r}, which is not a volume"
        paths = [mount.get("mountPath") for mount in mounts]
        for path in sorted({str(path) for path in paths if paths.count(path) > 1}):
            yield f"{place}.containers: {container.get('name')} mounts two volumes at {path}"
        resources = container.get("resources") or {}
        limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
        for name, amount in requests.items():
            asked, most = parse_quantity(str(amount)), parse_quantity(str(limits.get(name, amount)))
            if asked is not None and most is not None and (asked > most or ("/" in name and asked != most)):
                rule = "must equal" if "/" in name else "must not be above"
                yield f"{place}.containers: {container.get('name')} requests {amount} of {name}, it {rule} the limit"


def _find_in_value(value: object, kind: str, place: str) -> Iterator[str]:
    if kind.startswith("list of "):
        if not isinstance(value, list):
            yield f"{place}: must be a list, got {value!r}"
        elif not value:
            yield f"{place}: is empty and would be lost; leave it out"
        else:
            for number, item in enumerate(value):
                yield from _find_in_value(item, kind.removeprefix("list of "), f"{place}[{number}]")
    elif kind.startswith("map of "):
        if not isinstance(value, Mapping):
            yield f"{place}: must be an object, got {value!r}"
        elif not value:
            yield f"{place}: is empty and would be lost; leave it out"
        else:
            for name, item in value.items():
                yield from _find_in_value(item, kind.removeprefix("map of "), f"{place}.{name}")
    elif kind == "quantity":
        yield from _find_in_quantity(value, place)
    elif kind in _KINDS:
        if not isinstance(value, _KINDS[kind]) or (isinstance(value, bool) and kind != "boolean"):
            yield f"{place}: must be {kind}, got {value!r}"
        elif value == "":
            yield f"{place}: is empty and would be lost; leave it out"
    else:
        yield from _find_in_object(value, kubernetes_types()[kind], place)


def _find_in_object(value: object, fields: Mapping[str, str], place: str) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"{place}: must be an object, got {value!r}"
        return
    for name, item in value.items():
        if name not in fields:
            yield f"{place}.{name}: Kubernetes knows no such field{hint_at_nearest(str(name), fields)}"
        elif item is False and name in FIELDS_LOST_WHEN_FALSE:
            yield f"{place}.{name}: false is the default and would be lost; leave it out"
        else:
            yield from _find_in_value(item, fields[name].removesuffix("!"), f"{place}.{name}")
    for name, kind in fields.items():
        if kind.endswith("!") and name not in value:
            yield f"{place}.{name}: is required and missing"


def _find_in_quantity(value: object, place: str) -> Iterator[str]:
    canonical = canonical_quantity(str(value))
    if canonical is None or isinstance(value, bool):
        yield f"{place}: {value!r} is not an amount that Kubernetes reads; write 500m, 2, 16Gi"
    elif ".limits." not in place and ".requests." not in place and value != canonical:
        # Katib overlooks changes of limits and requests only.
        yield f'{place}: {value!r} would be changed; write it as "{canonical}"'
