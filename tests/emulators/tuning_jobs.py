"""A tuning job on its way from InProgress to its end, event by event on the emulator's clock."""

import hashlib
import math
from collections.abc import Mapping
from typing import Any

from tests.emulators.strategies import choose, grid, is_hopeless
from tests.emulators.training_jobs import Run, Runner, TrainingJob

FAILED_STARTS = 5
"""So many failures without a single success make the tuning job fail."""


class TuningJob:
    """One tuning job.

    Args:
        request: Its CreateHyperParameterTuningJob request.
        runner: Who runs its training jobs.
        region: Where it was created.
        time: When, on the emulator's clock.
    """

    def __init__(self, request: Mapping[str, Any], runner: Runner, region: str, time: float) -> None:
        self.request, self.region, self.created = request, region, time
        self.name: str = request["HyperParameterTuningJobName"]
        self.config: Mapping[str, Any] = request["HyperParameterTuningJobConfig"]
        self.status = "InProgress"
        self.failure = ""
        self.ended: float | None = None
        self.jobs: list[TrainingJob] = []
        self._runner, self._time = runner, time
        self._runs: dict[str, Run] = {}
        self._definitions = request.get("TrainingJobDefinitions") or [request["TrainingJobDefinition"]]
        self._grid = (
            [(d, values) for d in self._definitions for values in grid(self._ranges(d))]
            if self.config["Strategy"] == "Grid"
            else None
        )
        limits = self.config["ResourceLimits"]
        self._trials = len(self._grid) if self._grid is not None else limits.get("MaxNumberOfTrainingJobs", 10)
        self._parallel = limits["MaxParallelTrainingJobs"]
        self._deadline = time + limits.get("MaxRuntimeInSeconds", math.inf)

    @property
    def arn(self) -> str:
        return f"arn:aws:sagemaker:{self.region}:123456789012:hyper-parameter-tuning-job/{self.name}"

    @property
    def best(self) -> TrainingJob | None:
        """The training job with the highest objective, the earliest of several."""
        scored = [job for job in self.jobs if job.ended and job.objective is not None and job.status != "Failed"]
        return max(scored, key=lambda job: job.objective or 0.0, default=None)

    def advance(self, now: float) -> None:
        """Let everything happen that is due."""
        while self.ended is None:
            if self.status == "InProgress":
                self._start_training_jobs()
            due = [(run.next_event(now), name) for name, run in self._runs.items()]
            time, name = min(due, default=(math.inf, ""))
            if self.status == "InProgress" and self._deadline <= min(time, now):
                self._time = self._deadline
                self.stop(self._deadline)
                continue
            if time > now:
                break
            self._time = max(self._time, time)
            self._let_happen(name)
        if self.ended is None:
            self._time = max(self._time, now)

    def stop(self, time: float) -> None:
        """StopHyperParameterTuningJob."""
        if self.status != "InProgress":
            return
        self.status = "Stopping"
        for run in self._runs.values():
            run.stop(time)
        self._end_if_over()

    def training_job(self, name: str) -> TrainingJob | None:
        """One of its training jobs."""
        return next((job for job in self.jobs if job.name == name), None)

    def _ranges(self, definition: Mapping[str, Any]) -> Mapping[str, Any]:
        found: Mapping[str, Any] = definition.get("HyperParameterRanges") or self.config["ParameterRanges"]
        return found

    def _start_training_jobs(self) -> None:
        while len(self._runs) < self._parallel and len(self.jobs) < self._trials and self.ended is None:
            number = len(self.jobs) + 1
            if self._grid is not None:
                definition, tuned = self._grid[number - 1]
            else:
                definition = self._definitions[(number - 1) % len(self._definitions)]
                finished = [
                    job
                    for job in self.jobs
                    if job.ended and job.definition.get("DefinitionName") == definition.get("DefinitionName")
                ]
                seed = f"{self.config.get('RandomSeed', 0)}:{number}"
                tuned = choose(self.config, self._ranges(definition), seed, finished)
            suffix = hashlib.sha256(f"{self.name}:{number}".encode()).hexdigest()[:8]
            name = f"{self.name}-{number:03}-{suffix}"
            job = TrainingJob(name, definition, tuned, self._time, self.region)
            self.jobs.append(job)
            self._runs[name] = self._runner.start(job, number, self._time)

    def _let_happen(self, name: str) -> None:
        run, job = self._runs[name], self.training_job(name)
        assert job is not None
        before = len(job.accuracies)
        run.happen(self._time)
        if job.ended is not None:
            del self._runs[name]
            self._end_if_over()
        elif len(job.accuracies) > before and job.status == "InProgress":
            others = [other for other in self.jobs if other is not job]
            if is_hopeless(self.config, job, others):
                job.early_stopped = True
                run.stop(self._time)

    def _end_if_over(self) -> None:
        if self.status == "Stopping":
            if not self._runs:
                self._end("Stopped")
            return
        failed = [job for job in self.jobs if job.status == "Failed"]
        if len(failed) >= FAILED_STARTS and len(failed) == len([job for job in self.jobs if job.ended]):
            self._end(
                "Failed",
                f"No training job succeeded after {FAILED_STARTS} attempts. Please take a look at the training job "
                "failures to get more details.",
            )
        elif not self._runs and len(self.jobs) >= self._trials:
            if len(failed) == len(self.jobs):
                self._end("Failed", "All training jobs failed. Please take a look at the training job failures.")
            else:
                self._end("Completed")
        elif self._is_good_enough():
            for run in self._runs.values():
                run.stop(self._time)
            self._trials = len(self.jobs)

    def _is_good_enough(self) -> bool:
        criteria = self.config.get("TuningJobCompletionCriteria", {})
        best = self.best
        if best is None or best.objective is None:
            return False
        target = criteria.get("TargetObjectiveMetricValue")
        if target is not None and best.objective >= target:
            return True
        patience = criteria.get("BestObjectiveNotImproving", {}).get("MaxNumberOfTrainingJobsNotImproving")
        since = [job for job in self.jobs if job.ended and best.ended and job.ended > best.ended]
        return patience is not None and len(since) >= patience

    def _end(self, status: str, failure: str = "") -> None:
        self.status, self.failure, self.ended = status, failure, self._time
        for name, run in list(self._runs.items()):
            run.stop(self._time)
            job = self.training_job(name)
            if job is not None and job.ended is None:
                job.end(self._time, "Stopped")
        self._runs.clear()

    def describe(self) -> dict[str, Any]:
        """The answer of DescribeHyperParameterTuningJob."""
        counts = {"Completed": 0, "InProgress": 0, "RetryableError": 0, "NonRetryableError": 0, "Stopped": 0}
        objectives = {"Succeeded": 0, "Pending": 0, "Failed": 0}
        for job in self.jobs:
            counts[{"Failed": "NonRetryableError", "Stopping": "InProgress"}.get(job.status, job.status)] += 1
            objectives[self._objective_status(job)] += 1
        copied = ("HyperParameterTuningJobConfig", "TrainingJobDefinition", "TrainingJobDefinitions", "WarmStartConfig")
        document: dict[str, Any] = {
            "HyperParameterTuningJobName": self.name,
            "HyperParameterTuningJobArn": self.arn,
            "HyperParameterTuningJobStatus": self.status,
            "CreationTime": self.created,
            "LastModifiedTime": self._time,
            "TrainingJobStatusCounters": counts,
            "ObjectiveStatusCounters": objectives,
            "ConsumedResources": {"RuntimeInSeconds": int(self._time - self.created)},
        } | {name: self.request[name] for name in copied if name in self.request}
        if self.ended is not None:
            document["HyperParameterTuningEndTime"] = self.ended
        if self.failure:
            document["FailureReason"] = self.failure
        if best := self.best:
            document["BestTrainingJob"] = best.summarize("Succeeded")
        return document

    def list_training_jobs(self, query: Mapping[str, Any]) -> list[dict[str, Any]]:
        """All entries of ListTrainingJobsForHyperParameterTuningJob, sorted; the service cuts them into pages."""
        keys: Mapping[str, Any] = {
            "Name": lambda job: job.name,
            "CreationTime": lambda job: (job.created, job.name),
            "Status": lambda job: job.status,
            "FinalObjectiveMetricValue": lambda job: -1.0 if job.objective is None else job.objective,
        }
        chosen = [job for job in self.jobs if query.get("StatusEquals") in (None, job.status)]
        chosen.sort(key=keys[query.get("SortBy", "Name")], reverse=query.get("SortOrder") == "Descending")
        return [job.summarize(self._objective_status(job)) for job in chosen]

    @staticmethod
    def _objective_status(job: TrainingJob) -> str:
        if job.ended is None:
            return "Pending"
        return "Succeeded" if job.objective is not None and job.status != "Failed" else "Failed"
