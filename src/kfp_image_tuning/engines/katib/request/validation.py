"""Everything that can be known of an Experiment before it is applied: whether Katib would take it, and run it.

`check_experiment` puts together the rules of Katib's validating webhook, those that its suggestion services and its
trial generator enforce later, when the Experiment already exists and fails, and those of Kubernetes for trial pods that
Katib passes on. All violations are reported at once, each with its place.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kfp_image_tuning.core.errors import EngineOptionsError
from kfp_image_tuning.engines.katib.request.collector_rules import find_broken_collector_rules
from kfp_image_tuning.engines.katib.request.experiment_types import find_mistyped
from kfp_image_tuning.engines.katib.request.names import LONGEST_EXPERIMENT_NAME
from kfp_image_tuning.engines.katib.request.parameter_rules import find_broken_parameter_rules
from kfp_image_tuning.engines.katib.request.suggestion_rules import find_broken_algorithm_rules
from kfp_image_tuning.engines.katib.request.template_rules import find_broken_template_rules

API_VERSION = "kubeflow.org/v1beta1"
RESUME_POLICIES = ("Never", "LongRunning", "FromVolume")
OBJECTIVE_TYPES = ("minimize", "maximize")
METRIC_STRATEGIES = ("min", "max", "latest")
EARLY_STOPPING_ALGORITHMS = ("medianstop",)
SPEC_FIELDS = frozenset(
    {
        *("parameters", "objective", "algorithm", "earlyStopping", "trialTemplate", "parallelTrialCount"),
        *("maxTrialCount", "maxFailedTrialCount", "metricsCollectorSpec", "nasConfig", "resumePolicy"),
    }
)
EDITABLE_FIELDS = ("parallelTrialCount", "maxTrialCount", "maxFailedTrialCount")


def check_experiment(experiment: Mapping[str, Any]) -> None:
    """Refuse an Experiment that Katib would refuse, or could not run.

    Raises:
        EngineError: With every violation.
    """
    if problems := find_problems(experiment):
        name = experiment.get("metadata", {}).get("name", "without a name")
        raise EngineOptionsError.from_problems(f"Experiment {name}: {problem}" for problem in problems)


def find_problems(experiment: Mapping[str, Any]) -> list[str]:
    """Every rule that an Experiment breaks, one sentence each; of one that cannot be read, what is of a wrong type."""
    if mistyped := [str(problem) for problem in find_mistyped(experiment)]:
        return mistyped
    spec = experiment.get("spec")
    problems = list(_find_broken_head_rules(experiment))
    if not isinstance(spec, Mapping):
        return [*problems, "spec: is missing"]
    # Katib's defaulting webhook runs before the validating one.
    spec = {"parallelTrialCount": 3, "resumePolicy": "Never", **spec}
    checks: Iterable[Iterable[str]] = (
        _find_broken_count_rules(spec),
        _find_broken_objective_rules(spec),
        find_broken_parameter_rules(spec),
        find_broken_algorithm_rules(spec),
        _find_broken_early_stopping_rules(spec),
        find_broken_template_rules(spec),
        find_broken_collector_rules(spec),
    )
    return problems + [problem for check in checks for problem in check]


def find_update_problems(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Every rule that a change of an Experiment breaks."""
    before, after = dict(old["spec"]), dict(new["spec"])
    if before == after:
        return []
    problems = []
    trials = old.get("status", {}).get("trials", 0)
    if after.get("maxTrialCount", trials + 1) <= trials:
        problems.append(f"spec.maxTrialCount: must be above the {trials} existing trials, got {after['maxTrialCount']}")
    if is_completed(old) and not is_restartable(old):
        problems.append(
            "spec: an Experiment that is over can continue only if it reached maxTrialCount and resumePolicy is "
            f"LongRunning or FromVolume, here it is {before.get('resumePolicy', 'Never')}"
        )
    for name in EDITABLE_FIELDS:
        before.pop(name, None)
        after.pop(name, None)
    if before != after:
        problems.append(f"spec: only {', '.join(EDITABLE_FIELDS)} can be changed")
    return problems


def has_condition(resource: Mapping[str, Any], kind: str) -> bool:
    """Whether a status condition is true."""
    conditions = resource.get("status", {}).get("conditions") or ()
    return any(condition["type"] == kind and condition["status"] == "True" for condition in conditions)


def is_completed(experiment: Mapping[str, Any]) -> bool:
    """Whether an Experiment is over."""
    return has_condition(experiment, "Succeeded") or has_condition(experiment, "Failed")


def is_exhausted(experiment: Mapping[str, Any]) -> bool:
    """Whether an Experiment is over because it has no more trials to make; one that reached its goal had some left."""
    conditions = experiment.get("status", {}).get("conditions") or ()
    return any(
        condition["type"] == "Succeeded"
        and condition["status"] == "True"
        and condition.get("reason") != "ExperimentGoalReached"
        for condition in conditions
    )


def is_restartable(experiment: Mapping[str, Any]) -> bool:
    """Whether an Experiment that is over continues when it is allowed more trials."""
    conditions = experiment.get("status", {}).get("conditions") or ()
    reached = any(
        condition["type"] == "Succeeded" and condition.get("reason") == "ExperimentMaxTrialsReached"
        for condition in conditions
    )
    return reached and experiment["spec"].get("resumePolicy") in ("LongRunning", "FromVolume")


def _find_broken_head_rules(experiment: Mapping[str, Any]) -> Iterator[str]:
    if experiment.get("apiVersion") != API_VERSION or experiment.get("kind") != "Experiment":
        yield f"apiVersion and kind: must be {API_VERSION} and Experiment"
    name = experiment.get("metadata", {}).get("name", "")
    if not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name):
        yield (
            f"metadata.name: {name!r} must hold lower-case letters, digits and '-', start with a letter and end with a "
            "letter or digit"
        )
    if len(name) > LONGEST_EXPERIMENT_NAME:
        yield (
            f"metadata.name: {name!r} has {len(name)} characters, Katib's own objects leave room for "
            f"{LONGEST_EXPERIMENT_NAME}; give a shorter name_prefix"
        )


def _find_broken_count_rules(spec: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted(set(spec) - SPEC_FIELDS):
        yield f"spec.{name}: is not a field of an Experiment"
    counts = {name: spec.get(name) for name in EDITABLE_FIELDS}
    for name, count in counts.items():
        least = 0 if name == "maxFailedTrialCount" else 1
        if count is not None and count < least:
            yield f"spec.{name}: must be at least {least}, got {count}"
    most = counts["maxTrialCount"]
    for name in ("parallelTrialCount", "maxFailedTrialCount"):
        count = counts[name]
        if most is not None and count is not None and count > most:
            yield f"spec.{name}: {count} is more than maxTrialCount, {most}"
    if spec["resumePolicy"] not in RESUME_POLICIES:
        yield f"spec.resumePolicy: must be one of {', '.join(RESUME_POLICIES)}, got {spec['resumePolicy']!r}"


def _find_broken_objective_rules(spec: Mapping[str, Any]) -> Iterator[str]:
    objective = spec.get("objective")
    if not objective:
        yield "spec.objective: is missing"
        return
    if objective.get("type") not in OBJECTIVE_TYPES:
        yield f"spec.objective.type: must be minimize or maximize, got {objective.get('type')!r}"
    name = objective.get("objectiveMetricName")
    if not name:
        yield "spec.objective.objectiveMetricName: is missing"
    additional = objective.get("additionalMetricNames") or ()
    if name in additional:
        yield f"spec.objective.additionalMetricNames: must not hold the objective's own metric, {name}"
    for strategy in objective.get("metricStrategies") or ():
        if strategy.get("value") not in METRIC_STRATEGIES:
            yield (
                f"spec.objective.metricStrategies: {strategy.get('name')} must be one of "
                f"{', '.join(METRIC_STRATEGIES)}, got {strategy.get('value')!r}"
            )
    for metric in (name, *additional):
        # Names and filters travel to the collector in one argument, joined by semicolons.
        if metric and ";" in metric:
            yield f"spec.objective: the metric name {metric!r} must not hold a semicolon"


def _find_broken_early_stopping_rules(spec: Mapping[str, Any]) -> Iterator[str]:
    stopping = spec.get("earlyStopping")
    if stopping is None:
        return
    if stopping.get("algorithmName") not in EARLY_STOPPING_ALGORITHMS:
        yield f"spec.earlyStopping.algorithmName: Katib has medianstop only, got {stopping.get('algorithmName')!r}"
    for setting in stopping.get("algorithmSettings") or ():
        name, value = setting.get("name"), setting.get("value")
        if name not in ("min_trials_required", "start_step"):
            yield f"spec.earlyStopping.algorithmSettings: {name} is unknown; it has min_trials_required, start_step"
        elif not (value and value.isdigit() and (name == "min_trials_required" or int(value) > 0)):
            yield f"spec.earlyStopping.algorithmSettings: {name} must be a whole number as text, got {value!r}"
