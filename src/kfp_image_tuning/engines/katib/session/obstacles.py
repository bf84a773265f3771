"""What holds a trial back or ended it, in plain words, from what Kubernetes says of its pod and its Job."""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

COLLECTOR_CONTAINERS = ("metrics-logger-and-collector", "metrics-collector")
"""Katib's own container in the pod."""
IMAGE_PROBLEMS = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable")
CONFIGURATION_PROBLEMS = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
LONGEST_REASON = 400
USUAL_START_SECONDS = 60.0
"""After so long on its node without a running container, a pod's start is worth a word."""


def why_pod_waits(pod: Mapping[str, Any]) -> str:
    """Why a pod does not run yet; empty if it does, or if nothing stands in its way."""
    status = pod.get("status", {})
    if status.get("phase") != "Pending":
        return ""
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            message = condition.get("message") or condition.get("reason", "no reason given")
            return f"waits for a node: {_shorten(message)}{_scheduling_hint(message)}"
    for container in _containers(status):
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason, message = waiting.get("reason", ""), _shorten(waiting.get("message", ""))
        if reason in IMAGE_PROBLEMS:
            name = container.get("image")
            return f"the image {name} cannot be pulled: {message or reason}; check its name and image_pull_secrets"
        if reason in CONFIGURATION_PROBLEMS:
            return f"the container {container['name']} cannot be made: {message or reason}"
    return ""


def why_pod_does_not_start(pod: Mapping[str, Any], events: Iterable[Mapping[str, Any]], now: float) -> str:
    """Why a pod that has a node has no running container after a while; empty if it has, or is still on its way.

    Args:
        pod: The pod.
        events: The namespace's warnings.
        now: Unix time.
    """
    status = pod.get("status", {})
    bound = [
        condition.get("lastTransitionTime")
        for condition in status.get("conditions") or ()
        if condition["type"] == "PodScheduled" and condition["status"] == "True"
    ]
    times = [datetime.fromisoformat(time).timestamp() for time in bound if time]
    if status.get("phase") != "Pending" or not times or now - times[0] < USUAL_START_SECONDS:
        return ""
    waiting = [(container.get("state") or {}).get("waiting") or {} for container in _containers(status)]
    state = next((entry["reason"] for entry in waiting if entry.get("reason")), "no container's state is known")
    place = f"on node {pod.get('spec', {}).get('nodeName')} but not started ({state})"
    if claim := _claim_in_two_volumes(pod):
        return (
            f"{place}: two of the pod's volumes are the claim {claim}, which a kubelet never mounts; keep one of them "
            "and mount it twice (subPath)"
        )
    if event := _last_warning(pod["metadata"]["name"], events):
        return f"{place}: {event.get('reason')}: {_shorten(event.get('message', ''))}"
    return (
        f"{place}, and no event says why: a large image takes minutes to pull, a volume may not be mountable there; "
        "kubectl describe pod tells more"
    )


def _last_warning(pod: str, events: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """What the kubelet has said last of a pod; the scheduler's words are of the past once it has a node."""
    found = [
        event
        for event in events
        if (event.get("involvedObject") or {}).get("kind") == "Pod"
        and event["involvedObject"].get("name") == pod
        and event.get("reason") != "FailedScheduling"
    ]
    return max(found, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""), default=None)


def _claim_in_two_volumes(pod: Mapping[str, Any]) -> str:
    volumes = pod.get("spec", {}).get("volumes") or ()
    claims = [volume["persistentVolumeClaim"]["claimName"] for volume in volumes if volume.get("persistentVolumeClaim")]
    return next((claim for claim in claims if claims.count(claim) > 1), "")


def why_pod_failed(pod: Mapping[str, Any]) -> str:
    """Why a pod failed; empty if it did not."""
    status = pod.get("status", {})
    reason = status.get("reason", "")
    if reason == "DeadlineExceeded":
        return "it ran longer than max_trial_seconds allows (DeadlineExceeded)"
    if reason == "Evicted":
        return f"its node evicted it: {_shorten(status.get('message', ''))}"
    if reason in ("NodeLost", "NodeShutdown", "Terminated"):
        return f"its node {pod.get('spec', {}).get('nodeName', '')} was lost ({reason})"
    for condition in status.get("conditions") or ():
        if condition["type"] == "DisruptionTarget" and condition["status"] == "True":
            return f"it was taken off its node: {_shorten(condition.get('message') or condition.get('reason', ''))}"
    for container in _containers(status):
        if container["name"] in COLLECTOR_CONTAINERS and len(_containers(status)) > 1:
            continue
        ended = (container.get("state") or {}).get("terminated") or {}
        if ended.get("reason") == "OOMKilled" or (ended.get("exitCode") == 137 and not reason):
            return f"it was killed for lack of memory{_memory_limit(pod, container['name'])}; ask for more (memory)"
        if ended.get("exitCode"):
            message = _shorten(ended.get("message", ""))
            return f"its container ended with status {ended['exitCode']}{': ' + message if message else ''}"
    return ""


def is_on_lost_node(pod: Mapping[str, Any]) -> bool:
    """Whether a pod counts as running while nothing is heard of its node.

    The node controller then calls the pod unready, and nobody tells that its containers have ended.
    """
    status = pod.get("status", {})
    unready = any(
        condition["type"] == "Ready" and condition["status"] != "True" for condition in status.get("conditions") or ()
    )
    states = [container.get("state") or {} for container in status.get("containerStatuses") or ()]
    return status.get("phase") == "Running" and unready and bool(states) and all("running" in state for state in states)


def why_job_waits(job: Mapping[str, Any], warnings: Iterable[Mapping[str, Any]]) -> str:
    """Why a Job has no pod: it is suspended, or the cluster refuses the pod."""
    name = job["metadata"]["name"]
    if job.get("spec", {}).get("suspend"):
        queue = (job["metadata"].get("labels") or {}).get("kueue.x-k8s.io/queue-name")
        return f"waits for Kueue's queue {queue} to admit it" if queue else "is suspended"
    if has_pods(job):
        return ""
    for event in warnings:
        about = event.get("involvedObject") or {}
        if about.get("kind") == "Job" and about.get("name") == name and event.get("reason") == "FailedCreate":
            return (
                f"no pod is admitted: {_shorten(event.get('message', ''))}{_admission_hint(event.get('message', ''))}"
            )
    return ""


def has_pods(job: Mapping[str, Any]) -> bool:
    """Whether a Job has made a pod."""
    status = job.get("status", {})
    return any(status.get(count) for count in ("active", "succeeded", "failed"))


def last_lines(log: str, count: int = 8) -> str:
    """The end of a trial's log, in one line, without the collector's own marks."""
    lines = [line for line in map(clean_log_line, log.splitlines()) if line.strip()]
    return " | ".join(line.strip()[:200] for line in lines[-count:])


_KLOG = re.compile(r"^[IWEF]\d{4} [\d:.]+\s+\d+ [\w.-]+:\d+\] ?")


def clean_log_line(line: str) -> str:
    """A line as the trainer wrote it: Katib's collector repeats each with a mark of its own in front."""
    return _KLOG.sub("", line)


def _containers(status: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _memory_limit(pod: Mapping[str, Any], name: str) -> str:
    for container in pod.get("spec", {}).get("containers", ()):
        limit = ((container.get("resources") or {}).get("limits") or {}).get("memory")
        if container["name"] == name and limit:
            return f" (limit {limit})"
    return ""


def _scheduling_hint(message: str) -> str:
    return "".join(f"; {hint}" for hint in _find_hints(message))


def _find_hints(message: str) -> Iterator[str]:
    if "untolerated taint" in message or "didn't tolerate" in message:
        yield "give the pods a toleration (tolerations)"
    if "node affinity" in message or "node selector" in message:
        yield "no node has the labels that are asked for (node_selector, affinity)"
    if "persistentvolumeclaim" in message.lower() and "not found" in message:
        yield "check the claim's name in data and models"


def _admission_hint(message: str) -> str:
    if "exceeded quota" in message:
        return "; ask for less, run fewer at a time (parallel_trials), or have the quota raised"
    if "violates PodSecurity" in message:
        return (
            "; Katib's own container in the pod must meet the same rules: set injectSecurityContext in Katib's "
            "configuration"
        )
    return ""


def _shorten(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST_REASON else text[: LONGEST_REASON - 1] + "…"
