"""What came of a tuning job: the details for the result document, or the reasons why there is no result."""

from collections.abc import Mapping
from typing import Any

from kfp_image_tuning.core.errors import EngineError
from kfp_image_tuning.engines.sagemaker.request.job_names import REQUEST_TAG, console_url, log_url
from kfp_image_tuning.engines.sagemaker.request.options import SageMakerOptions
from kfp_image_tuning.engines.sagemaker.request.rules import definitions_of
from kfp_image_tuning.engines.sagemaker.tuning.trial_tracker import TrialTracker
from kfp_image_tuning.search.result import find_best_trial

QUOTED_REASONS = 3


def describe_outcome(
    tuning_job: Mapping[str, Any], request: Mapping[str, Any], tracker: TrialTracker, options: SageMakerOptions
) -> dict[str, Any]:
    """What only SageMaker knows of a search, in JSON form.

    Args:
        tuning_job: Its last description.
        request: What was asked for.
        tracker: Its trials.
        options: Where it ran.
    """
    best = find_best_trial(sorted(tracker.trials.values(), key=lambda trial: (trial.started_at or 0.0, trial.name)))
    definitions = [definition for _, definition in definitions_of(request)]
    region, name = options.resolved_region, str(tuning_job["HyperParameterTuningJobName"])
    identity = next(tag["Value"] for tag in request["Tags"] if tag["Key"] == REQUEST_TAG)
    return {
        "tuning_job": name,
        "tuning_job_arn": tuning_job["HyperParameterTuningJobArn"],
        "region": region,
        "status": tuning_job["HyperParameterTuningJobStatus"],
        "failure_reason": tuning_job.get("FailureReason"),
        "best_training_job": best.name if best else None,
        "best_model_uri": best.model_uri if best else None,
        "training_image": definitions[0]["AlgorithmSpecification"]["TrainingImage"],
        "training_jobs": dict(tuning_job["TrainingJobStatusCounters"]),
        "billed_instance_hours": round(sum(tracker.billed_seconds.values()) / 3600, 3),
        "request_hash": identity,
        "console_url": console_url(region, name),
        "log_url": log_url(region, name),
        "logs_not_read": tracker.logs.denied or None,
    }


def refuse_outcome(
    tuning_job: Mapping[str, Any], tracker: TrialTracker, options: SageMakerOptions, *, stopped_by_us: bool
) -> None:
    """Raise where a tuning job that has ended is not a result.

    Raises:
        EngineError: With the reasons that SageMaker and the trials give.
    """
    name, status = tuning_job["HyperParameterTuningJobName"], tuning_job["HyperParameterTuningJobStatus"]
    region = options.resolved_region
    trials = list(tracker.trials.values())
    if find_best_trial(trials) is None and not (stopped_by_us and status == "Stopped"):
        failed = [trial for trial in trials if trial.status == "failed"]
        reasons = list(dict.fromkeys(trial.failure_reason or "no reason known" for trial in failed))
        said = f" ({tuning_job['FailureReason']})" if tuning_job.get("FailureReason") else ""
        quoted = "; ".join(reasons[:QUOTED_REASONS]) or "no training job was started"
        raise EngineError(
            f"tuning job {name} is {status}{said} and left no model: {len(trials)} trials, {len(failed)} failed: "
            f"{quoted}. Fix what they name and give the search a new run; logs: {log_url(region, str(name))}"
        )
    if status == "Stopped" and options.on_stopped == "fail" and not stopped_by_us:
        raise EngineError(
            f"tuning job {name} was stopped before its end, by its time limit or by somebody, and on_stopped is "
            f'"fail"; use on_stopped "accept" to take its best model: {console_url(region, str(name))}'
        )
