"""A stand-in for Katib, whose controller cannot run here: it follows Katib's documented behaviour and nothing more.

It enforces the rules of `engines.katib.request.validation` as a real validating webhook, which refuses with Go's own
words what does not fit Katib's types (recorded: a number where text belongs, such as an unquoted bound), wraps trial
pods as a real mutating webhook, makes Trials and Jobs with Katib's labels, owner references and finalizer, collects the
objective from the pods' logs, stops bad trials by its median rule, and writes status fields as Katib writes them. It
tries values at random whatever the algorithm.
"""

import base64
import contextlib
import json
import random
import re
import string
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

from kubernetes import client

from kfp_image_tuning.engines.katib.request.experiment_types import find_mistyped
from kfp_image_tuning.engines.katib.request.validation import find_problems, find_update_problems, is_completed
from kfp_image_tuning.engines.katib.session.cluster import (
    EXPERIMENT_LABEL,
    GROUP,
    INJECTION_LABEL,
    TRIAL_LABEL,
    VERSION,
)
from tests.emulators.katib_pods import (
    COLLECTOR,
    METRICS_MOUNT,
    collect_metrics,
    collector_container,
    make_trial_job,
    metric_values,
    was_stopped_early,
    wrap_command,
)
from tests.emulators.katib_status import (
    condition,
    experiment_status,
    is_ended,
    median_stop_rules,
    now,
    trial_end,
    without_times,
)
from tests.emulators.loopback_https import LoopbackServer

INTERVAL = 0.2
FINALIZER = "update-prometheus-metrics"
WATCHED_LABELS = {"kfp-image-tuning/test": "cluster"}
"""Labels of the namespaces that the stand-in looks after: the tests' own, in a cluster that others use too."""
INJECTION = {INJECTION_LABEL: "enabled"}
"""Labels of the namespaces in which Katib changes pods."""


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
    """Katib's webhooks and controllers, in threads of this process.

    Args:
        api: The connection.
        address: Where the API server reaches the webhooks.
        seed: Of the values that it tries.
    """

    def __init__(self, api: client.ApiClient, address: str = "127.0.0.1", seed: int = 0) -> None:
        self._custom = client.CustomObjectsApi(api)
        self._batch, self._core = client.BatchV1Api(api), client.CoreV1Api(api)
        self._admission = client.AdmissionregistrationV1Api(api)
        self._api = api
        self._random = random.Random(seed)
        self.paused = False
        """Whether no suggestion comes, as while Katib's suggestion service starts."""
        self.policy = ""
        """Why a policy of the cluster denies every new Experiment; empty: it does not."""
        self._observations: dict[str, list[float]] = {}
        """Trial to its objective's values: Katib's database."""
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

        self._server = LoopbackServer(Webhooks, address)
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
        if unreadable := decoding_error(new):
            return {"allowed": False, "status": {"code": 400, "message": unreadable}}
        problems = find_problems(new)
        if self.policy and not old:
            problems.append(self.policy)
        if old and old.get("spec") != new.get("spec"):
            problems += find_update_problems(old, new)
        if not problems:
            return {"allowed": True}
        return {"allowed": False, "status": {"code": 400, "message": "; ".join(problems)}}

    def _register(self) -> None:
        def webhook(path: str, rule: dict[str, Any], labels: dict[str, str]) -> dict[str, Any]:
            return {
                "name": f"{path}.katib.kubeflow.org",
                "clientConfig": {
                    "url": f"https://{self._server.address}:{self._server.port}/{path}",
                    "caBundle": base64.b64encode(self._server.certificate).decode(),
                },
                "rules": [rule],
                "namespaceSelector": {"matchLabels": labels},
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
            }

        experiments = {"apiGroups": [GROUP], "apiVersions": [VERSION], "resources": ["experiments"]}
        pods = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}
        self._admission.create_validating_webhook_configuration(
            {
                "metadata": {"name": "katib"},
                "webhooks": [
                    webhook("experiments", {**experiments, "operations": ["CREATE", "UPDATE"]}, WATCHED_LABELS)
                ],
            }
        )
        self._admission.create_mutating_webhook_configuration(
            {"metadata": {"name": "katib"}, "webhooks": [webhook("pods", pods, WATCHED_LABELS | INJECTION)]}
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
        command = wrap_command(words, early_stopping=bool(trial["spec"].get("earlyStoppingRules")), expanded=False)
        mounts = [*container.get("volumeMounts", ()), METRICS_MOUNT]
        volumes = [*pod["spec"].get("volumes", ()), {"name": METRICS_MOUNT["name"], "emptyDir": {}}]
        patch = [
            {"op": "add", "path": "/metadata/labels", "value": labels},
            {"op": "add", "path": "/spec/shareProcessNamespace", "value": True},
            {"op": "add", "path": "/spec/containers/0/command", "value": command},
            {"op": "add", "path": "/spec/containers/0/volumeMounts", "value": mounts},
            {"op": "add", "path": "/spec/volumes", "value": volumes},
            {"op": "add", "path": "/spec/containers/-", "value": collector_container(trial)},
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
        ended = [trial for trial in trials if is_ended(trial)]
        spec = experiment["spec"]
        status = experiment_status(experiment, trials)
        if not is_completed({"status": status}) and not self.paused:
            room = min(spec["parallelTrialCount"] - len(trials) + len(ended), spec["maxTrialCount"] - len(trials))
            for _ in range(room):
                self._make_trial(experiment, median_stop_rules(experiment, trials, self._observations))
        if without_times(status) != without_times(experiment.get("status", {})):
            self._set_status("experiments", experiment, status)

    def _make_trial(self, experiment: dict[str, Any], rules: list[dict[str, Any]]) -> None:
        metadata = experiment["metadata"]
        suffix = "".join(self._random.choices(string.ascii_lowercase + string.digits, k=8))
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
                "parameterAssignments": [
                    {"name": name, "value": value} for name, value in draw(experiment, self._random).items()
                ],
                "objective": experiment["spec"]["objective"],
                **({"earlyStoppingRules": rules} if rules else {}),
                "metricsCollector": experiment["spec"]["metricsCollectorSpec"],
                "primaryContainerName": experiment["spec"]["trialTemplate"]["primaryContainerName"],
            },
        }
        self._custom.create_namespaced_custom_object(GROUP, VERSION, metadata["namespace"], "trials", trial)

    def _look_after_trial(self, experiment: dict[str, Any], trial: dict[str, Any]) -> None:
        metadata = trial["metadata"]
        if is_ended(trial) or metadata.get("deletionTimestamp"):
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
            self._set_status("trials", trial, _first_status())
            return
        if not trial.get("status"):
            # The API server was away when it should have been written.
            self._set_status("trials", trial, _first_status())
            return
        conditions = job.get("status", {}).get("conditions") or ()
        ended = next((c for c in conditions if c["type"] in ("Complete", "Failed") and c["status"] == "True"), None)
        if ended is not None:
            self._end_trial(trial, ended)

    def _end_trial(self, trial: dict[str, Any], ended: Mapping[str, Any]) -> None:
        metadata, objective = trial["metadata"], trial["spec"]["objective"]
        log = self._collector_log(metadata["namespace"], metadata["name"])
        if log is None and ended["type"] == "Complete":
            # Katib waits for metrics, for ever.
            return
        log = log or ""
        names = [objective["objectiveMetricName"], *objective["additionalMetricNames"]]
        filters = trial["spec"]["metricsCollector"]["source"]["filter"]["metricsFormat"]
        self._observations[metadata["name"]] = metric_values(log, names[:1], filters).get(names[0], [])
        status = trial_end(trial, ended, collect_metrics(log, names, filters), was_stopped_early(log))
        self._set_status("trials", trial, status)

    def _collector_log(self, namespace: str, trial: str) -> str | None:
        """What the collector of the trial's last pod wrote; a pod before it was lost with its node."""
        pods = self._core.list_namespaced_pod(namespace, label_selector=f"{TRIAL_LABEL}={trial}").items
        there = [pod for pod in pods if pod.metadata.deletion_timestamp is None]
        if not there:
            return None
        pod = max(there, key=lambda item: item.metadata.creation_timestamp)
        return str(self._core.read_namespaced_pod_log(pod.metadata.name, namespace, container=COLLECTOR))

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


def decoding_error(experiment: Mapping[str, Any]) -> str:
    """What Go's JSON reader says of the first value that does not fit Katib's types; empty: all fit."""
    first = next(find_mistyped(experiment), None)
    if first is None:
        return ""
    value = first.value
    kinds = {bool: "bool", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    kind = kinds[type(value)]
    if kind == "number" and first.wanted == "int32":
        kind = f"number {value}"
    field = re.sub(r"\[\d+\]", "", first.place)
    return f"json: cannot unmarshal {kind} into Go struct field {first.owner}.{field} of type {first.wanted}"


def draw(experiment: Mapping[str, Any], source: random.Random) -> dict[str, str]:
    """Values for all parameters of an Experiment."""

    def draw_one(parameter: Mapping[str, Any]) -> str:
        space = parameter["feasibleSpace"]
        if space.get("list"):
            return str(source.choice(space["list"]))
        low, high = float(space["min"]), float(space["max"])
        if space.get("distribution") == "logUniform":
            value = low * (high / low) ** source.random()
        else:
            value = source.uniform(low, high)
        return str(round(value)) if parameter["parameterType"] == "int" else str(value)

    return {parameter["name"]: draw_one(parameter) for parameter in experiment["spec"]["parameters"]}


def _owner(resource: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": resource["apiVersion"],
        "kind": resource["kind"],
        "name": resource["metadata"]["name"],
        "uid": resource["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _first_status() -> dict[str, Any]:
    conditions = [condition("Created", "TrialCreated", "Trial is created")]
    return {"startTime": now(), "conditions": [*conditions, condition("Running", "TrialRunning", "Trial is running")]}
