"""From a search and the user's options to the whole CreateHyperParameterTuningJob request.

The same search and options always give the same request, to the byte: nothing of the moment goes into it. In mode
``conditional`` each optimizer is a TrainingJobDefinition of its own, with its own ranges and its ``optimizer`` as a
static hyperparameter; in mode ``flat``, or with a single optimizer, there is one definition.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kfp_image_tuning.core.errors import EngineOptionsError
from kfp_image_tuning.engines.sagemaker.request.channels import input_channels
from kfp_image_tuning.engines.sagemaker.request.job_names import own_tags, request_hash, tuning_job_name
from kfp_image_tuning.engines.sagemaker.request.limits import choose_hard_timeout, choose_parallel_trials
from kfp_image_tuning.engines.sagemaker.request.options import SageMakerOptions
from kfp_image_tuning.engines.sagemaker.request.parameter_ranges import parameter_ranges
from kfp_image_tuning.engines.sagemaker.request.training_image import is_built_in, training_image
from kfp_image_tuning.search.hyperparameter_table import is_active
from kfp_image_tuning.search.hyperparameters import Hyperparameters
from kfp_image_tuning.search.ranges import Range
from kfp_image_tuning.search.search import OBJECTIVE_METRIC, Search
from kfp_image_tuning.search.search_space import SearchSpace

STRATEGIES = {"bayesian": "Bayesian", "random": "Random", "grid": "Grid", "hyperband": "Hyperband"}
OBJECTIVE = {"Type": "Maximize", "MetricName": OBJECTIVE_METRIC}

METRIC_DEFINITIONS = [
    {"Name": "validation:accuracy", "Regex": r"Epoch\[\d+\] Validation-accuracy=([0-9.]+)"},
    {"Name": "train:accuracy", "Regex": r"Epoch\[\d+\] Train-accuracy=([0-9.]+)"},
]
"""How SageMaker reads the log of another image than the built-in algorithm's, which brings its own."""


@dataclass(frozen=True)
class Branch:
    """What one training job definition searches.

    Attributes:
        name: The optimizer, or ``all`` where one definition holds everything.
        ranges: Its tuned hyperparameters.
        statics: Its fixed hyperparameters in string form, without what its optimizers ignore.
        auto_parameters: Hyperparameters left to Autotune, with a hint at their value.
    """

    name: str
    ranges: Mapping[str, Range]
    statics: Mapping[str, str]
    auto_parameters: Mapping[str, str]


def build_request(search: Search, options: SageMakerOptions) -> dict[str, Any]:
    """The request, complete but unchecked (see `validation` and `rules`).

    Raises:
        EngineError: If the region is unknown, or a hyperparameter that is left to SageMaker has no value to start from.
    """
    branches = search_branches(search, options)
    image = options.image or training_image(options.resolved_region)
    definitions = [_definition(branch, search, options, image) for branch in branches]
    several = len(definitions) > 1
    config = _tuning_config(search, options)
    request: dict[str, Any] = {"HyperParameterTuningJobConfig": config}
    for branch, definition in zip(branches, definitions, strict=True):
        ranges = _ranges_document(branch)
        if several:
            definition |= {"DefinitionName": branch.name, "TuningObjective": OBJECTIVE, "HyperParameterRanges": ranges}
        else:
            config |= {"HyperParameterTuningJobObjective": OBJECTIVE, "ParameterRanges": ranges}
    request |= {"TrainingJobDefinitions": definitions} if several else {"TrainingJobDefinition": definitions[0]}
    if options.warm_start:
        request["WarmStartConfig"] = {
            "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": n} for n in options.warm_start.parents],
            "WarmStartType": options.warm_start.kind,
        }
    if options.autotune:
        request["Autotune"] = {"Mode": "Enabled"}
    request["Tags"] = [{"Key": key, "Value": value} for key, value in sorted(options.tags.items())]
    identity = request_hash(request)
    request["Tags"] += own_tags(options.run, identity)
    return {"HyperParameterTuningJobName": tuning_job_name(options.name_prefix, options.run, identity), **request}


def search_branches(search: Search, options: SageMakerOptions) -> list[Branch]:
    """What each training job definition searches.

    Raises:
        EngineError: If a hyperparameter that is left to SageMaker has no value to start from.
    """
    branches = [_branch(space, options) for space in search.branches()]
    fixed = {name for branch in branches for name in branch.auto_parameters}
    if unknown := [name for name in options.auto_parameters if name not in fixed]:
        raise EngineOptionsError(
            f"auto_parameters: {', '.join(unknown)} {'is' if len(unknown) == 1 else 'are'} not fixed in the search "
            "space, so there is no hint for SageMaker to start from; fix it to one value, or leave it out here"
        )
    return branches


def needs_several_definitions(search: Search) -> bool:
    """Whether the search becomes one training job definition for each optimizer."""
    return search.search_mode == "conditional" and len(search.space.optimizers) > 1


def early_stopping_type(search: Search, options: SageMakerOptions) -> str:
    """``Auto`` or ``Off``: the user's word, else what the search asks for where SageMaker can do it."""
    if options.early_stopping is not None:
        return options.early_stopping
    possible = not needs_several_definitions(search) and search.strategy != "hyperband"
    return "Auto" if search.stop_bad_trials and possible else "Off"


def _branch(space: SearchSpace, options: SageMakerOptions) -> Branch:
    optimizers = space.optimizers
    defaults = {key: value for optimizer in optimizers for key, value in space.default_values(optimizer).items()}
    fixed: dict[str, Any] = {**space.fixed, **defaults, "optimizer": optimizers[0]}
    if _instances(options) > 1:
        # Without a mode of synchronization every machine would train a model of its own.
        fixed.setdefault("kv_store", "dist_sync")
    strings = Hyperparameters(**fixed).to_strings()
    statics = {
        key: text
        for key, text in strings.items()
        if key not in space.ranges and any(is_active(key, optimizer) for optimizer in optimizers)
    }
    auto = {key: statics.pop(key) for key in options.auto_parameters if key in statics}
    return Branch(optimizers[0] if len(optimizers) == 1 else "all", space.ranges, statics, auto)


def _ranges_document(branch: Branch) -> dict[str, Any]:
    ranges: dict[str, Any] = dict(parameter_ranges(branch.ranges))
    if branch.auto_parameters:
        ranges["AutoParameters"] = [
            {"Name": name, "ValueHint": hint} for name, hint in sorted(branch.auto_parameters.items())
        ]
    return ranges


def _tuning_config(search: Search, options: SageMakerOptions) -> dict[str, Any]:
    budget = search.budget
    limits: dict[str, int] = {
        "MaxParallelTrainingJobs": choose_parallel_trials(search),
        "MaxRuntimeInSeconds": choose_hard_timeout(search, options),
    }
    if search.strategy != "grid":
        # A grid has as many trials as combinations; SageMaker wants the number left out.
        limits["MaxNumberOfTrainingJobs"] = budget.max_trials
    config: dict[str, Any] = {
        "Strategy": STRATEGIES[search.strategy],
        "ResourceLimits": limits,
        "TrainingJobEarlyStoppingType": early_stopping_type(search, options),
        "RandomSeed": search.seed,
    }
    if search.strategy == "hyperband":
        resources = {"MinResource": options.hyperband_min_epochs, "MaxResource": search.max_epochs}
        config["StrategyConfig"] = {"HyperbandStrategyConfig": resources}
    criteria: dict[str, Any] = {}
    if budget.target_objective is not None:
        criteria["TargetObjectiveMetricValue"] = budget.target_objective
    if budget.patience is not None:
        patience = budget.patience
        criteria["BestObjectiveNotImproving"] = {"MaxNumberOfTrainingJobsNotImproving": patience}
    if options.stop_on_convergence:
        criteria["ConvergenceDetected"] = {"CompleteOnConvergence": "Enabled"}
    return config | ({"TuningJobCompletionCriteria": criteria} if criteria else {})


def _definition(branch: Branch, search: Search, options: SageMakerOptions, image: str) -> dict[str, Any]:
    algorithm: dict[str, Any] = {"TrainingImage": image, "TrainingInputMode": options.input_mode}
    if not is_built_in(image):
        algorithm["MetricDefinitions"] = METRIC_DEFINITIONS
    output = {"S3OutputPath": options.output_uri}
    if options.output_kms_key:
        output["KmsKeyId"] = options.output_kms_key
    definition: dict[str, Any] = {
        "StaticHyperParameters": dict(branch.statics),
        "AlgorithmSpecification": algorithm,
        "RoleArn": options.role,
        "InputDataConfig": input_channels(options, multi_label=search.dataset.multi_label),
        "OutputDataConfig": output,
        **_resources(options),
        "StoppingCondition": _stopping_condition(options),
    }
    switches = {
        "EnableNetworkIsolation": options.network_isolation,
        "EnableInterContainerTrafficEncryption": options.encrypt_traffic,
        "EnableManagedSpotTraining": options.spot,
    }
    # All are off unless they are sent.
    definition |= {name: True for name, is_on in switches.items() if is_on}
    if options.spot or options.checkpoints:
        checkpoints = options.checkpoints or f"{options.output_uri.rstrip('/')}/checkpoints/"
        definition["CheckpointConfig"] = {"S3Uri": checkpoints}
    if options.subnets or options.security_groups:
        definition["VpcConfig"] = {
            "SecurityGroupIds": list(options.security_groups),
            "Subnets": list(options.subnets),
        }
    if options.retry_attempts is not None:
        definition["RetryStrategy"] = {"MaximumRetryAttempts": options.retry_attempts}
    if options.env:
        definition["Environment"] = dict(sorted(options.env.items()))
    return definition


def _resources(options: SageMakerOptions) -> dict[str, Any]:
    kms = {"VolumeKmsKeyId": options.volume_kms_key} if options.volume_kms_key else {}
    if options.instance_configs:
        choices = [
            {"InstanceType": c.instance_type, "InstanceCount": c.nodes, "VolumeSizeInGB": c.volume_gb}
            for c in options.instance_configs
        ]
        flexible = {"AllocationStrategy": "Prioritized", "InstanceConfigs": choices, **kms}
        return {"HyperParameterTuningResourceConfig": flexible}
    fixed = {
        "InstanceType": options.instance_type,
        "InstanceCount": options.nodes,
        "VolumeSizeInGB": options.volume_gb,
        **kms,
    }
    return {"ResourceConfig": fixed}


def _stopping_condition(options: SageMakerOptions) -> dict[str, int]:
    condition = {"MaxRuntimeInSeconds": options.max_trial_seconds}
    if options.spot:
        wait = options.max_wait_seconds
        condition["MaxWaitTimeInSeconds"] = 2 * options.max_trial_seconds if wait is None else wait
    if options.pending_timeout_seconds is not None:
        condition["MaxPendingTimeInSeconds"] = options.pending_timeout_seconds
    return condition


def _instances(options: SageMakerOptions) -> int:
    """The most machines that one training job has."""
    return max((c.nodes for c in options.instance_configs), default=options.nodes)
