"""The KFP side of a cluster, by the real `kfp.Client`: pipelines, runs, recurring runs, and their removal."""

import contextlib
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import kfp
import kubernetes
from kfp_server_api import ApiException
from urllib3.exceptions import HTTPError

from tests.e2e.cluster import Cluster
from tests.e2e.outcomes import ScenarioFailed
from tests.e2e.settings import Settings

ENDED = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")
PATIENCE = 120.0
"""Seconds for which an API that does not answer is asked again: forwarded ports break."""
POLL = 2.0
PART_OF_STEP = re.compile(r"(^|-)(driver|executor|root)(\(\d+\))?$|\(\d+\)$")
"""What Argo has around and in each step, in KFP's list of tasks."""

Answer = TypeVar("Answer")


class Kubeflow:
    """KFP in one namespace, with all that was made in it through this object.

    Args:
        settings: The user's.
        cluster: The cluster, for what KFP's API does not tell.
        name: Of the experiment for all runs; begins the names of pipelines.
    """

    def __init__(self, settings: Settings, cluster: Cluster, name: str) -> None:
        warnings.filterwarnings("ignore", category=FutureWarning, module="kfp")
        self._settings, self._cluster, self._name = settings, cluster, name
        self._client = kfp.Client(host=settings.kfp, **settings.client)
        if self._client.get_kfp_healthz(sleep_duration=2).multi_user:
            self._client = kfp.Client(host=settings.kfp, namespace=settings.namespace, **settings.client)
        self._experiment = str(self._client.create_experiment(name).experiment_id)
        self._versions: dict[str, tuple[str, str]] = {}
        self._runs: list[str] = []
        self._recurring: list[str] = []

    def upload(self, package: Path) -> tuple[str, str]:
        """Upload a compiled pipeline once; returns its identity and its version's."""
        name = f"{self._name}-{package.stem}"
        if name not in self._versions:
            pipeline = self._client.upload_pipeline(str(package), pipeline_name=name)
            (version,) = self._client.list_pipeline_versions(pipeline.pipeline_id).pipeline_versions
            self._versions[name] = str(pipeline.pipeline_id), str(version.pipeline_version_id)
        return self._versions[name]

    def start(self, package: Path, parameters: Mapping[str, Any]) -> str:
        """Start a run of an uploaded pipeline; returns its identity."""
        pipeline, version = self.upload(package)
        run = self._client.run_pipeline(
            self._experiment,
            f"{self._name}-{package.stem}-{len(self._runs) + 1}",
            pipeline_id=pipeline,
            version_id=version,
            params=dict(parameters),
            service_account=self._settings.service_account or None,
        )
        self._runs.append(str(run.run_id))
        return self._runs[-1]

    def wait(self, run_id: str, until: Callable[[], object] | None = None) -> str:
        """Wait for the end of a run, or for something to happen before it; returns the run's state.

        Raises:
            ScenarioFailed: If it takes too long.
        """
        began, told, ends_seen = time.monotonic(), "", 0
        while True:
            run = patiently(self._client.get_run, run_id)
            states = ", ".join(f"{name} {state}" for name, state in steps_of(run))
            if states != told:
                print(f"   {time.monotonic() - began:4.0f} s  {run.state}: {states or 'no step yet'}", flush=True)
                told = states
            # After a retry the old end may be seen once more.
            ends_seen = ends_seen + 1 if run.state in ENDED else 0
            if ends_seen == 2 or (not ends_seen and until is not None and patiently(until)):
                return str(run.state)
            if time.monotonic() - began > self._settings.seconds:
                raise ScenarioFailed(
                    f"run {run_id} is still {run.state} after {self._settings.seconds:.0f} s (E2E_MINUTES): {states}\n"
                    + self._cluster.explain(run_id)
                )
            time.sleep(POLL)

    def succeed(self, run_id: str) -> None:
        """Wait for the end of a run.

        Raises:
            ScenarioFailed: If it does not succeed, with what is known about it.
        """
        state = self.wait(run_id)
        if state != "SUCCEEDED":
            raise ScenarioFailed(f"{state}: {self._cluster.explain(run_id)}")

    def terminate(self, run_id: str) -> None:
        self._client.terminate_run(run_id)

    def retry(self, run_id: str) -> None:
        """Continue with a failed run, and wait until KFP has taken it up."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self._client.runs.run_service_retry_run(run_id)
                break
            except (ApiException, HTTPError):
                # Argo may not have closed the Workflow yet.
                if time.monotonic() > deadline:
                    raise
                time.sleep(POLL)
        while patiently(self._client.get_run, run_id).state in ENDED and time.monotonic() < deadline:
            time.sleep(0.2)

    def first_recurring_run(self, package: Path, parameters: Mapping[str, Any], interval: int) -> str:
        """Schedule a pipeline, wait for its first run, switch the schedule off; returns that run's identity.

        Raises:
            ScenarioFailed: If no run comes.
        """
        pipeline, version = self.upload(package)
        made = self._client.create_recurring_run(
            self._experiment,
            f"{self._name}-recurring",
            interval_second=interval,
            no_catchup=True,
            params=dict(parameters),
            pipeline_id=pipeline,
            version_id=version,
            service_account=self._settings.service_account or None,
        )
        identity = str(made.recurring_run_id)
        self._recurring.append(identity)
        deadline = time.monotonic() + 10 * interval + PATIENCE
        while time.monotonic() < deadline:
            runs = patiently(self._client.list_runs, experiment_id=self._experiment, page_size=100).runs or ()
            own = [str(run.run_id) for run in runs if run.recurring_run_id == identity]
            if own:
                self._client.disable_recurring_run(identity)
                self._runs += own
                return own[0]
            time.sleep(POLL)
        raise ScenarioFailed(
            f"the recurring run {identity} (every {interval} s) has made no run; the log of the Deployment "
            "ml-pipeline-scheduledworkflow may say why"
        )

    def clean(self) -> Iterator[str]:
        """Remove everything; yields what could not be removed."""
        for identity in self._recurring:
            yield from tried(self._client.delete_recurring_run, identity)
        with contextlib.suppress(ApiException, HTTPError):
            # What the schedule has made meanwhile.
            runs = self._client.list_runs(experiment_id=self._experiment, page_size=100).runs or ()
            self._runs = [str(run.run_id) for run in runs]
        for identity in self._runs:
            with contextlib.suppress(ApiException, HTTPError):
                if self._client.get_run(identity).state not in ENDED:
                    self._client.terminate_run(identity)
            yield from tried(self._client.delete_run, identity)
        for pipeline, version in self._versions.values():
            yield from tried(self._client.delete_pipeline_version, pipeline, version)
            yield from tried(self._client.delete_pipeline, pipeline)
        yield from tried(self._client.delete_experiment, self._experiment)


def steps_of(run: Any) -> list[tuple[str, str]]:
    """Name and state of a run's steps, in order."""
    details = (run.run_details and run.run_details.task_details) or ()
    return [
        (str(task.display_name), str(task.state))
        for task in details
        if task.display_name and task.state and not PART_OF_STEP.search(task.display_name)
    ]


def patiently(call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Ask, and ask again while nobody answers."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return call(*arguments, **options)
        except (ApiException, kubernetes.client.ApiException, HTTPError) as error:
            may_pass = isinstance(error, HTTPError) or (error.status or 500) >= 500
            if not may_pass or time.monotonic() > deadline:
                raise
            time.sleep(POLL)


def tried(call: Callable[..., Any], *arguments: Any) -> Iterator[str]:
    """Do it, if need be again; yields what was wrong in the end."""
    try:
        patiently(call, *arguments)
    except (ApiException, kubernetes.client.ApiException, HTTPError) as error:
        name = getattr(call, "__name__", "call")
        yield f"{name} {' '.join(arguments)}: {getattr(error, 'reason', None) or error}"
