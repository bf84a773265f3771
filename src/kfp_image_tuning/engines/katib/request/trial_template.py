"""``spec.trialTemplate``: the Job or TrainJob that Katib makes for each trial."""

from collections.abc import Mapping, Sequence
from typing import Any

from kfp_image_tuning.engines.katib.request.options import KatibOptions
from kfp_image_tuning.engines.katib.request.parameters import TunedParameter
from kfp_image_tuning.engines.katib.request.trial_pod import (
    TRIAL_NAME_PARAMETER,
    build_command,
    build_resources,
    build_tolerations,
    build_volumes,
    container_security,
    image_of,
    pod_labels,
    pod_security,
    without_empty,
)

JOB_CONTAINER = "trainer"
TRAIN_JOB_CONTAINER = "node"
"""Name of the container, and of the replicated job, in all of Kubeflow Trainer's runtimes."""
TRAIN_JOB_MANAGER = "kfp-image-tuning/engine"

SUCCESS_CONDITION = 'status.conditions.#(type=="Complete")#|#(status=="True")#'
FAILURE_CONDITION = 'status.conditions.#(type=="Failed")#|#(status=="True")#'


def build_trial_template(
    options: KatibOptions,
    parameters: Sequence[TunedParameter],
    environment: Sequence[Mapping[str, Any]],
    max_seconds: float | None,
) -> dict[str, Any]:
    """Put the template together.

    Args:
        options: The user's.
        parameters: What Katib tunes.
        environment: Environment variables of the container.
        max_seconds: Longest time from a trial's start to its end, waiting included; None: no limit.
    """
    is_job = options.pods.kind == "Job"
    build = _build_job if is_job else _build_train_job
    return {
        "primaryContainerName": JOB_CONTAINER if is_job else TRAIN_JOB_CONTAINER,
        "successCondition": SUCCESS_CONDITION,
        "failureCondition": FAILURE_CONDITION,
        # Pods, and so the logs, of finished trials stay until the Experiment goes.
        "retain": True,
        "trialParameters": [
            *(
                {
                    "name": parameter.parameter_name,
                    "description": parameter.description,
                    "reference": parameter.parameter_name,
                }
                for parameter in parameters
            ),
            {
                "name": TRIAL_NAME_PARAMETER,
                "description": "the trial's name, under which it leaves its model",
                "reference": "${trialSpec.Name}",
            },
        ],
        "trialSpec": build(options, list(environment), max_seconds),
    }


def _build_job(
    options: KatibOptions, environment: list[Mapping[str, Any]], max_seconds: float | None
) -> dict[str, Any]:
    pods = options.pods
    volumes, mounts = build_volumes(options)
    container = {
        "name": JOB_CONTAINER,
        "image": image_of(options),
        "command": build_command(options),
        "env": environment,
        "resources": build_resources(options),
        "volumeMounts": mounts,
        "securityContext": container_security(),
    }
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "activeDeadlineSeconds": pods.max_trial_seconds,
        "securityContext": pod_security(options),
        "serviceAccountName": pods.service_account,
        "priorityClassName": pods.priority_class,
        "imagePullSecrets": [{"name": name} for name in pods.image_pull_secrets],
        "nodeSelector": dict(pods.node_selector),
        "tolerations": build_tolerations(options),
        "affinity": dict(pods.affinity),
        "volumes": volumes,
        "containers": [without_empty(container)],
    }
    metadata = without_empty({"labels": pod_labels(options), "annotations": dict(pods.annotations)})
    template = without_empty({"metadata": metadata, "spec": without_empty(pod)})
    # A second pod under the same trial would confuse Katib, and train for nothing: its metrics are not collected.
    spec: dict[str, Any] = {"backoffLimit": 0, "template": template}
    if max_seconds is not None:
        spec["activeDeadlineSeconds"] = max(1, round(max_seconds))
    job: dict[str, Any] = {"apiVersion": "batch/v1", "kind": "Job"}
    if pods.queue:
        job["metadata"] = {"labels": _queue_label(options)}
    return job | {"spec": spec}


def _build_train_job(
    options: KatibOptions, environment: list[Mapping[str, Any]], max_seconds: float | None
) -> dict[str, Any]:
    pods = options.pods
    volumes, mounts = build_volumes(options)
    trainer = {
        "image": image_of(options),
        "command": build_command(options),
        "env": environment,
        "numNodes": pods.nodes,
        "resourcesPerNode": build_resources(options),
    }
    pod = {
        "serviceAccountName": pods.service_account,
        "volumes": volumes,
        "containers": [
            {"name": TRAIN_JOB_CONTAINER, "volumeMounts": mounts, "securityContext": container_security()},
        ],
        "imagePullSecrets": [{"name": name} for name in pods.image_pull_secrets],
        "securityContext": pod_security(options),
        "nodeSelector": dict(pods.node_selector),
        "affinity": dict(pods.affinity),
        "tolerations": build_tolerations(options),
    }
    metadata = without_empty({"labels": pod_labels(options), "annotations": dict(pods.annotations)})
    template = without_empty({"metadata": metadata, "spec": without_empty(pod)})
    patch = {"name": TRAIN_JOB_CONTAINER, "template": {"spec": {"template": template}}}
    deadline = (
        pods.max_trial_seconds if max_seconds is None else min(pods.max_trial_seconds, max(1, round(max_seconds)))
    )
    job: dict[str, Any] = {"apiVersion": "trainer.kubeflow.org/v1alpha1", "kind": "TrainJob"}
    if pods.queue:
        job["metadata"] = {"labels": _queue_label(options)}
    return job | {
        "spec": {
            "runtimeRef": {"name": pods.runtime},
            "activeDeadlineSeconds": deadline,
            "trainer": without_empty(trainer),
            "runtimePatches": [
                {
                    "manager": TRAIN_JOB_MANAGER,
                    "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [patch]}}},
                }
            ],
        }
    }


def _queue_label(options: KatibOptions) -> dict[str, str]:
    return {"kueue.x-k8s.io/queue-name": options.pods.queue}
