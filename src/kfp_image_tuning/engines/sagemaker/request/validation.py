"""Everything that can be known of a request before it costs anything: whether it is right, what it can cost.

`check_request` puts together the service's own model (`service_model`), SageMaker's documented rules (`rules`) and the
algorithm's (`image_classification_rules`) and reports all violations at once.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kfp_image_tuning.core.errors import EngineOptionsError
from kfp_image_tuning.core.wording import duration
from kfp_image_tuning.engines.sagemaker.request import limits
from kfp_image_tuning.engines.sagemaker.request.image_classification_rules import find_broken_algorithm_rules
from kfp_image_tuning.engines.sagemaker.request.rules import definitions_of, find_broken_rules
from kfp_image_tuning.engines.sagemaker.request.service_model import find_violations

OPERATION = "CreateHyperParameterTuningJob"


def check_request(request: Mapping[str, Any], region: str) -> None:
    """Refuse a request that SageMaker or the algorithm would refuse.

    Args:
        request: The parameters of CreateHyperParameterTuningJob.
        region: Where it will be sent.

    Raises:
        EngineError: With every violation.
    """
    violations = find_violations(OPERATION, request)
    problems = [violation.sentence for violation in violations]
    # The rules can read only a request of the right form.
    if not any(violation.of_form for violation in violations):
        problems += find_broken_rules(request) + find_broken_algorithm_rules(request, region)
    if problems:
        raise EngineOptionsError.from_problems(_merge_definitions(problems))


def _merge_definitions(problems: list[str]) -> list[str]:
    """Say once what is wrong with several definitions alike, and keep the order."""
    anywhere = [re.sub(r"TrainingJobDefinitions\[\d+\]", "TrainingJobDefinitions[*]", problem) for problem in problems]
    merged = [
        general if anywhere.count(general) > 1 else problem for problem, general in zip(problems, anywhere, strict=True)
    ]
    return list(dict.fromkeys(merged))


@dataclass(frozen=True)
class Cost:
    """The most that a tuning job can use.

    Attributes:
        instance_hours: Hours times machines, over all training jobs.
        instance_types: The machine types that may be used, in the order of preference.
        trials: Training jobs at most.
        parallel: Of them at a time.
        machines: Machines of each, at most.
        seconds_per_trial: The longest run of each.
        seconds: The longest run of the tuning job.
    """

    instance_hours: float
    instance_types: tuple[str, ...]
    trials: int
    parallel: int
    machines: int
    seconds_per_trial: int
    seconds: int

    def describe(self) -> str:
        """One sentence for a reader."""
        machines = f" on {self.machines} machines each" if self.machines > 1 else ""
        return (
            f"at most {self.instance_hours:.1f} instance-hours of {' or '.join(self.instance_types)}: {self.trials} "
            f"trials of at most {duration(self.seconds_per_trial)}{machines}, {self.parallel} at a time, all over "
            f"after {duration(self.seconds)}"
        )


def most_cost(request: Mapping[str, Any], trials: int) -> Cost:
    """The most that a request can use, whatever the trials do.

    Args:
        request: A request that `check_request` has passed.
        trials: Training jobs at most.
    """
    resource_limits = request["HyperParameterTuningJobConfig"]["ResourceLimits"]
    parallel, hard_timeout = resource_limits["MaxParallelTrainingJobs"], resource_limits["MaxRuntimeInSeconds"]
    types: dict[str, None] = {}
    machines = per_trial = 0
    for _, definition in definitions_of(request):
        config = definition.get("ResourceConfig") or definition["HyperParameterTuningResourceConfig"]
        for choice in config.get("InstanceConfigs", (config,)):
            types[choice["InstanceType"]] = None
            machines = max(machines, choice["InstanceCount"])
        # Time of several attempts (RetryStrategy) counts together, and waiting for spot machines is not billed.
        per_trial = max(per_trial, definition["StoppingCondition"]["MaxRuntimeInSeconds"])
    seconds = min(trials * per_trial, parallel * (hard_timeout + limits.STOP_GRACE_SECONDS))
    return Cost(machines * seconds / 3600, tuple(types), trials, parallel, machines, per_trial, hard_timeout)
