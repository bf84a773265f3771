"""What SageMaker documents for tuning jobs but its service model does not hold: rules between fields.

Source: API reference of CreateHyperParameterTuningJob and the developer guide's chapter on automatic model tuning
("Define hyperparameter ranges", "Understand the hyperparameter tuning strategies", "Run a warm start hyperparameter
tuning job", "Stop training jobs early", "Resource limits"). Each rule is a function that yields a sentence for each
violation: place, value, rule, way out.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kfp_image_tuning.engines.sagemaker.request import limits

Request = Mapping[str, Any]
_SECRET_NAME = re.compile(
    r"(^|_)(SECRETS?|PASSWORD|PASSWD|TOKEN|CREDENTIALS?|(ACCESS|API|PRIVATE)_KEY)(_|$)", re.IGNORECASE
)
_EPOCH_NAMES = ("epochs", "numepochs", "n-epochs", "n_epochs", "num_epochs")


def find_broken_rules(request: Request) -> list[str]:
    """Every rule of SageMaker's that a request breaks, one sentence each."""
    return [problem for rule in _RULES for problem in rule(request)]


def definitions_of(request: Request) -> list[tuple[str, Mapping[str, Any]]]:
    """The training job definitions with their places."""
    single = request.get("TrainingJobDefinition")
    several = request.get("TrainingJobDefinitions") or ()
    placed = [("TrainingJobDefinition", single)] if single is not None else []
    return placed + [(f"TrainingJobDefinitions[{n}]", definition) for n, definition in enumerate(several)]


def ranges_of(request: Request) -> list[tuple[str, Mapping[str, Any]]]:
    """The range documents with their places, in the order of the definitions they are for."""
    if "TrainingJobDefinitions" in request:
        return [
            (f"{place}.HyperParameterRanges", definition.get("HyperParameterRanges", {}))
            for place, definition in definitions_of(request)
        ]
    return [
        (
            "HyperParameterTuningJobConfig.ParameterRanges",
            request["HyperParameterTuningJobConfig"].get("ParameterRanges", {}),
        )
    ]


def tuned_names(ranges: Mapping[str, Any]) -> list[str]:
    """The tuned hyperparameters of one range document."""
    kinds = ("IntegerParameterRanges", "ContinuousParameterRanges", "CategoricalParameterRanges", "AutoParameters")
    return [entry["Name"] for kind in kinds for entry in ranges.get(kind, ())]


def _one_kind_of_definition(request: Request) -> Iterator[str]:
    single, several = "TrainingJobDefinition" in request, "TrainingJobDefinitions" in request
    config = request["HyperParameterTuningJobConfig"]
    if single == several:
        yield (
            "TrainingJobDefinition: exactly one of TrainingJobDefinition and TrainingJobDefinitions must be given, got "
            f"{'both' if single else 'neither'}"
        )
    for name in ("ParameterRanges", "HyperParameterTuningJobObjective"):
        if several and name in config:
            yield f"HyperParameterTuningJobConfig.{name}: belongs into each definition where there are several"
        if single and name not in config:
            yield f"HyperParameterTuningJobConfig.{name}: is required with a single definition; give it"
    if not several:
        return
    names = [definition.get("DefinitionName") for _, definition in definitions_of(request)]
    if None in names or len(set(names)) != len(names):
        yield f"TrainingJobDefinitions: each needs a DefinitionName of its own, got {names}; rename them"
    for place, definition in definitions_of(request):
        for name in ("TuningObjective", "HyperParameterRanges"):
            if name not in definition:
                yield f"{place}.{name}: is required with several definitions; give it"


def _single_algorithm_features(request: Request) -> Iterator[str]:
    if "TrainingJobDefinitions" not in request:
        return
    count = len(request["TrainingJobDefinitions"])
    if request["HyperParameterTuningJobConfig"].get("TrainingJobEarlyStoppingType") == "Auto":
        yield (
            f"TrainingJobEarlyStoppingType: Auto works with a single definition only, there are {count} (one for each "
            'optimizer); use search_mode "flat", tune a single optimizer, or set early_stopping to "Off"'
        )
    if "WarmStartConfig" in request:
        yield (
            f"WarmStartConfig: works with a single definition only, there are {count} (one for each optimizer); "
            'use search_mode "flat", tune a single optimizer, or leave warm_start out'
        )


def _bounds(request: Request) -> Iterator[str]:
    for place, ranges in ranges_of(request):
        for kind in ("IntegerParameterRanges", "ContinuousParameterRanges"):
            for entry in ranges.get(kind, ()):
                yield from _bounds_of_range(f"{place}.{entry['Name']}", entry, integer=kind.startswith("Integer"))


def _bounds_of_range(place: str, entry: Mapping[str, str], *, integer: bool) -> Iterator[str]:
    texts = (entry["MinValue"], entry["MaxValue"])
    try:
        low, high = (int(text) if integer else float(text) for text in texts)
    except ValueError:
        yield f"{place}: bounds must be {'whole ' if integer else ''}numbers, got {texts[0]!r} to {texts[1]!r}"
        return
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        yield f"{place}: the minimum must be below the maximum, got {texts[0]} to {texts[1]}"
        return
    scaling = entry.get("ScalingType", "Auto")
    if scaling == "Logarithmic" and low <= 0:
        yield (f"{place}: Logarithmic scaling needs a minimum above 0, got {texts[0]}; raise the minimum or use Linear")
    if scaling == "ReverseLogarithmic" and (integer or not 0 <= low < high < 1):
        yield (
            f"{place}: ReverseLogarithmic scaling is for continuous ranges with 0 <= min and max < 1, got "
            f"{'integers ' if integer else ''}{texts[0]} to {texts[1]}; use Linear or Logarithmic"
        )


def _counts(request: Request) -> Iterator[str]:
    definitions = definitions_of(request)
    for (place, ranges), (_, definition) in zip(ranges_of(request), definitions, strict=False):
        names, statics = tuned_names(ranges), definition.get("StaticHyperParameters", {})
        tuned = len(names) - len(ranges.get("AutoParameters", ()))
        if tuned > limits.MAX_TUNED_HYPERPARAMETERS:
            yield f"{place}: {tuned} ranges are more than the {limits.MAX_TUNED_HYPERPARAMETERS} allowed; fix some"
        if not names:
            yield f"{place}: nothing is tuned; give at least one range that its optimizer uses"
        if len(names) + len(statics) > limits.MAX_HYPERPARAMETERS:
            yield f"{place}: {len(names) + len(statics)} hyperparameters are more than the 100 allowed; leave some out"
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield f"{place}.{name}: has more than one range; leave one out"
        for name in sorted(set(names) & set(statics)):
            yield f"{place}.{name}: is both tuned and fixed to {statics[name]!r}; leave one out"


def _trial_numbers(request: Request) -> Iterator[str]:
    config = request["HyperParameterTuningJobConfig"]
    resource_limits = config["ResourceLimits"]
    parallel = resource_limits["MaxParallelTrainingJobs"]
    trials = resource_limits.get("MaxNumberOfTrainingJobs")
    if parallel > limits.MAX_PARALLEL_TRIALS:
        yield f"MaxParallelTrainingJobs: at most {limits.MAX_PARALLEL_TRIALS}, got {parallel}; lower parallel_trials"
    if trials is None:
        if config["Strategy"] != "Grid" and "Autotune" not in request:
            yield "MaxNumberOfTrainingJobs: must be given with every strategy but Grid"
        return
    most = limits.MAX_TRIALS_RANDOM if config["Strategy"] == "Random" else limits.MAX_TRIALS
    if trials > most:
        yield f"MaxNumberOfTrainingJobs: at most {most} with strategy {config['Strategy']}, got {trials}; lower trials"
    if parallel > trials:
        yield f"MaxParallelTrainingJobs: {parallel} is more than the {trials} trials; lower parallel_trials"


def _grid(request: Request) -> Iterator[str]:
    config = request["HyperParameterTuningJobConfig"]
    if config["Strategy"] != "Grid":
        return
    product = 0
    for place, ranges in ranges_of(request):
        for kind in ("IntegerParameterRanges", "ContinuousParameterRanges"):
            for entry in ranges.get(kind, ()):
                yield (
                    f"{place}.{entry['Name']}: a grid is made of choices, not of ranges, got {entry['MinValue']} to "
                    f'{entry["MaxValue"]}; give a list of values, fix it, or use strategy "bayesian"'
                )
        product += math.prod(len(entry["Values"]) for entry in ranges.get("CategoricalParameterRanges", ()))
    trials = config["ResourceLimits"].get("MaxNumberOfTrainingJobs")
    if trials is not None and trials != product:
        yield f"MaxNumberOfTrainingJobs: must be the grid's {product} combinations or left out, got {trials}"
    if product > limits.MAX_TRIALS:
        yield f"ParameterRanges: the grid has {product} combinations, at most {limits.MAX_TRIALS} are run; give fewer"


def _hyperband(request: Request) -> Iterator[str]:
    config = request["HyperParameterTuningJobConfig"]
    resources = config.get("StrategyConfig", {}).get("HyperbandStrategyConfig")
    if config["Strategy"] != "Hyperband":
        if resources is not None:
            yield f"StrategyConfig: is for strategy Hyperband only, got {config['Strategy']}; leave it out"
        return
    if config.get("TrainingJobEarlyStoppingType", "Off") != "Off":
        yield 'TrainingJobEarlyStoppingType: Hyperband stops trials itself, set early_stopping to "Off"'
    for place, definition in definitions_of(request):
        if not any(name in definition.get("StaticHyperParameters", {}) for name in _EPOCH_NAMES):
            yield f"{place}.StaticHyperParameters.epochs: Hyperband needs fixed epochs as its resource; fix epochs"
    if resources is None:
        return
    low, high = resources.get("MinResource", 1), resources.get("MaxResource", limits.MAX_HYPERBAND_RESOURCE)
    if high > limits.MAX_HYPERBAND_RESOURCE:
        yield f"MaxResource: at most {limits.MAX_HYPERBAND_RESOURCE} epochs, got {high}; lower epochs"
    if low >= high:
        yield f"MinResource: {low} epochs must be below the {high} epochs of a whole trial; lower it or raise epochs"


def _resources(request: Request) -> Iterator[str]:
    for place, definition in definitions_of(request):
        fixed, flexible = definition.get("ResourceConfig"), definition.get("HyperParameterTuningResourceConfig")
        if (fixed is None) == (flexible is None):
            yield (
                f"{place}: exactly one of ResourceConfig and HyperParameterTuningResourceConfig must be given, got "
                f"{'neither' if fixed is None else 'both'}"
            )
        for name, config in (("ResourceConfig", fixed), ("HyperParameterTuningResourceConfig", flexible)):
            yield from _resources_of_config(f"{place}.{name}", config or {})


def _resources_of_config(place: str, config: Mapping[str, Any]) -> Iterator[str]:
    single = [name for name in ("InstanceType", "InstanceCount", "VolumeSizeInGB") if name in config]
    if "InstanceConfigs" in config and single:
        yield f"{place}: InstanceConfigs and {', '.join(single)} exclude each other; give one or the other"
    if config and "InstanceConfigs" not in config and len(single) < 3:
        yield f"{place}: needs InstanceType, InstanceCount and VolumeSizeInGB, or InstanceConfigs; got {single}"
    for number, choice in enumerate(config.get("InstanceConfigs", (config,) if single else ())):
        here = f"{place}.InstanceConfigs[{number}]" if "InstanceConfigs" in config else place
        for name in ("InstanceCount", "VolumeSizeInGB"):
            if choice.get(name) == 0:
                yield f"{here}.{name}: must be at least 1, got 0"
        local_disks = _has_local_disks(str(choice.get("InstanceType", "")))
        if config.get("VolumeKmsKeyId") and local_disks:
            yield (
                f"{place}.VolumeKmsKeyId: {choice['InstanceType']} has local NVMe disks, which take no KMS key (they "
                "are always encrypted by the machine); leave volume_kms_key out or choose a type without them"
            )


def _has_local_disks(instance_type: str) -> bool:
    return instance_type.split(".")[1:2] != [] and instance_type.split(".")[1] in (
        "g4dn", "g5", "g6", "g6e", "p3dn", "p4d", "p4de", "p5", "p5e", "p5en", "trn1", "trn1n", "trn2", "r5d",
    )  # fmt: skip


def _times(request: Request) -> Iterator[str]:
    hard_timeout = request["HyperParameterTuningJobConfig"]["ResourceLimits"].get("MaxRuntimeInSeconds")
    if hard_timeout is None:
        yield "ResourceLimits.MaxRuntimeInSeconds: must be given, so that a forgotten tuning job ends; give max_seconds"
    elif hard_timeout > limits.MAX_TUNING_SECONDS:
        yield f"ResourceLimits.MaxRuntimeInSeconds: at most 30 days ({limits.MAX_TUNING_SECONDS}), got {hard_timeout}"
    for place, definition in definitions_of(request):
        condition = definition.get("StoppingCondition", {})
        runtime, wait = condition.get("MaxRuntimeInSeconds"), condition.get("MaxWaitTimeInSeconds")
        spot = definition.get("EnableManagedSpotTraining", False)
        if runtime is None:
            yield f"{place}.StoppingCondition.MaxRuntimeInSeconds: must be given, so that no trial runs for ever"
        elif runtime > limits.MAX_TRAINING_SECONDS:
            yield (
                f"{place}.StoppingCondition.MaxRuntimeInSeconds: at most 28 days ({limits.MAX_TRAINING_SECONDS}), got "
                f"{runtime}; lower max_trial_seconds"
            )
        if spot and (wait is None or wait < (runtime or 0)):
            yield (
                f"{place}.StoppingCondition.MaxWaitTimeInSeconds: spot training needs at least MaxRuntimeInSeconds "
                f"({runtime}), got {wait}; raise max_wait_seconds"
            )
        if wait is not None and not spot:
            yield f"{place}.StoppingCondition.MaxWaitTimeInSeconds: is for spot training only; leave it out or use spot"
        if spot and "CheckpointConfig" not in definition:
            yield (
                f"{place}.CheckpointConfig: spot training without checkpoints starts again after every interruption; "
                "give checkpoints"
            )


def _autotune(request: Request) -> Iterator[str]:
    for place, ranges in ranges_of(request):
        if ranges.get("AutoParameters") and "Autotune" not in request:
            names = ", ".join(entry["Name"] for entry in ranges["AutoParameters"])
            yield f"{place}.AutoParameters: {names} can be left to SageMaker with Autotune only; set autotune"


def _tags_and_environment(request: Request) -> Iterator[str]:
    keys = [tag["Key"] for tag in request.get("Tags", ())]
    for key in sorted({key for key in keys if keys.count(key) > 1}):
        yield f"Tags: {key!r} stands twice; leave one out"
    for key in keys:
        if key.lower().startswith("aws:"):
            yield f"Tags: {key!r} starts with aws:, which is reserved; rename it"
    named = {name for _, definition in definitions_of(request) for name in definition.get("Environment", {})}
    for name in sorted(named):
        if _SECRET_NAME.search(name):
            yield (
                f"Environment.{name}: looks like a secret, and everyone who may describe the job can read it; give the "
                "execution role access to AWS Secrets Manager instead"
            )


def _warm_start(request: Request) -> Iterator[str]:
    parents = [
        parent.get("HyperParameterTuningJobName")
        for parent in request.get("WarmStartConfig", {}).get("ParentHyperParameterTuningJobs", ())
    ]
    if None in parents or len(set(parents)) != len(parents):
        yield f"WarmStartConfig: each parent must be named, and once, got {parents}"
    if request.get("HyperParameterTuningJobName") in parents:
        yield "WarmStartConfig: a tuning job cannot be its own parent; leave it out"


_RULES: tuple[Callable[[Request], Iterator[str]], ...] = (
    _one_kind_of_definition,
    _single_algorithm_features,
    _bounds,
    _counts,
    _trial_numbers,
    _grid,
    _hyperband,
    _resources,
    _times,
    _autotune,
    _tags_and_environment,
    _warm_start,
)
