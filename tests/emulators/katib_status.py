"""What Katib writes into the status of Experiments and Trials, and its median stopping, as plain data.

A part of the stand-in for Katib; see `tests.emulators.katib_controller`.
"""

import datetime
import json
from collections.abc import Mapping, Sequence
from typing import Any

from kfp_image_tuning.engines.katib.request.validation import has_condition

KINDS = ("EarlyStopped", "MetricsUnavailable", "Failed", "Succeeded")
COUNTS = {
    "Succeeded": "trialsSucceeded",
    "Failed": "trialsFailed",
    "MetricsUnavailable": "trialMetricsUnavailable",
    "EarlyStopped": "trialsEarlyStopped",
    "Running": "trialsRunning",
}


def experiment_status(experiment: Mapping[str, Any], trials: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The whole status of an Experiment."""
    spec, objective = experiment["spec"], experiment["spec"]["objective"]
    kinds = [next((kind for kind in KINDS if has_condition(trial, kind)), "Running") for trial in trials]
    counts = {kind: kinds.count(kind) for kind in COUNTS}
    status: dict[str, Any] = {
        "startTime": experiment.get("status", {}).get("startTime") or now(),
        "trials": len(trials),
        **{name: counts[kind] for kind, name in COUNTS.items()},
        "conditions": [condition("Created", "ExperimentCreated", "Experiment is created")],
    }
    best = _best_trial(objective, trials)
    if best is not None:
        status["currentOptimalTrial"] = {
            "bestTrialName": best["metadata"]["name"],
            "parameterAssignments": best["spec"]["parameterAssignments"],
            "observation": best["status"]["observation"],
        }
    failed = counts["Failed"] + counts["MetricsUnavailable"]
    if best is not None and _objective_value(objective, best) >= objective.get("goal", float("inf")):
        end = condition("Succeeded", "ExperimentGoalReached", "Objective goal is reached")
    elif failed >= spec.get("maxFailedTrialCount", float("inf")):
        reason = "Experiment has failed because max failed count has reached"
        end = condition("Failed", "ExperimentMaxFailedTrialsReached", reason)
    elif counts["Succeeded"] + counts["EarlyStopped"] + failed >= spec["maxTrialCount"]:
        reason = "Experiment has succeeded because max trial count has reached"
        end = condition("Succeeded", "ExperimentMaxTrialsReached", reason)
    else:
        end = condition("Running", "ExperimentRunning", "Experiment is running")
    status["conditions"].append(end)
    return status


def trial_end(
    trial: Mapping[str, Any], job: Mapping[str, Any], metrics: Mapping[str, Any], stopped: bool
) -> dict[str, Any]:
    """The status of a Trial whose Job is over.

    Args:
        trial: The Trial.
        job: The condition with which its Job ended.
        metrics: What was collected.
        stopped: Whether it was ended early.
    """
    status = {**trial["status"], "completionTime": now()}
    if metrics:
        status["observation"] = {"metrics": [{"name": name, **values} for name, values in metrics.items()]}
    if job["type"] == "Failed":
        end = condition("Failed", "TrialFailed", f"Trial has failed. Job message: {job.get('message')}")
    elif stopped:
        end = condition("EarlyStopped", "TrialEarlyStopped", "Trial is early stopped")
    elif trial["spec"]["objective"]["objectiveMetricName"] not in metrics:
        end = condition("MetricsUnavailable", "MetricsUnavailable", "Metrics are not available")
    else:
        end = condition("Succeeded", "TrialSucceeded", "Trial has succeeded")
    status["conditions"] = [entry for entry in status["conditions"] if entry["type"] == "Created"] + [end]
    return status


def median_stop_rules(
    experiment: Mapping[str, Any], trials: Sequence[Mapping[str, Any]], observations: Mapping[str, Sequence[float]]
) -> list[dict[str, Any]]:
    """The rules that a new trial gets: to be no worse than the mean of what succeeded trials had at first.

    Katib calls it the median.

    Args:
        experiment: The Experiment.
        trials: Its Trials so far.
        observations: Trial to the objective's values, in their order.
    """
    stopping = experiment["spec"].get("earlyStopping")
    if not stopping:
        return []
    settings = {entry["name"]: int(entry["value"]) for entry in stopping.get("algorithmSettings", ())}
    start_step = settings.get("start_step", 4)
    firsts = [
        observations[trial["metadata"]["name"]][:start_step] for trial in trials if has_condition(trial, "Succeeded")
    ]
    if len(firsts) < settings.get("min_trials_required", 3):
        return []
    averages = [sum(values) / len(values) for values in firsts]
    objective = experiment["spec"]["objective"]
    return [
        {
            "name": objective["objectiveMetricName"],
            "value": str(sum(averages) / len(averages)),
            "comparison": "less" if objective["type"] == "maximize" else "greater",
            "startStep": start_step,
        }
    ]


def is_ended(trial: Mapping[str, Any]) -> bool:
    """Whether a Trial is over."""
    return any(has_condition(trial, kind) for kind in (*KINDS, "Killed"))


def condition(kind: str, reason: str, message: str) -> dict[str, Any]:
    """A status condition that is true from now on."""
    moment = now()
    return {
        "type": kind,
        "status": "True",
        "reason": reason,
        "message": message,
        "lastUpdateTime": moment,
        "lastTransitionTime": moment,
    }


def without_times(status: Mapping[str, Any]) -> Any:
    """A status without what changes at each look."""
    conditions = [
        {name: value for name, value in entry.items() if not name.endswith("Time")}
        for entry in status.get("conditions", ())
    ]
    return json.loads(json.dumps({**status, "conditions": conditions}))


def now() -> str:
    """The time in Kubernetes' form."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _best_trial(objective: Mapping[str, Any], trials: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    scored = [trial for trial in trials if has_condition(trial, "Succeeded") or has_condition(trial, "EarlyStopped")]
    return max(scored, key=lambda trial: _objective_value(objective, trial), default=None)


def _objective_value(objective: Mapping[str, Any], trial: Mapping[str, Any]) -> float:
    metric = objective["objectiveMetricName"]
    strategy = next((s["value"] for s in objective["metricStrategies"] if s["name"] == metric), "max")
    return float(next(m[strategy] for m in trial["status"]["observation"]["metrics"] if m["name"] == metric))
