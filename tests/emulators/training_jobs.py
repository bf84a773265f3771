"""Training jobs: what the service knows of one, and who runs it.

A `Runner` turns a training job into a `Run`. A run has a time of its next event; the tuning job lets events happen in
the order of their times. `CurveRunner` plays learning curves on the virtual clock; `tests.emulators.real_training` has
the runner that trains.
"""

import gzip
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
OUT_OF_MEMORY = (
    "Customer Error: CUDA out of memory while allocating 2.1 GiB",
    "ClientError: Out of memory. Use a smaller mini_batch_size., exit code: 2",
)
NO_CAPACITY = (
    "Waiting for machines",
    "CapacityError: Unable to provision requested ML compute capacity. Please retry using a different instance type.",
)
"""What a training job that fails writes last, and the reason that SageMaker gives."""
_EMPTY_ARCHIVE = gzip.compress(bytes(10_240), mtime=0)
"""A tar file of nothing."""


@dataclass
class TrainingJob:
    """A training job as the service sees it. Times are Unix times of the emulator's clock."""

    name: str
    definition: Mapping[str, Any]
    tuned: Mapping[str, str]
    created: float
    region: str
    status: str = "InProgress"
    secondary: str = "Starting"
    started: float | None = None
    ended: float | None = None
    failure: str = ""
    accuracies: list[float] = field(default_factory=list)
    log: list[tuple[float, str]] = field(default_factory=list)
    model_uri: str = ""
    early_stopped: bool = False
    interruptions: int = 0

    @property
    def hyperparameters(self) -> dict[str, str]:
        """All of them, with what the service adds."""
        statics = dict(self.definition.get("StaticHyperParameters", {}))
        return statics | dict(self.tuned) | {"_tuning_objective_metric": "validation:accuracy"}

    @property
    def objective(self) -> float | None:
        """Of the model that it leaves behind: the best epoch's."""
        return max(self.accuracies, default=None)

    def write(self, time: float, line: str) -> None:
        """Write a line into its log, as the algorithm does."""
        self.log.append((time, f"[11/21/2026 10:00:00 INFO 140558353856320] {line}"))

    def report_epoch(self, time: float, accuracy: float, seconds: float) -> None:
        """Write what the algorithm writes at the end of an epoch."""
        epoch = len(self.accuracies)
        self.accuracies.append(accuracy)
        self.write(time, f"Epoch[{epoch}] Train-accuracy={min(1.0, accuracy + 0.01):.6f}")
        self.write(time, f"Epoch[{epoch}] Time cost={seconds:.3f}")
        self.write(time, f"Epoch[{epoch}] Validation-accuracy={accuracy:.6f}")

    def end(self, time: float, status: str, secondary: str = "", failure: str = "") -> None:
        """Bring it to a terminal status."""
        self.status, self.secondary, self.ended, self.failure = status, secondary or status, time, failure
        if status in ("Completed", "Stopped") and self.accuracies:
            folder = self.definition["OutputDataConfig"]["S3OutputPath"].rstrip("/")
            self.model_uri = f"{folder}/{self.name}/output/model.tar.gz"

    @property
    def arn(self) -> str:
        return f"arn:aws:sagemaker:{self.region}:123456789012:training-job/{self.name}"

    def describe(self) -> dict[str, Any]:
        """The answer of DescribeTrainingJob."""
        document: dict[str, Any] = {
            "TrainingJobName": self.name,
            "TrainingJobArn": self.arn,
            "TrainingJobStatus": self.status,
            "SecondaryStatus": self.secondary,
            "HyperParameters": self.hyperparameters,
            "AlgorithmSpecification": dict(self.definition["AlgorithmSpecification"]),
            "RoleArn": self.definition["RoleArn"],
            "OutputDataConfig": dict(self.definition["OutputDataConfig"]),
            "ModelArtifacts": {"S3ModelArtifacts": self.model_uri},
            "StoppingCondition": dict(self.definition["StoppingCondition"]),
            "CreationTime": self.created,
            "ResourceConfig": self._machines(),
        }
        if self.started is not None:
            document["TrainingStartTime"] = self.started
        if self.ended is not None:
            document |= {"TrainingEndTime": self.ended, "LastModifiedTime": self.ended}
            if self.started is not None:
                document["BillableTimeInSeconds"] = math.ceil(self.ended - self.started)
        if self.failure:
            document["FailureReason"] = self.failure
        if self.objective is not None:
            metric = {
                "MetricName": "validation:accuracy",
                "Value": self.objective,
                "Timestamp": self.ended or self.created,
            }
            document["FinalMetricDataList"] = [metric]
        return document

    def summarize(self, objective_status: str) -> dict[str, Any]:
        """The entry of ListTrainingJobsForHyperParameterTuningJob."""
        document: dict[str, Any] = {
            "TrainingJobName": self.name,
            "TrainingJobArn": self.arn,
            "CreationTime": self.created,
            "TrainingJobStatus": self.status,
            "TunedHyperParameters": dict(self.tuned),
            "ObjectiveStatus": objective_status,
        }
        if name := self.definition.get("DefinitionName"):
            document["TrainingJobDefinitionName"] = name
        if self.started is not None:
            document["TrainingStartTime"] = self.started
        if self.ended is not None:
            document["TrainingEndTime"] = self.ended
        if self.failure:
            document["FailureReason"] = self.failure
        if self.ended is not None and self.objective is not None and self.status != "Failed":
            document["FinalHyperParameterTuningJobObjectiveMetric"] = {
                "MetricName": "validation:accuracy",
                "Type": "Maximize",
                "Value": self.objective,
            }
        return document

    def _machines(self) -> dict[str, Any]:
        if fixed := self.definition.get("ResourceConfig"):
            return dict(fixed)
        flexible = self.definition["HyperParameterTuningResourceConfig"]
        return dict(flexible.get("InstanceConfigs", [flexible])[0])


class Run(Protocol):
    """A training that runs."""

    def next_event(self, now: float) -> float:
        """When something happens next; infinite if nothing is known to come."""
        ...

    def happen(self, time: float) -> None:
        """Let the event of this time happen to the training job."""
        ...

    def stop(self, time: float) -> None:
        """Ask it to end; it ends in an event of its own."""
        ...


class Runner(Protocol):
    """Who runs training jobs."""

    def start(self, job: TrainingJob, number: int, time: float) -> Run:
        """Start training job ``number`` (from 1) of a tuning job."""
        ...


def formula_curve(hyperparameters: Mapping[str, str], epochs: int) -> list[float]:
    """A learning curve that depends on the hyperparameters as real ones do: smooth, with one good region."""
    rate = math.log10(float(hyperparameters["learning_rate"]))
    batch = math.log2(float(hyperparameters["mini_batch_size"]))
    best = 0.98 - 0.04 * (rate + 2.0) ** 2 - 0.005 * (batch - 6.0) ** 2
    best += {"sgd": 0.0, "nag": 0.005, "adam": -0.02, "rmsprop": -0.03}.get(
        hyperparameters.get("optimizer", "sgd"), 0.0
    )
    best = max(0.1, best)
    return [round(best * (1 - 0.7 * math.exp(-0.6 * (epoch + 1))), 6) for epoch in range(epochs)]


@dataclass
class CurveRunner:
    """Plays learning curves.

    Attributes:
        curve: Hyperparameters and number of epochs to one accuracy for each epoch.
        seconds_per_epoch: On the emulator's clock.
        start_seconds: For machines and image ("slow transitions").
        stop_seconds: Between the wish to stop and the end.
        failing: Which training jobs, by their numbers, fail after their first epoch.
        failure: What they write last, and the reason that SageMaker gives.
        silent: Numbers of the training jobs that never report a metric.
        interrupted: Numbers of the training jobs whose spot machine is taken away once.
        storage: boto3's S3 client; with it each training job leaves an archive where its model would be.
    """

    curve: Callable[[Mapping[str, str], int], Sequence[float]] = formula_curve
    seconds_per_epoch: float = 60.0
    start_seconds: float = 90.0
    stop_seconds: float = 5.0
    failing: Callable[[int], bool] = lambda number: False
    failure: tuple[str, str] = OUT_OF_MEMORY
    silent: Callable[[int], bool] = lambda number: False
    interrupted: Callable[[int], bool] = lambda number: False
    storage: Any | None = None

    def start(self, job: TrainingJob, number: int, time: float) -> "CurveRun":
        return CurveRun(self, job, number, time)


class CurveRun:
    """One learning curve on its way."""

    def __init__(self, runner: CurveRunner, job: TrainingJob, number: int, time: float) -> None:
        self._runner, self._job = runner, job
        self._events: list[tuple[float, Callable[[float], None]]] = []
        hyperparameters = job.hyperparameters
        start = time + runner.start_seconds
        # Not all alike: the order in which trials end should not be the order in which they start.
        pace = runner.seconds_per_epoch * random.Random(job.name).uniform(0.8, 1.25)
        self._events.append((start, self._begin))
        curve = list(runner.curve(hyperparameters, int(hyperparameters.get("epochs", "30"))))
        if runner.interrupted(number):
            self._events.append((start + 0.5 * pace, self._interrupt))
            start += 2 * pace
        if runner.failing(number):
            curve = curve[:1]
        for epoch, accuracy in enumerate([] if runner.silent(number) else curve):
            self._events.append((start + (epoch + 1) * pace, lambda at, a=accuracy: job.report_epoch(at, a, pace)))  # type: ignore[misc]
        ending = self._fail if runner.failing(number) else self._complete
        self._events.append((start + len(curve) * pace + 1, ending))
        limit = job.definition["StoppingCondition"].get("MaxRuntimeInSeconds", 86_400)
        if self._events[-1][0] > start + limit:
            self._events = [event for event in self._events if event[0] <= start + limit]
            self._events.append((start + limit, lambda at: self._end(at, "Stopped", "MaxRuntimeExceeded")))

    def next_event(self, now: float) -> float:
        return self._events[0][0] if self._events and self._job.ended is None else math.inf

    def happen(self, time: float) -> None:
        self._events.pop(0)[1](time)

    def stop(self, time: float) -> None:
        self._job.status = self._job.secondary = "Stopping"
        self._events = [(time + self._runner.stop_seconds, lambda at: self._end(at, "Stopped"))]

    def _begin(self, time: float) -> None:
        self._job.started, self._job.secondary = time, "Training"
        self._job.write(time, "Searching for .rec files in /opt/ml/input/data/train.")

    def _interrupt(self, time: float) -> None:
        self._job.secondary = "Interrupted"
        self._job.interruptions += 1
        self._job.write(time, "Spot interruption; training continues from the checkpoint.")

    def _complete(self, time: float) -> None:
        self._end(time, "Completed")

    def _end(self, time: float, status: str, secondary: str = "") -> None:
        self._job.end(time, status, secondary)
        if self._runner.storage is not None and self._job.model_uri:
            bucket, _, key = self._job.model_uri.removeprefix("s3://").partition("/")
            self._runner.storage.put_object(Bucket=bucket, Key=key, Body=_EMPTY_ARCHIVE)

    def _fail(self, time: float) -> None:
        line, reason = self._runner.failure
        self._job.write(time, line)
        self._job.end(time, "Failed", failure=reason)
