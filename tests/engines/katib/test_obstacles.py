"""What Kubernetes says of pods and Jobs, in words for a reader."""

from typing import Any

import pytest

from kfp_image_tuning.engines.katib.session.obstacles import (
    has_pods,
    is_on_lost_node,
    last_lines,
    why_job_waits,
    why_pod_does_not_start,
    why_pod_failed,
    why_pod_waits,
)

TRAINER, COLLECTOR = "trainer", "metrics-logger-and-collector"
LIMITS = [{"name": TRAINER, "resources": {"limits": {"memory": "16Gi"}}}, {"name": COLLECTOR}]


def pod(phase: str, *containers: dict[str, Any], **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "trial-abc"},
        "spec": {"nodeName": "gpu-1", "containers": LIMITS},
        "status": {"phase": phase, "containerStatuses": list(containers), **status},
    }


def ended(code: int, reason: str = "Error", name: str = TRAINER, message: str = "") -> dict[str, Any]:
    return {"name": name, "state": {"terminated": {"exitCode": code, "reason": reason, "message": message}}}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"name": TRAINER, "image": "team/trainer:1", "state": {"waiting": {"reason": reason, "message": message}}}


def unschedulable(message: str) -> dict[str, Any]:
    return pod("Pending", conditions=[{"type": "PodScheduled", "status": "False", "message": message}])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (unschedulable("0/3 nodes: 3 Insufficient nvidia.com/gpu."), ["waits for a node: 0/3 nodes", "nvidia.com/gpu"]),
        (unschedulable("1 node(s) had untolerated taint {gpu: }"), ["give the pods a toleration"]),
        (unschedulable("didn't match Pod's node affinity/selector"), ["no node has the labels"]),
        (unschedulable('persistentvolumeclaim "imagez" not found'), ["check the claim's name in data and models"]),
        (pod("Pending", waiting("ImagePullBackOff", "Back-off")), ["team/trainer:1 cannot be pulled: Back-off"]),
        (pod("Pending", waiting("CreateContainerConfigError", 'secret "s3" not found')), ['secret "s3" not found']),
        (pod("Pending", waiting("ContainerCreating")), []),
        (pod("Running"), []),
    ],
)
def test_why_a_pod_waits(given: dict[str, Any], words: list[str]) -> None:
    reason = why_pod_waits(given)
    assert bool(reason) == bool(words)
    for word in words:
        assert word in reason


BOUND_AT = 1_700_000_000.0
BOUND = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": "2023-11-14T22:13:20Z"}]


def pod_warning(reason: str, message: str, at: str = "22:14:00", name: str = "trial-abc") -> dict[str, Any]:
    about = {"kind": "Pod", "name": name}
    return {"involvedObject": about, "reason": reason, "message": message, "lastTimestamp": f"2023-11-14T{at}Z"}


def on_claims(*claims: str) -> dict[str, Any]:
    given = pod("Pending", waiting("ContainerCreating"), conditions=BOUND)
    given["spec"]["volumes"] = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in claims]
    return given


@pytest.mark.parametrize(
    ("given", "events", "words"),
    [
        (on_claims("images"), [], ["on node gpu-1 but not started (ContainerCreating)", "no event says why"]),
        (on_claims("images", "models"), [], ["no event says why"]),
        (on_claims("images", "images"), [], ["two of the pod's volumes are the claim images", "subPath"]),
        (on_claims(), [pod_warning("FailedMount", 'secret "s3" not found')], ['FailedMount: secret "s3" not found']),
        (
            on_claims(),
            [pod_warning("FailedMount", "late", "22:15:00"), pod_warning("FailedMount", "early")],
            ["FailedMount: late"],
        ),
        (on_claims(), [pod_warning("FailedScheduling", "0/1 nodes")], ["no event says why"]),
        (on_claims(), [pod_warning("FailedMount", "elsewhere", name="other")], ["no event says why"]),
        (pod("Running", conditions=BOUND), [pod_warning("BackOff", "restarting")], []),
        (pod("Pending"), [], []),
    ],
)
def test_why_a_pod_that_has_a_node_does_not_start(
    given: dict[str, Any], events: list[dict[str, Any]], words: list[str]
) -> None:
    reason = why_pod_does_not_start(given, events, BOUND_AT + 100)
    assert bool(reason) == bool(words)
    for word in words:
        assert word in reason
    # A pod wants some time in any case.
    assert why_pod_does_not_start(given, events, BOUND_AT + 20) == ""


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (pod("Failed", ended(137, "OOMKilled")), ["lack of memory (limit 16Gi)", "ask for more"]),
        (pod("Failed", ended(137)), ["lack of memory (limit 16Gi)"]),
        (pod("Failed", ended(3, message="no data")), ["ended with status 3: no data"]),
        # The collector fails because the trainer does: it is not the reason.
        (pod("Failed", ended(255, name=COLLECTOR), ended(3)), ["ended with status 3"]),
        (pod("Failed", ended(137), reason="DeadlineExceeded"), ["longer than max_trial_seconds"]),
        (pod("Failed", reason="Evicted", message="low on disk"), ["its node evicted it: low on disk"]),
        (pod("Failed", reason="NodeLost"), ["its node gpu-1 was lost"]),
        (
            pod("Failed", conditions=[{"type": "DisruptionTarget", "status": "True", "message": "preempted"}]),
            ["taken off its node: preempted"],
        ),
        (pod("Succeeded", ended(0, "Completed")), []),
    ],
)
def test_why_a_pod_failed(given: dict[str, Any], words: list[str]) -> None:
    reason = why_pod_failed(given)
    assert bool(reason) == bool(words)
    for word in words:
        assert word in reason


RUNS = {"name": TRAINER, "state": {"running": {}}}
READY, UNREADY = ({"type": "Ready", "status": status} for status in ("True", "False"))


@pytest.mark.parametrize(
    ("given", "lost"),
    [
        (pod("Running", RUNS, conditions=[UNREADY]), True),
        (pod("Running", RUNS, conditions=[READY]), False),
        # A container has ended and the other is about to: unready, but heard of.
        (pod("Running", ended(0), {"name": COLLECTOR, "state": {"running": {}}}, conditions=[UNREADY]), False),
        (pod("Pending", conditions=[UNREADY]), False),
    ],
)
def test_a_node_is_lost_when_its_pods_are_unready_and_nobody_says_why(given: dict[str, Any], lost: bool) -> None:
    assert is_on_lost_node(given) == lost


def job(status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    labels = {"kueue.x-k8s.io/queue-name": "team"} if spec else {}
    return {"metadata": {"name": "trial", "labels": labels}, "spec": spec, "status": status or {}}


def warning(message: str, name: str = "trial") -> dict[str, Any]:
    return {"involvedObject": {"kind": "Job", "name": name}, "reason": "FailedCreate", "message": message}


@pytest.mark.parametrize(
    ("given", "event", "words"),
    [
        (job(suspend=True), warning(""), ["waits for Kueue's queue team"]),
        (job(), warning("exceeded quota: small"), ["no pod is admitted: exceeded quota: small", "quota raised"]),
        (job(), warning("violates PodSecurity restricted"), ["injectSecurityContext"]),
        (job(), warning("exceeded quota", name="another"), []),
        (job({"active": 1}), warning("exceeded quota: small"), []),
    ],
)
def test_why_a_job_has_no_pod(given: dict[str, Any], event: dict[str, Any], words: list[str]) -> None:
    reason = why_job_waits(given, [event])
    assert bool(reason) == bool(words)
    for word in words:
        assert word in reason


def test_a_job_has_pods_when_one_runs_or_has_run() -> None:
    assert [has_pods(job(status)) for status in ({}, {"active": 1}, {"succeeded": 1}, {"failed": 1})] == [
        False,
        True,
        True,
        True,
    ]


def test_the_end_of_a_log_is_without_the_collectors_marks() -> None:
    log = "I1124 21:30:01.000000      14 main.go:139] Reading\nI1124 21:30:02.000000      14 main.go:139] no file\n\n"
    assert last_lines(log) == "Reading | no file"
