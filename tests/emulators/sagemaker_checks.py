"""What SageMaker refuses: the service model's own limits, and its documented rules, written down a second time.

Independent of the engine's rules on purpose: a request is right when both agree. Like the service, this names one
complaint at a time.
"""

import math
from collections.abc import Mapping
from typing import Any

from kfp_image_tuning.engines.sagemaker.request.service_model import find_violations

Document = Mapping[str, Any]


class ServiceError(Exception):
    """An answer other than success.

    Attributes:
        code: SageMaker's name of the error.
        status: HTTP status.
    """

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


def refuse(message: str) -> None:
    """Answer as the service does to a request that is not valid."""
    raise ServiceError("ValidationException", message)


def check_form(operation: str, request: Document, service: str = "sagemaker") -> None:
    """Check a request against the service model, patterns and maxima included."""
    found = find_violations(operation, request, service)
    if found:
        raise ServiceError("ValidationException", f"{len(found)} validation error detected: {found[0].sentence}")


def check_tuning_job(request: Document) -> None:
    """Check a CreateHyperParameterTuningJob request beyond its form."""
    config = request["HyperParameterTuningJobConfig"]
    several = request.get("TrainingJobDefinitions")
    if bool(several) == ("TrainingJobDefinition" in request):
        refuse("You must provide either TrainingJobDefinition or TrainingJobDefinitions.")
    if several:
        names = [definition.get("DefinitionName") for definition in several]
        if not all(names) or len(set(names)) < len(names):
            refuse("DefinitionName must be given and unique in TrainingJobDefinitions.")
        if "ParameterRanges" in config or "HyperParameterTuningJobObjective" in config:
            refuse("ParameterRanges and objective must be in the TrainingJobDefinitions.")
        if not all("HyperParameterRanges" in d and "TuningObjective" in d for d in several):
            refuse("Every definition must have HyperParameterRanges and TuningObjective.")
        if config.get("TrainingJobEarlyStoppingType", "Off") == "Auto" or "WarmStartConfig" in request:
            refuse("Warm start and early stopping are not supported with TrainingJobDefinitions.")
    elif "ParameterRanges" not in config or "HyperParameterTuningJobObjective" not in config:
        refuse("HyperParameterTuningJobConfig must have ParameterRanges and an objective.")
    _check_strategy(config, request)
    for definition in several or [request["TrainingJobDefinition"]]:
        ranges = definition.get("HyperParameterRanges") or config["ParameterRanges"]
        _check_ranges(ranges, definition, autotune="Autotune" in request)
        _check_definition(definition)
    keys = [tag["Key"] for tag in request.get("Tags", ())]
    if len(set(keys)) < len(keys) or any(key.startswith("aws:") for key in keys):
        refuse("Tags must be unique and must not start with aws:")


def _check_strategy(config: Document, request: Document) -> None:
    limits = config["ResourceLimits"]
    trials, parallel = limits.get("MaxNumberOfTrainingJobs"), limits["MaxParallelTrainingJobs"]
    definitions = request.get("TrainingJobDefinitions") or [request["TrainingJobDefinition"]]
    all_ranges = [d.get("HyperParameterRanges") or config["ParameterRanges"] for d in definitions]
    if config["Strategy"] == "Grid":
        if any(r.get("ContinuousParameterRanges") or r.get("IntegerParameterRanges") for r in all_ranges):
            refuse("Grid search supports CategoricalParameterRanges only.")
        product = sum(math.prod(len(c["Values"]) for c in r["CategoricalParameterRanges"]) for r in all_ranges)
        if trials not in (None, product):
            refuse(f"MaxNumberOfTrainingJobs must be {product} or absent with Grid.")
        return
    if trials is None and "Autotune" not in request:
        refuse("MaxNumberOfTrainingJobs is required.")
    if trials is not None and (parallel > trials or trials > (10_000 if config["Strategy"] == "Random" else 750)):
        refuse("MaxParallelTrainingJobs must not exceed MaxNumberOfTrainingJobs, nor that the account limit.")
    if config["Strategy"] == "Hyperband":
        if config.get("TrainingJobEarlyStoppingType", "Off") != "Off":
            refuse("TrainingJobEarlyStoppingType must be Off with Hyperband.")
        if any("epochs" not in definition.get("StaticHyperParameters", {}) for definition in definitions):
            refuse("Hyperband could not infer MaxResource from the static hyperparameters.")
    elif "StrategyConfig" in config:
        refuse("StrategyConfig is supported with Hyperband only.")


def _check_ranges(ranges: Document, definition: Document, *, autotune: bool) -> None:
    numbers = ranges.get("ContinuousParameterRanges", []) + ranges.get("IntegerParameterRanges", [])
    names = [entry["Name"] for entry in numbers + ranges.get("CategoricalParameterRanges", [])]
    auto = [entry["Name"] for entry in ranges.get("AutoParameters", [])]
    if auto and not autotune:
        refuse("AutoParameters need Autotune.")
    if not names + auto or len(names) > 30 or len(set(names + auto)) < len(names + auto):
        refuse("Between 1 and 30 different hyperparameters can be tuned.")
    if set(names + auto) & set(definition.get("StaticHyperParameters", {})):
        refuse("A hyperparameter cannot be both static and tunable.")
    for entry in numbers:
        low, high = float(entry["MinValue"]), float(entry["MaxValue"])
        if not low < high:
            refuse(f"{entry['Name']}: MinValue must be less than MaxValue.")
        scaling = entry.get("ScalingType", "Auto")
        if scaling == "Logarithmic" and low <= 0:
            refuse(f"{entry['Name']}: Logarithmic scaling requires positive values.")
        if scaling == "ReverseLogarithmic" and (entry in ranges.get("IntegerParameterRanges", []) or high >= 1):
            refuse(f"{entry['Name']}: ReverseLogarithmic scaling requires continuous values in [0, 1).")
    for entry in ranges.get("IntegerParameterRanges", []):
        int(entry["MinValue"])
        int(entry["MaxValue"])


def _check_definition(definition: Document) -> None:
    condition = definition["StoppingCondition"]
    wait, runtime = condition.get("MaxWaitTimeInSeconds"), condition.get("MaxRuntimeInSeconds", 86_400)
    if definition.get("EnableManagedSpotTraining"):
        if wait is None or wait < runtime:
            refuse("MaxWaitTimeInSeconds must be greater than or equal to MaxRuntimeInSeconds.")
    elif wait is not None:
        refuse("MaxWaitTimeInSeconds requires EnableManagedSpotTraining.")
    flexible = definition.get("HyperParameterTuningResourceConfig")
    if bool(flexible) == ("ResourceConfig" in definition):
        refuse("Exactly one of ResourceConfig and HyperParameterTuningResourceConfig is required.")
    if flexible and "InstanceConfigs" in flexible and {"InstanceType", "InstanceCount"} & set(flexible):
        refuse("InstanceConfigs cannot be combined with InstanceType, InstanceCount or VolumeSizeInGB.")
    for channel in definition["InputDataConfig"]:
        source = channel["DataSource"]["S3DataSource"]
        mode = channel.get("InputMode", definition["AlgorithmSpecification"]["TrainingInputMode"])
        if source["S3DataType"] == "AugmentedManifestFile" and mode != "Pipe":
            refuse("AugmentedManifestFile requires Pipe input mode.")
    if any("KmsKeyId" in d and not d["KmsKeyId"] for d in (definition["OutputDataConfig"],)):
        refuse("KmsKeyId must not be empty.")
