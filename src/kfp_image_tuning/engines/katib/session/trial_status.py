"""Katib's Trials as this project's trials: status, hyperparameters, objective, and the epochs out of their logs."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from kfp_image_tuning.core.errors import HyperparameterError
from kfp_image_tuning.engines.epoch_log import VALIDATION_ACCURACY, EpochLog
from kfp_image_tuning.engines.katib.request.experiment import PlannedExperiment
from kfp_image_tuning.engines.katib.request.validation import has_condition
from kfp_image_tuning.search.hyperparameter_table import Value
from kfp_image_tuning.search.result import Trial, TrialStatus, find_best_epoch
from kfp_image_tuning.search.search import Search

ENDINGS: tuple[tuple[str, TrialStatus], ...] = (
    ("EarlyStopped", "early_stopped"),
    ("Succeeded", "completed"),
    ("Killed", "stopped"),
    ("MetricsUnavailable", "failed"),
    ("Failed", "failed"),
)


class TrialLog(EpochLog):
    """The epochs that the log of a trial's pod has told of so far.

    Attributes:
        pod: Whose log it is; a trial whose node was lost runs again in another pod.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pod = ""


def trial_from(resource: Mapping[str, Any], planned: PlannedExperiment, search: Search, log: TrialLog) -> Trial:
    """A Katib Trial as it is now.

    Args:
        resource: The Trial.
        planned: Its Experiment.
        search: The search.
        log: What its log has told.
    """
    status: TrialStatus = next((ours for theirs, ours in ENDINGS if has_condition(resource, theirs)), "running")
    times = resource.get("status", {})
    history = log.history
    objective = observed_objective(resource)
    best = find_best_epoch(history)
    if objective is None and best is not None and status in ("running", "stopped"):
        objective = best.validation_accuracy
    if status == "failed":
        objective = None
    note = None
    values = decode_hyperparameters(resource, planned, search)
    if epochs := values.pop("epochs_given", None):
        note = f"{epochs} of {search.max_epochs} epochs"
    return Trial(
        name=resource["metadata"]["name"],
        status=status,
        hyperparameters=values,
        objective=objective,
        best_epoch=best.epoch if best is not None and objective is not None else None,
        history=history,
        started_at=read_time(times.get("startTime") or resource["metadata"].get("creationTimestamp")),
        finished_at=None if status == "running" else read_time(times.get("completionTime") or _last_change(times)),
        failure_reason=_condition_message(resource) if status == "failed" else None,
        note=note,
    )


def decode_hyperparameters(resource: Mapping[str, Any], planned: PlannedExperiment, search: Search) -> dict[str, Value]:
    """What a trial was given, without what its optimizer ignores."""
    assignments = {entry["name"]: entry["value"] for entry in resource["spec"].get("parameterAssignments", ())}
    tuned = planned.decode(assignments)
    epochs = tuned.pop("epochs") if "epochs" in tuned and "epochs" not in search.space.ranges else None
    if "optimizer" not in tuned and "optimizer" in planned.space.fixed:
        tuned["optimizer"] = planned.space.fixed["optimizer"]
    try:
        values: dict[str, Value] = search.tuned_values(search.complete(tuned))
    except HyperparameterError:
        # Somebody else's hand in the Experiment: show it as it is.
        values = tuned
    return values if epochs is None else values | {"epochs_given": epochs}


def observed_objective(resource: Mapping[str, Any]) -> float | None:
    """The objective that Katib has collected: the best epoch's."""
    for metric in (resource.get("status", {}).get("observation") or {}).get("metrics") or ():
        if metric["name"] == VALIDATION_ACCURACY:
            try:
                return float(metric["max"])
            except (KeyError, ValueError):
                return None
    return None


def stopped(trial: Trial, now: float) -> Trial:
    """A trial that ended with the search; it keeps what it has reached."""
    return replace(trial, status="stopped", finished_at=now)


def read_time(text: str | None) -> float | None:
    """Kubernetes' time as Unix time."""
    return None if text is None else datetime.fromisoformat(text).timestamp()


def _last_change(status: Mapping[str, Any]) -> str | None:
    times = [condition.get("lastTransitionTime") for condition in status.get("conditions") or ()]
    return max((time for time in times if time), default=None)


def _condition_message(resource: Mapping[str, Any]) -> str:
    if has_condition(resource, "MetricsUnavailable"):
        return "it ended without an epoch, so that Katib collected no Validation-accuracy"
    conditions = resource.get("status", {}).get("conditions") or ()
    messages = [condition.get("message", "") for condition in conditions if condition["type"] == "Failed"]
    return next((message for message in messages if message), "Katib names no reason")
