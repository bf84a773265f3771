"""What Kubernetes and KFP say about single values of a values file; `pod_checks` looks at whole pods."""

import re
from collections.abc import Iterator, Mapping

from kfp_image_tuning.delivery.values import Retries, StepSettings, Values
from kfp_image_tuning.engines.katib.request.pod_rules import find_broken_fragment
from kfp_image_tuning.engines.katib.request.quantities import parse_quantity

_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")
_LABEL_NAME = re.compile(r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_MOST_RETRIES = 100


def find_broken_settings(values: Values) -> Iterator[str]:
    """One sentence for each value that would be refused or would do nothing, with its place."""
    steps = {"all": values.all} | {f"steps.{name}": step for name, step in vars(values.steps).items()}
    for place, settings in steps.items():
        for problems in (_sources, _volumes, _scheduling, _labels, _limits):
            yield from (f"{place}.{problem}" for problem in problems(settings))
    for name in ("preflight", "search", "evaluate"):
        if getattr(values.steps, name).cache:
            yield f"steps.{name}.cache: this step is never reused from an earlier run; leave it out"


def _sources(settings: StepSettings) -> Iterator[str]:
    for field, sources in (("secrets", settings.secrets), ("config_maps", settings.config_maps)):
        for number, source in enumerate(sources):
            yield from _name_problems(source.name, f"{field}[{number}].name")
            if not source.env and not source.mount_path:
                yield f"{field}[{number}]: gives nothing to the step; add env (variable: key) or mount_path"
    for number, name in enumerate(settings.image_pull_secrets):
        yield from _name_problems(name, f"image_pull_secrets[{number}]")


def _volumes(settings: StepSettings) -> Iterator[str]:
    for number, claim in enumerate(settings.volume_claims):
        yield from _name_problems(claim.claim, f"volume_claims[{number}].claim")
        if claim.sub_path.startswith("/") or ".." in claim.sub_path.split("/"):
            yield f"volume_claims[{number}].sub_path: {claim.sub_path!r} must be a folder in the volume, such as team/a"
    for number, volume in enumerate(settings.ephemeral_volumes):
        yield from _amount_problems(volume.size, f"ephemeral_volumes[{number}].size")
        if volume.storage_class:
            yield from _name_problems(volume.storage_class, f"ephemeral_volumes[{number}].storage_class")
    for number, folder in enumerate(settings.empty_folders):
        if folder.size:
            yield from _amount_problems(folder.size, f"empty_folders[{number}].size")
    if settings.shared_memory:
        yield from _amount_problems(settings.shared_memory, "shared_memory")


def _scheduling(settings: StepSettings) -> Iterator[str]:
    if settings.tolerations:
        yield from find_broken_fragment(list(settings.tolerations), "list of Toleration", "tolerations")
    for number, toleration in enumerate(settings.tolerations):
        if toleration.get("effect", _EFFECTS[0]) not in _EFFECTS:
            yield f"tolerations[{number}].effect: is one of {', '.join(_EFFECTS)}, got {toleration['effect']!r}"
        operator = toleration.get("operator", "Equal")
        if operator not in ("Exists", "Equal"):
            yield f"tolerations[{number}].operator: is Exists or Equal, got {operator!r}"
        elif operator == "Exists" and toleration.get("value"):
            yield f"tolerations[{number}].value: with Exists there is none; leave it out, or use Equal"
        elif operator == "Equal" and not toleration.get("key"):
            yield f"tolerations[{number}].key: is needed, except with operator Exists, which then tolerates every taint"
    if unknown := sorted(settings.affinity.keys() & {"podAffinity", "podAntiAffinity"}):
        yield f"affinity: KFP takes nodeAffinity alone; leave out {', '.join(unknown)}"
    if settings.affinity:
        yield from find_broken_fragment(dict(settings.affinity), "Affinity", "affinity")
    if unfit := _label_problems(settings.node_selector):
        yield from (f"node_selector.{problem}" for problem in unfit)


def _labels(settings: StepSettings) -> Iterator[str]:
    yield from (f"labels.{problem}" for problem in _label_problems(settings.labels))
    for name in settings.annotations:
        if not _LABEL_NAME.fullmatch(name):
            yield f"annotations: {name!r} is not a name of an annotation, such as example.com/team"


def _limits(settings: StepSettings) -> Iterator[str]:
    if settings.timeout_seconds is not None and settings.timeout_seconds < 1:
        yield f"timeout_seconds: must be at least 1, got {settings.timeout_seconds}; for no limit, leave it out"
    yield from _retry_problems(settings.retries) if settings.retries else ()
    user = settings.security_context
    for name in ("run_as_user", "run_as_group"):
        number = getattr(user, name)
        if number is not None and not 0 <= number < 2**31:
            yield f"security_context.{name}: must be 0 to {2**31 - 1}, got {number}"
    if user.run_as_non_root and user.run_as_user == 0:
        yield "security_context: run_as_user 0 is root, which run_as_non_root refuses; give another user"


def _retry_problems(retries: Retries) -> Iterator[str]:
    if not 0 <= retries.count <= _MOST_RETRIES:
        yield f"retries.count: must be 0 to {_MOST_RETRIES}, got {retries.count}"
    for name in ("wait_seconds", "longest_wait_seconds"):
        if getattr(retries, name) < 0:
            yield f"retries.{name}: must be at least 0, got {getattr(retries, name)}"
    if retries.factor < 1:
        yield f"retries.factor: must be at least 1, got {retries.factor:g}"


def _label_problems(labels: Mapping[str, str]) -> list[str]:
    return [
        f"{name}: {value!r} is not a label; name and value have up to 63 letters, digits, inner -, _ and ."
        for name, value in labels.items()
        if not (_LABEL_NAME.fullmatch(name) and _LABEL_VALUE.fullmatch(value))
    ]


def _name_problems(name: str, place: str) -> Iterator[str]:
    if not _NAME.fullmatch(name):
        yield f"{place}: {name!r} is not a name in Kubernetes: lower-case letters, digits, inner dashes and dots"


def _amount_problems(amount: str, place: str) -> Iterator[str]:
    found = parse_quantity(amount)
    if found is None or found <= 0:
        yield f"{place}: {amount!r} is not an amount of bytes in Kubernetes; write 500Mi, 16Gi"
