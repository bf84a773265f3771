"""A tuning job's training jobs as trials: who started, how far each is, what became of it."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from kfp_image_tuning.core.errors import HyperparameterError
from kfp_image_tuning.engines.protocol import Event
from kfp_image_tuning.engines.sagemaker.aws.calls import Caller, TransientError
from kfp_image_tuning.engines.sagemaker.request.job_names import log_url
from kfp_image_tuning.engines.sagemaker.tuning.training_logs import TrainingLogs
from kfp_image_tuning.search.hyperparameter_table import RULES, is_active, parse_value
from kfp_image_tuning.search.result import Trial, TrialStatus, find_best_epoch
from kfp_image_tuning.search.search import Search

PAGE = 100
"""The most that the service gives at a time."""
LOG_ATTEMPTS = 20
"""Vain attempts in a row, over all training jobs, after which ended ones go without their logs."""
ENDED = ("Completed", "Failed", "Stopped")


class TrialTracker:
    """The trials of one tuning job.

    Args:
        caller: Makes the calls.
        search: What is searched.
        region: For links.

    Attributes:
        trials: Every trial by its training job's name, in the order in which they were seen.
        logs: What the training jobs write.
        billed_seconds: Billed time of each ended training job, times its machines.
    """

    def __init__(self, caller: Caller, search: Search, region: str) -> None:
        self._caller, self._search, self._region = caller, search, region
        self.trials: dict[str, Trial] = {}
        self.logs = TrainingLogs(caller)
        self.billed_seconds: dict[str, float] = {}
        self._log_failures = 0

    @property
    def unfinished(self) -> set[str]:
        """Names of the training jobs that have not ended."""
        return {name for name, trial in self.trials.items() if not trial.is_finished}

    def look(self, tuning_job: Mapping[str, Any], *, whole: bool = False) -> Iterator[Event]:
        """Look at the training jobs and yield what is new.

        Args:
            tuning_job: The tuning job's description, no older than this look.
            whole: List all training jobs, since some are missing.

        Raises:
            TransientError: If a call failed; what was yielded before it stands.
        """
        for summary in self._news(str(tuning_job["HyperParameterTuningJobName"]), whole=whole):
            name = str(summary["TrainingJobName"])
            if name not in self.trials:
                self.trials[name] = self._started(summary)
                yield Event(kind="started", trial=self.trials[name])
            if summary["TrainingJobStatus"] in ENDED:
                self.trials[name] = self._ended(summary, tuning_job)
                yield Event(kind="finished", trial=self.trials[name])
            elif self._read_epochs(name):
                yield Event(kind="progress", trial=self.trials[name])

    def _news(self, tuning_job_name: str, *, whole: bool) -> list[dict[str, Any]]:
        """The training jobs that are not known to have ended, oldest first.

        They are listed newest first, and the rest is left unread as soon as what follows is known to have ended: a
        long search is not listed whole every time.
        """
        news: list[dict[str, Any]] = []
        waiting = self.unfinished
        query: dict[str, Any] = {
            "HyperParameterTuningJobName": tuning_job_name,
            "MaxResults": PAGE,
            "SortBy": "CreationTime",
            "SortOrder": "Descending",
        }
        while True:
            answer = self._caller.sagemaker("list_training_jobs_for_hyper_parameter_tuning_job", **query)
            page = answer["TrainingJobSummaries"]
            names = {summary["TrainingJobName"] for summary in page}
            unseen = names - set(self.trials)
            news += [s for s in page if s["TrainingJobName"] in unseen or s["TrainingJobName"] in waiting]
            waiting -= names
            rest_is_known = bool(page) and page[-1]["TrainingJobName"] in self.trials and not waiting
            if not answer.get("NextToken") or (rest_is_known and not whole):
                return news[::-1]
            query["NextToken"] = answer["NextToken"]

    def _started(self, summary: Mapping[str, Any]) -> Trial:
        name = str(summary["TrainingJobName"])
        return Trial(
            name=name,
            status="running",
            hyperparameters=self._hyperparameters(summary),
            started_at=_seconds(summary["CreationTime"]),
            log_uri=log_url(self._region, name),
        )

    def _hyperparameters(self, summary: Mapping[str, Any]) -> dict[str, Any]:
        """The tuned values and the optimizer, typed, without what the optimizer ignores."""
        texts = {name: str(text).strip('"') for name, text in summary["TunedHyperParameters"].items()}
        # With several definitions each is named for its optimizer.
        branch = summary.get("TrainingJobDefinitionName")
        fixed = branch if branch in self._search.space.optimizers else self._search.space.optimizers[0]
        optimizer = texts.get("optimizer") or fixed
        values: dict[str, Any] = {"optimizer": optimizer}
        for name, text in texts.items():
            if is_active(name, optimizer):
                try:
                    values[name] = parse_value(name, text) if name in RULES else text
                except HyperparameterError:
                    values[name] = text
        return dict(sorted(values.items()))

    def _read_epochs(self, name: str) -> bool:
        """Read a running training job's log; whether an epoch has ended since the last time."""
        try:
            self.logs.read_on(name)
        except TransientError:
            # Progress is a comfort; the next look may have it.
            return False
        history = self.logs.history(name)
        if len(history) <= len(self.trials[name].history):
            return False
        self.trials[name] = replace(self.trials[name], history=history)
        return True

    def _ended(self, summary: Mapping[str, Any], tuning_job: Mapping[str, Any]) -> Trial:
        name = str(summary["TrainingJobName"])
        job = self._caller.sagemaker("describe_training_job", TrainingJobName=name)
        self._read_last_lines(name)
        history = self.logs.history(name)
        best = find_best_epoch(history)
        metric = summary.get("FinalHyperParameterTuningJobObjectiveMetric")
        objective = float(metric["Value"]) if metric and summary["TrainingJobStatus"] != "Failed" else None
        self.billed_seconds[name] = float(job.get("BillableTimeInSeconds") or 0) * _machines(job)
        status, note = _status(summary, job, tuning_job, objective)
        ended = summary.get("TrainingEndTime") or job.get("TrainingEndTime") or job.get("LastModifiedTime")
        return replace(
            self.trials[name],
            status=status,
            objective=objective,
            best_epoch=best.epoch if best is not None and objective is not None else None,
            history=history,
            finished_at=_seconds(ended) if ended else self.trials[name].started_at,
            failure_reason=self._failure_reason(name, summary, job) if status == "failed" else None,
            model_uri=(job.get("ModelArtifacts") or {}).get("S3ModelArtifacts") or None,
            note=note,
        )

    def _read_last_lines(self, name: str) -> None:
        """Read an ended training job's log; while logs cannot be reached at all, trials go without."""
        try:
            self.logs.read_on(name, to_the_end=True)
            self._log_failures = 0
        except TransientError:
            self._log_failures += 1
            if self._log_failures < LOG_ATTEMPTS:
                raise

    def _failure_reason(self, name: str, summary: Mapping[str, Any], job: Mapping[str, Any]) -> str:
        reason = summary.get("FailureReason") or job.get("FailureReason") or "no validation:accuracy was reported"
        lines = self.logs.last_lines(name)
        return f"{str(reason).rstrip('.')}. Last lines of its log: {' | '.join(lines)}" if lines else str(reason)


def _status(
    summary: Mapping[str, Any], job: Mapping[str, Any], tuning_job: Mapping[str, Any], objective: float | None
) -> tuple[TrialStatus, str | None]:
    """What became of an ended training job, and what a reader should know of it."""
    if summary["TrainingJobStatus"] == "Failed":
        return "failed", None
    if summary["TrainingJobStatus"] == "Completed":
        return ("completed", None) if objective is not None else ("failed", None)
    secondary = job.get("SecondaryStatus")
    if secondary in ("MaxRuntimeExceeded", "MaxWaitTimeExceeded"):
        return "stopped", f"cut off at its time limit ({secondary})"
    config = tuning_job["HyperParameterTuningJobConfig"]
    ends_early = config.get("TrainingJobEarlyStoppingType") == "Auto" or config["Strategy"] == "Hyperband"
    over = tuning_job["HyperParameterTuningJobStatus"] in ("Stopping", "Stopped")
    return ("early_stopped" if ends_early and not over else "stopped"), None


def _machines(job: Mapping[str, Any]) -> int:
    return int((job.get("ResourceConfig") or {}).get("InstanceCount") or 1)


def _seconds(moment: datetime | float) -> float:
    """Unix time of what boto3 gives."""
    return moment.timestamp() if isinstance(moment, datetime) else float(moment)
