"""What is known of a running search: its Experiments, Trials and pods, and the updates that follow from each change."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from kfp_image_tuning.engines.katib.request.experiment import PlannedExperiment
from kfp_image_tuning.engines.katib.request.locations import Location
from kfp_image_tuning.engines.katib.request.validation import has_condition, is_completed
from kfp_image_tuning.engines.katib.session.cluster import EXPERIMENT_LABEL, TRIAL_LABEL, Cluster
from kfp_image_tuning.engines.katib.session.model_store import ModelStore
from kfp_image_tuning.engines.katib.session.obstacles import (
    COLLECTOR_CONTAINERS,
    has_pods,
    is_on_lost_node,
    last_lines,
    why_job_waits,
    why_pod_does_not_start,
    why_pod_failed,
    why_pod_waits,
)
from kfp_image_tuning.engines.katib.session.trial_status import TrialLog, stopped, trial_from
from kfp_image_tuning.engines.katib.session.watching import Change
from kfp_image_tuning.engines.protocol import Event
from kfp_image_tuning.search.result import Trial
from kfp_image_tuning.search.search import Search

LOG_SECONDS = 10.0
"""Between two looks into the logs of running trials."""
UNEXPLAINED_SECONDS = 5.0
"""Between two questions why trials have no pod, or one that does not start."""
MOST_JOBS_ASKED = 20
"""At a time; the reason is mostly the same for all."""
LOG_TAIL = 4000
"""Lines read of a finished trial's log."""


class Tracker:
    """Keeps the state of a search up to date.

    Args:
        cluster: Where it runs.
        search: What is searched.
        models: Where trials leave their models.
    """

    def __init__(self, cluster: Cluster, search: Search, models: Location) -> None:
        self._cluster = cluster
        self._search = search
        self._planned: dict[str, PlannedExperiment] = {}
        self._models = models
        self._logs: dict[str, TrialLog] = {}
        self._pods: dict[str, dict[str, Any]] = {}
        self._resources: dict[str, dict[str, Any]] = {}
        self._last_read = 0.0
        self._last_note = ""
        self._last_asked = 0.0
        self._reasons: dict[str, str] = {}
        self.experiments: dict[str, Mapping[str, Any]] = {}
        self.trials: dict[str, Trial] = {}
        self.deleted: list[str] = []
        self.is_unwatched = False
        """Whether a trial's pod lacks what Katib adds to it, so that nothing will ever be collected."""

    def begin(self, planned: Sequence[PlannedExperiment], experiments: Sequence[Mapping[str, Any]]) -> None:
        """Follow Experiments from now on.

        Args:
            planned: As planned.
            experiments: As the API server has them.
        """
        self._planned = {experiment.name: experiment for experiment in planned}
        self.experiments = {experiment["metadata"]["name"]: experiment for experiment in experiments}

    def attach(self, resources: Sequence[dict[str, Any]]) -> None:
        """Take up Trials that were there before, with what their logs tell."""
        for pod in self._cluster.pods(self._selector):
            self._pods[pod["metadata"]["uid"]] = pod
        for resource in resources:
            self._resources[resource["metadata"]["name"]] = resource
            trial = self._describe(resource, whole_log=True)
            if has_condition(resource, "Running") or trial.is_finished:
                self.trials[trial.name] = trial

    def take(self, change: Change) -> Iterator[Event]:
        """Act on one change."""
        if change.problem:
            yield Event(kind="waiting", note=f"the API server does not answer ({change.problem}); trying again")
        elif change.plural == "experiments":
            name = change.object["metadata"]["name"]
            self.experiments[name] = change.object
            if change.deleted and name in self._planned:
                self.deleted.append(name)
        elif change.plural == "pods":
            if change.deleted:
                self._pods.pop(change.object["metadata"]["uid"], None)
            else:
                self._pods[change.object["metadata"]["uid"]] = change.object
        elif not change.deleted:
            yield from self._take_trial(change.object)

    def read_logs(self, at_once: bool = False) -> Iterator[Event]:
        """Look for new epochs of running trials, now and then."""
        since = time.monotonic() - self._last_read
        if since < LOG_SECONDS and not at_once:
            return
        first = self._last_read == 0.0
        self._last_read = time.monotonic()
        for name, trial in [*self.trials.items()]:
            pod = self._pod_of(name)
            if trial.is_finished or pod is None or pod.get("status", {}).get("phase") != "Running":
                continue
            # Twice the time, because the pod's clock is not ours.
            text = self._cluster.log(*_logged(pod), seconds=None if first else 2 * since + 5)
            if self._log_of(name, pod).read(text):
                self.trials[name] = self._describe(self._resources[name])
                yield Event(kind="progress", trial=self.trials[name])

    def refresh(self) -> Iterator[Event]:
        """Look at all Trials once more, when the Experiments are over."""
        for resource in self._cluster.find("trials", self._selector):
            yield from self._take_trial(resource)

    def end_running(self, models: ModelStore) -> Iterator[Event]:
        """What still runs ends with the search, and keeps what it has reached if its model came out in time."""
        for name, trial in [*self.trials.items()]:
            if not trial.is_finished:
                ended = self._with_model(stopped(trial, time.time()))
                if ended.model_uri is not None and not models.holds(ended.model_uri):
                    note = f"it was at {ended.objective:.4f} when it was ended, and left no model"
                    ended = replace(ended, objective=None, best_epoch=None, model_uri=None, note=note)
                self.trials[name] = ended
                yield Event(kind="finished", trial=self.trials[name])

    def trials_of(self, experiment: str) -> tuple[Trial, ...]:
        """The trials of one Experiment."""
        return tuple(
            trial for name, trial in self.trials.items() if self._experiment_of(self._resources[name]) == experiment
        )

    @property
    def is_over(self) -> bool:
        """Whether Katib has ended every Experiment."""
        return all(is_completed(self.experiments.get(name, {})) for name in self._planned)

    @property
    def runs(self) -> bool:
        """Whether a trial's pod is on a node that is there."""
        return any(
            pod.get("status", {}).get("phase") == "Running" and not is_on_lost_node(pod) for pod in self._pods.values()
        )

    @property
    def has_pods(self) -> bool:
        """Whether a pod is left that may still leave a model."""
        return any(pod.get("status", {}).get("phase") in ("Pending", "Running") for pod in self._pods.values())

    def failure_messages(self) -> list[str]:
        """What Katib says of Experiments that failed."""
        messages = []
        for name in self._planned:
            conditions = self.experiments.get(name, {}).get("status", {}).get("conditions") or ()
            for condition in conditions:
                if condition["type"] == "Failed" and condition["status"] == "True":
                    text = condition.get("message") or condition.get("reason", "")
                    messages.append(f"Experiment {name} failed: {text}")
        return messages

    def obstacles(self) -> list[str]:
        """What holds trials back at the moment, each reason with the number of trials."""
        reasons: Counter[str] = Counter()
        waiting = {name: self._pod_of(name) for name in self._resources if not self._is_ended(name)}
        for name, pod in waiting.items():
            if pod is not None and is_on_lost_node(pod):
                reason = f"nothing is heard of the node {pod['spec'].get('nodeName')}"
            elif pod is not None and (known := why_pod_waits(pod)):
                reason = known
            elif pod is None or pod.get("status", {}).get("phase") == "Pending":
                reason = self._asked_reason(name, waiting)
            else:
                continue
            if reason:
                reasons[reason] += 1
        return [f"{count} {'trial' if count == 1 else 'trials'}: {reason}" for reason, count in reasons.most_common()]

    def note(self) -> str:
        """What holds trials back, if that is news."""
        note = "; ".join(self.obstacles())
        if not self._resources and self.experiments:
            note = "Katib has not made a trial yet: its suggestion service starts"
        news = note if note != self._last_note else ""
        self._last_note = note
        return news

    @property
    def _selector(self) -> str:
        return f"{EXPERIMENT_LABEL} in ({','.join(sorted(self._planned))})"

    @property
    def selector(self) -> str:
        """The labels of the search's Trials and pods."""
        return self._selector

    def _is_ended(self, name: str) -> bool:
        return name in self.trials and self.trials[name].is_finished

    def _take_trial(self, resource: dict[str, Any]) -> Iterator[Event]:
        name = resource["metadata"]["name"]
        if self._is_ended(name) or self._experiment_of(resource) not in self._planned:
            return
        self._resources[name] = resource
        trial = self._describe(resource)
        is_known = name in self.trials
        if not is_known and (trial.is_finished or has_condition(resource, "Running")):
            self.trials[name] = trial if not trial.is_finished else replace(trial, status="running")
            yield Event(kind="started", trial=self.trials[name])
        if trial.is_finished:
            self.trials[name] = self._describe(resource, whole_log=True)
            yield Event(kind="finished", trial=self.trials[name])
        elif name in self.trials:
            self.trials[name] = trial

    def _describe(self, resource: Mapping[str, Any], whole_log: bool = False) -> Trial:
        """A Trial with what its pod and its log say."""
        name = resource["metadata"]["name"]
        pod = self._pod_of(name)
        log = self._log_of(name, pod)
        text = ""
        if whole_log and pod is not None:
            text = self._cluster.log(*_logged(pod), lines=LOG_TAIL)
            log.read(text)
        trial = trial_from(resource, self._planned[self._experiment_of(resource)], self._search, log)
        if trial.status == "failed" and whole_log:
            parts = [why_pod_failed(pod) if pod is not None else "", trial.failure_reason or ""]
            reason = next((part for part in parts if part), "no reason known")
            if lines := last_lines(text):
                reason = f"{reason}; its last lines: {lines}"
            trial = replace(trial, failure_reason=reason)
        return self._with_model(trial)

    def _with_model(self, trial: Trial) -> Trial:
        if not trial.is_finished or trial.objective is None:
            return trial
        experiment = self._experiment_of(self._resources[trial.name])
        return replace(trial, model_uri=self._models.below(experiment, trial.name).uri)

    def _pod_of(self, trial: str) -> dict[str, Any] | None:
        """The trial's pod; of several (machines), the first that has trouble, else the first that is to stay."""
        found = [pod for pod in self._pods.values() if (pod["metadata"].get("labels") or {}).get(TRIAL_LABEL) == trial]
        # A pod on a lost node stays for a while beside the one that took its place.
        found = [pod for pod in found if not pod["metadata"].get("deletionTimestamp")] or found
        troubled = [pod for pod in found if why_pod_failed(pod) or why_pod_waits(pod)]
        return next(iter(troubled or found), None)

    def _is_untouched(self, trial: str) -> bool:
        """Whether a trial's Job has pods, but none that Katib has marked as the trial's."""
        labels = [pod["metadata"].get("labels") or {} for pod in self._cluster.pods(f"job-name={trial}")]
        return bool(labels) and not any(TRIAL_LABEL in found for found in labels)

    def _log_of(self, trial: str, pod: Mapping[str, Any] | None) -> TrialLog:
        """What is known from the log of the trial's pod; nothing of a pod that was lost counts."""
        log = self._logs.setdefault(trial, TrialLog())
        if pod is None:
            return log
        name = pod["metadata"]["name"]
        there = [other["metadata"] for other in self._pods.values() if other["metadata"]["name"] == log.pod]
        if log.pod and log.pod != name and all(other.get("deletionTimestamp") for other in there):
            log = self._logs[trial] = TrialLog()
        log.pod = log.pod or name
        return log

    def _asked_reason(self, name: str, waiting: Mapping[str, dict[str, Any] | None]) -> str:
        """Why a trial's Job has no pod, or its pod does not start; asked only now and then."""
        if time.monotonic() - self._last_asked > UNEXPLAINED_SECONDS:
            self._last_asked = time.monotonic()
            warnings = self._cluster.warnings()
            self._reasons = {
                trial: why_pod_does_not_start(pod, warnings, time.time())
                for trial, pod in waiting.items()
                if pod is not None
            }
            # Katib gives the Job the trial's name; of another kind (TrainJob) there is none.
            lacking = [trial for trial, pod in waiting.items() if pod is None][:MOST_JOBS_ASKED]
            jobs = {trial: job for trial in lacking if (job := self._cluster.job(trial)) is not None}
            self._reasons |= {trial: why_job_waits(job, warnings) for trial, job in jobs.items()}
            self.is_unwatched = any(has_pods(job) and self._is_untouched(trial) for trial, job in jobs.items())
        return self._reasons.get(name, "")

    @staticmethod
    def _experiment_of(resource: Mapping[str, Any]) -> str:
        return str((resource["metadata"].get("labels") or {}).get(EXPERIMENT_LABEL, ""))


def _logged(pod: Mapping[str, Any]) -> tuple[str, str]:
    """The pod and the container whose log has the trainer's lines: Katib's collector, which repeats them."""
    names = [container["name"] for container in pod["spec"]["containers"]]
    collector = next((name for name in names if name in COLLECTOR_CONTAINERS), None)
    return pod["metadata"]["name"], collector or names[0]
