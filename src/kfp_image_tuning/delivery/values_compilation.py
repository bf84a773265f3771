"""Puts a team's values into a compiled pipeline, in KFP's own form: no pipeline needs to know of them.

What KFP keeps with a step's container (variables), with its task (caching, retries) and in the platform document (the
rest) is changed there. Settings of single containers survive when the pipeline becomes a component of another one.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from kfp_image_tuning.core.object_forms import hint_at_nearest
from kfp_image_tuning.core.volume_claims import CLAIMS_VARIABLE, SCHEME
from kfp_image_tuning.delivery.pod_checks import executors_of
from kfp_image_tuning.delivery.specification import CompilationError
from kfp_image_tuning.delivery.values import Retries, StepSettings, Values
from kfp_image_tuning.delivery.values_entries import pod_entries

STEP_OF_COMPONENT: Mapping[str, str] = {
    "preflight": "preflight",
    "data-preparation": "prepare",
    "local-tuning": "search",
    "katib-tuning": "search",
    "sagemaker-tuning": "search",
    "model-evaluation": "evaluate",
    "sagemaker-evaluation": "evaluate",
}
"""Component to the step of a values file; another component's step has the settings of all."""

_KINDS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "STRING": ((str,), "text"),
    "NUMBER_INTEGER": ((int,), "a whole number"),
    "NUMBER_DOUBLE": ((int, float), "a number"),
    "BOOLEAN": ((bool,), "true or false"),
    "STRUCT": ((dict,), "an object"),
    "LIST": ((list,), "a list"),
}

Document = dict[str, Any]


def defaults_of(pipeline: Any, values: Values | None) -> dict[str, Any]:
    """What the run form of a pipeline is to start with, for KFP's compiler.

    Args:
        pipeline: What ``@dsl.pipeline`` made.
        values: A team's values, or None.

    Raises:
        CompilationError: With every parameter that the pipeline has not, and every value of another type.
    """
    # Imported here: protobuf and kfp are slow to import, and only compiling needs them.
    from kfp.pipeline_spec.pipeline_spec_pb2 import ParameterType

    parameters = values.parameters if values else {}
    known = pipeline.pipeline_spec.root.input_definitions.parameters
    problems = []
    for name, value in parameters.items():
        if name not in known:
            problems.append(f"parameters.{name}: the pipeline has no such parameter{hint_at_nearest(name, known)}")
            continue
        types, words = _KINDS[ParameterType.ParameterTypeEnum.Name(known[name].parameter_type)]
        if not isinstance(value, types) or (isinstance(value, bool) and types != (bool,)):
            problems.append(f"parameters.{name}: must be {words}, got {value!r}")
    if problems:
        raise CompilationError.from_problems(problems)
    return dict(parameters)


def apply_values(documents: list[Document], values: Values) -> None:
    """Change the documents of a compiled pipeline.

    Args:
        documents: The pipeline specification and, if there is one, the platform document, which is added if needed.
        values: What to set; its ``parameters`` are KFP's compiler's.
    """
    specification = documents[0]
    platform = documents[1] if len(documents) > 1 else _empty_platform()
    executors = executors_of(platform)
    for task in _tasks(specification):
        label = specification["components"][task["componentRef"]["name"]].get("executorLabel")
        if label is None:
            continue
        # KFP numbers the tasks of one component from the second on.
        step = STEP_OF_COMPONENT.get(re.sub(r"^exec-|-\d+$", "", label), "all")
        settings = values.settings_of(step)
        _set_on_task(task, settings)
        container = specification["deploymentSpec"]["executors"][label].get("container")
        if container is not None:
            pod = _set_on_pod(container, executors.get(label, {}), settings)
            # The first step says whether the one that reads the images will see them.
            _tell_claims(container, values.settings_of("prepare") if step == "preflight" else settings)
            if pod:
                executors[label] = pod
    if len(documents) == 1 and executors:
        documents.append(platform)


def _empty_platform() -> Document:
    return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": {}}}}}


def _tasks(specification: Document) -> Iterator[Document]:
    """Every task, those in groups too."""
    for component in (specification["root"], *specification["components"].values()):
        yield from component.get("dag", {}).get("tasks", {}).values()


def _set_on_task(task: Document, settings: StepSettings) -> None:
    if settings.cache is not None:
        task["cachingOptions"] = {"enableCache": True} if settings.cache else {}
    if settings.retries is not None:
        task["retryPolicy"] = _retry_policy(settings.retries)


def _tell_claims(container: Document, settings: StepSettings) -> None:
    """Tell a step where it sees its volume claims, so that parameters can name a place by its claim."""
    places = {
        f"{SCHEME}{entry.claim}/{entry.sub_path}".rstrip("/"): entry.mount_path for entry in settings.volume_claims
    }
    if places:
        told = json.dumps(places, sort_keys=True, separators=(",", ":"))
        container["env"] = [*container.get("env", []), {"name": CLAIMS_VARIABLE, "value": told}]


def _retry_policy(retries: Retries) -> Document:
    return {
        "maxRetryCount": retries.count,
        "backoffDuration": f"{retries.wait_seconds}s",
        "backoffFactor": float(retries.factor),
        "backoffMaxDuration": f"{retries.longest_wait_seconds}s",
    }


def _set_on_pod(container: Document, given: Document, settings: StepSettings) -> Document:
    """The settings of a step's pod for the platform document: those of the pipeline itself with the team's."""
    pod = _without_variables(container, given, settings)
    if settings.env:
        added = [{"name": name, "value": value} for name, value in sorted(settings.env.items())]
        container["env"] = [*container.get("env", []), *added]
    for name, entries in pod_entries(settings).items():
        if entries:
            pod[name] = [*pod.get(name, []), *entries]
    if settings.node_selector:
        pod["nodeSelector"] = {"labels": {**pod.get("nodeSelector", {}).get("labels", {}), **settings.node_selector}}
    _set_single_fields(pod, settings)
    return pod


def _set_single_fields(pod: Document, settings: StepSettings) -> None:
    metadata = {
        name: {**pod.get("podMetadata", {}).get(name, {}), **own}
        for name, own in (("labels", settings.labels), ("annotations", settings.annotations))
        if own
    }
    if metadata:
        pod["podMetadata"] = {**pod.get("podMetadata", {}), **metadata}
    if settings.image_pull_policy is not None:
        pod["imagePullPolicy"] = settings.image_pull_policy
    if settings.timeout_seconds is not None:
        # 64-bit numbers are text in protobuf's JSON form.
        pod["activeDeadlineSeconds"] = str(settings.timeout_seconds)
    user = settings.security_context
    who: Document = {
        "runAsUser": None if user.run_as_user is None else str(user.run_as_user),
        "runAsGroup": None if user.run_as_group is None else str(user.run_as_group),
        "runAsNonRoot": user.run_as_non_root,
    }
    if who := {name: value for name, value in who.items() if value is not None}:
        pod["securityContext"] = {**pod.get("securityContext", {}), **who}


def _without_variables(container: Document, given: Document, settings: StepSettings) -> Document:
    """The pipeline's own settings without the variables that the team sets: theirs replace them."""
    sources = (*settings.secrets, *settings.config_maps)
    replaced = set(settings.env) | {name for source in sources for name in source.env}
    if "env" in container:
        container["env"] = [entry for entry in container["env"] if entry["name"] not in replaced]
    kept = dict(given)
    for field in ("secretAsEnv", "configMapAsEnv"):
        entries = [
            {**entry, "keyToEnv": [pair for pair in entry["keyToEnv"] if pair["envVar"] not in replaced]}
            for entry in given.get(field, [])
        ]
        kept.pop(field, None)
        if entries := [entry for entry in entries if entry["keyToEnv"]]:
            kept[field] = entries
    return kept
