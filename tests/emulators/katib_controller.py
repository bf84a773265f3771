"""A stand-in for Katib, whose controller cannot run here: it follows Katib's documented behaviour and nothing more.

It enforces the rules of `kfp_image_tuning.katib.validation` as a real validating webhook, wraps trial pods as a real
mutating webhook, makes Trials and Jobs with Katib's labels, owner references and finalizer, collects the objective
from the pods' logs, and writes status fields as Katib writes them. It tries values at random whatever the
algorithm, and ends no trial early.
"""

import base64
import contextlib
import datetime
import json
import random
import string
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

from kubernetes import client

from kfp_image_tuning.katib.cluster import EXPERIMENT_LABEL, GROUP, TRIAL_LABEL, VERSION
from kfp_image_tuning.katib.validation import find_problems, find_update_problems, has_condition, is_completed
from tests.emulators.katib_pods import collect_metrics, make_trial_job, wrap_command
from tests.emulators.loopback_https import LoopbackServer

INTERVAL = 0.2
FINALIZER = "update-prometheus-metrics"


def custom_resource_definitions() -> list[dict[str, Any]]:
    """Katib's three kinds, which the API server itself does not check either."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return [
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{kind.lower()}s.{GROUP}"},
            "spec": {
                "group": GROUP,
                "scope": "Namespaced",
                "names": {"kind": kind, "plural": f"{kind.lower()}s", "singular": kind.lower()},
                "versions": [
                    {
                        "name": VERSION,
                        "served": True,
                        "storage": True,
                        "subresources": {"status": {}},
                        "schema": {"openAPIV3Schema": schema},
                    }
                ],
            },
        }
        for kind in ("Experiment", "Suggestion", "Trial")
    ]


class KatibStandIn:
    """Katib's webhooks and controllers, in threads of this process."""

    def __init__(self, api: client.ApiClient, seed: int = 0) -> None:
        self._custom = client.CustomObjectsApi(api)
        self._batch, self._core = client.BatchV1Api(api), client.CoreV1Api(api)
        self._admission = client.AdmissionregistrationV1Api(api)
        self._api = api
        self._random = random.Random(seed)
        self.paused = False
        """Whether no suggestion comes, as while Katib's suggestion service starts."""
        self._ended = threading.Event()
        katib = self

        class Webhooks(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                answer = katib.review(urlsplit(self.path).path, review["request"])
                body = json.dumps({**review, "response": {"uid": review["request"]["uid"], **answer}}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = LoopbackServer(Webhooks)
        self._register()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self._admission.delete_validating_webhook_configuration("katib")
        self._admission.delete_mutating_webhook_configuration("katib")
        self._server.close()

    def review(self, path: str, request: dict[str, Any]) -> dict[str, Any]:
        """Answer an admission review."""
        if path == "/pods":
            return self._wrap_pod(request)
        new, old = request["object"], request.get("oldObject")
        problems = find_problems(new)
        if old and old.get("spec") != new.get("spec"):
            problems += find_update_problems(old, new)
        if not problems:
            return {"allowed": True}
        return {"allowed": False, "status": {"code": 400, "message": "; ".join(problems)}}

    def _register(self) -> None:
        def webhook(path: str, rule: dict[str, Any]) -> dict[str, Any]:
            return {
                "name": f"{path}.katib.kubeflow.org",
                "clientConfig": {
                    "url": f"https://127.0.0.1:{self._server.port}/{path}",
                    "caBundle": base64.b64encode(self._server.certificate).decode(),
                },
                "rules": [rule],
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
            }

        experiments = {"apiGroups": [GROUP], "apiVersions": [VERSION], "resources": ["experiments"]}
        pods = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}
        self._admission.create_validating_webhook_configuration(
            {
                "metadata": {"name": "katib"},
                "webhooks": [webhook("experiments", {**experiments, "operations": ["CREATE", "UPDATE"]})],
            }
        )
        self._admission.create_mutating_webhook_configuration(
            {"metadata": {"name": "katib"}, "webhooks": [webhook("pods", pods)]}
        )

    def _wrap_pod(self, request: dict[str, Any]) -> dict[str, Any]:
        """Label the pods of trials and wrap their command."""
        pod = request["object"]
        owners = pod["metadata"].get("ownerReferences") or []
        if not owners or owners[0]["kind"] != "Job":
            return {"allowed": True}
        try:
            trial = self._custom.get_namespaced_custom_object(
                GROUP, VERSION, request["namespace"], "trials", owners[0]["name"]
            )
        except client.ApiException:
            return {"allowed": True}
        labels = {**pod["metadata"].get("labels", {}), **trial["metadata"]["labels"], TRIAL_LABEL: owners[0]["name"]}
        container = pod["spec"]["containers"][0]
        words = [*container["command"], *container.get("args", ())]
        command = wrap_command(words, early_stopping=bool(trial["spec"].get("earlyStopping")), expanded=False)
        patch = [
            {"op": "add", "path": "/metadata/labels", "value": labels},
            {"op": "add", "path": "/spec/shareProcessNamespace", "value": True},
            {"op": "add", "path": "/spec/containers/0/command", "value": command},
        ]
        return {
            "allowed": True,
            "patchType": "JSONPatch",
            "patch": base64.b64encode(json.dumps(patch).encode()).decode(),
        }

    def _run(self) -> None:
        while not self._ended.wait(INTERVAL):
            # The API server may be away: the next round tries again.
            with contextlib.suppress(Exception):
                found = self._custom.list_cluster_custom_object(GROUP, VERSION, "experiments", _request_timeout=5)
                for experiment in found["items"]:
                    with contextlib.suppress(client.ApiException):
                        self._look_after(experiment)

    def _look_after(self, experiment: dict[str, Any]) -> None:
        metadata = experiment["metadata"]
        if metadata.get("deletionTimestamp"):
            self._patch("experiments", experiment, {"metadata": {"finalizers": None}})
            return
        if FINALIZER not in (metadata.get("finalizers") or ()):
            self._patch("experiments", experiment, {"metadata": {"finalizers": [FINALIZER]}})
        trials = self._trials_of(experiment)
        if is_completed(experiment):
            return
        for trial in trials:
            self._look_after_trial(experiment, trial)
        trials = self._trials_of(experiment)
        ended = [trial for trial in trials if _is_ended(trial)]
        spec = experiment["spec"]
        status = self._make_status(experiment, trials)
        if not is_completed({"status": status}) and not self.paused:
            room = min(spec["parallelTrialCount"] - len(trials) + len(ended), spec["maxTrialCount"] - len(trials))
            for _ in range(room):
                self._make_trial(experiment)
        if _without_times(status) != _without_times(experiment.get("status", {})):
            self._set_status("experiments", experiment, status)

    def _make_status(self, experiment: dict[str, Any], trials: list[dict[str, Any]]) -> dict[str, Any]:
        spec, objective = experiment["spec"], experiment["spec"]["objective"]
        names: dict[str, list[str]] = {"Succeeded": [], "Failed": [], "MetricsUnavailable": [], "Running": []}
        for trial in trials:
            kind = next(
                (kind for kind in ("MetricsUnavailable", "Failed", "Succeeded") if has_condition(trial, kind)), None
            )
            names[kind or "Running"].append(trial["metadata"]["name"])
        metric = objective["objectiveMetricName"]
        strategy = next((s["value"] for s in objective["metricStrategies"] if s["name"] == metric), "max")
        scored = [
            (float(_observed(trial, metric)[strategy]), trial) for trial in trials if has_condition(trial, "Succeeded")
        ]
        best = max(scored, key=lambda pair: pair[0], default=None)
        status: dict[str, Any] = {
            "startTime": experiment.get("status", {}).get("startTime") or _now(),
            "trials": len(trials),
            "trialsSucceeded": len(names["Succeeded"]),
            "trialsFailed": len(names["Failed"]),
            "trialMetricsUnavailable": len(names["MetricsUnavailable"]),
            "trialsRunning": len(names["Running"]),
            "conditions": [_condition("Created", "ExperimentCreated", "Experiment is created")],
        }
        if best is not None:
            status["currentOptimalTrial"] = {
                "bestTrialName": best[1]["metadata"]["name"],
                "parameterAssignments": best[1]["spec"]["parameterAssignments"],
                "observation": best[1]["status"]["observation"],
            }
        failed = len(names["Failed"]) + len(names["MetricsUnavailable"])
        done = len(names["Succeeded"]) + failed
        if best is not None and best[0] >= objective.get("goal", float("inf")):
            status["conditions"].append(_condition("Succeeded", "ExperimentGoalReached", "Objective goal is reached"))
        elif failed >= spec.get("maxFailedTrialCount", float("inf")):
            reason = "Experiment has failed because max failed count has reached"
            status["conditions"].append(_condition("Failed", "ExperimentMaxFailedTrialsReached", reason))
        elif done >= spec["maxTrialCount"]:
            reason = "Experiment has succeeded because max trial count has reached"
            status["conditions"].append(_condition("Succeeded", "ExperimentMaxTrialsReached", reason))
        else:
            status["conditions"].append(_condition("Running", "ExperimentRunning", "Experiment is running"))
        return status

    def _make_trial(self, experiment: dict[str, Any]) -> None:
        metadata = experiment["metadata"]
        suffix = "".join(self._random.choices(string.ascii_lowercase + string.digits, k=8))
        assignments = [
            {"name": parameter["name"], "value": self._draw(parameter)}
            for parameter in experiment["spec"]["parameters"]
        ]
        trial = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": "Trial",
            "metadata": {
                "name": f"{metadata['name']}-{suffix}",
                "namespace": metadata["namespace"],
                "labels": {**metadata.get("labels", {}), EXPERIMENT_LABEL: metadata["name"]},
                "ownerReferences": [_owner(experiment)],
            },
            "spec": {
                "parameterAssignments": assignments,
                "objective": experiment["spec"]["objective"],
                "earlyStopping": experiment["spec"].get("earlyStopping"),
                "primaryContainerName": experiment["spec"]["trialTemplate"]["primaryContainerName"],
            },
        }
        self._custom.create_namespaced_custom_object(GROUP, VERSION, metadata["namespace"], "trials", trial)

    def _draw(self, parameter: Mapping[str, Any]) -> str:
        space = parameter["feasibleSpace"]
        if space.get("list"):
            return str(self._random.choice(space["list"]))
        low, high = float(space["min"]), float(space["max"])
        if space.get("distribution") == "logUniform":
            value = low * (high / low) ** self._random.random()
        else:
            value = self._random.uniform(low, high)
        return str(round(value)) if parameter["parameterType"] == "int" else str(value)

    def _look_after_trial(self, experiment: dict[str, Any], trial: dict[str, Any]) -> None:
        metadata = trial["metadata"]
        if _is_ended(trial) or metadata.get("deletionTimestamp"):
            return
        try:
            job = self._api.sanitize_for_serialization(
                self._batch.read_namespaced_job(metadata["name"], metadata["namespace"])
            )
        except client.ApiException as error:
            if error.status != 404:
                raise
            assignments = {entry["name"]: entry["value"] for entry in trial["spec"]["parameterAssignments"]}
            job = make_trial_job(experiment, metadata["name"], assignments)
            job["metadata"]["ownerReferences"] = [_owner(trial)]
            job["metadata"]["labels"] = {
                **job["metadata"].get("labels", {}),
                EXPERIMENT_LABEL: experiment["metadata"]["name"],
            }
            self._batch.create_namespaced_job(metadata["namespace"], job)
            running = [_condition("Created", "TrialCreated", "Trial is created")]
            running.append(_condition("Running", "TrialRunning", "Trial is running"))
            self._set_status("trials", trial, {"startTime": _now(), "conditions": running})
            return
        conditions = job.get("status", {}).get("conditions") or ()
        ended = next((c for c in conditions if c["type"] in ("Complete", "Failed") and c["status"] == "True"), None)
        if ended is not None:
            self._end_trial(trial, ended)

    def _end_trial(self, trial: dict[str, Any], ended: Mapping[str, Any]) -> None:
        objective = trial["spec"]["objective"]
        status = {**trial["status"], "completionTime": _now()}
        if ended["type"] == "Failed":
            message = f"Trial has failed. Job message: {ended.get('message')}"
            condition = _condition("Failed", "TrialFailed", message)
        else:
            metadata = trial["metadata"]
            selector = f"{TRIAL_LABEL}={metadata['name']}"
            (pod,) = self._core.list_namespaced_pod(metadata["namespace"], label_selector=selector).items
            log = self._core.read_namespaced_pod_log(pod.metadata.name, metadata["namespace"])
            metrics = collect_metrics(log, [objective["objectiveMetricName"], *objective["additionalMetricNames"]])
            status["observation"] = {"metrics": [{"name": name, **values} for name, values in metrics.items()]}
            condition = _condition("Succeeded", "TrialSucceeded", "Trial has succeeded")
            if objective["objectiveMetricName"] not in metrics:
                condition = _condition("MetricsUnavailable", "MetricsUnavailable", "Metrics are not available")
        status["conditions"] = [c for c in status["conditions"] if c["type"] == "Created"]
        status["conditions"].append(condition)
        self._set_status("trials", trial, status)

    def _trials_of(self, experiment: dict[str, Any]) -> list[dict[str, Any]]:
        metadata = experiment["metadata"]
        selector = f"{EXPERIMENT_LABEL}={metadata['name']}"
        found: dict[str, Any] = self._custom.list_namespaced_custom_object(
            GROUP, VERSION, metadata["namespace"], "trials", label_selector=selector
        )
        return list(found["items"])

    def _set_status(self, plural: str, resource: dict[str, Any], status: dict[str, Any]) -> None:
        metadata = resource["metadata"]
        self._custom.patch_namespaced_custom_object_status(
            GROUP, VERSION, metadata["namespace"], plural, metadata["name"], {"status": status}
        )

    def _patch(self, plural: str, resource: dict[str, Any], changes: dict[str, Any]) -> None:
        metadata = resource["metadata"]
        self._custom.patch_namespaced_custom_object(
            GROUP, VERSION, metadata["namespace"], plural, metadata["name"], changes
        )


def _is_ended(trial: Mapping[str, Any]) -> bool:
    return any(
        has_condition(trial, kind) for kind in ("Succeeded", "Failed", "MetricsUnavailable", "EarlyStopped", "Killed")
    )


def _observed(trial: Mapping[str, Any], metric: str) -> dict[str, str]:
    found: dict[str, str] = next(m for m in trial["status"]["observation"]["metrics"] if m["name"] == metric)
    return found


def _owner(resource: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": resource["apiVersion"],
        "kind": resource["kind"],
        "name": resource["metadata"]["name"],
        "uid": resource["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _condition(kind: str, reason: str, message: str) -> dict[str, Any]:
    moment = _now()
    return {
        "type": kind,
        "status": "True",
        "reason": reason,
        "message": message,
        "lastUpdateTime": moment,
        "lastTransitionTime": moment,
    }


def _without_times(status: Mapping[str, Any]) -> Any:
    return json.loads(
        json.dumps(
            {
                **status,
                "conditions": [
                    {name: value for name, value in condition.items() if not name.endswith("Time")}
                    for condition in status.get("conditions", ())
                ],
            }
        )
    )


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
