"""The plan of a tuning job: its request, checked, and what a reader should know before spending."""

from typing import Any

from kfp_image_tuning.core.errors import BudgetError
from kfp_image_tuning.core.wording import duration
from kfp_image_tuning.engines.protocol import Plan
from kfp_image_tuning.engines.sagemaker.request import limits
from kfp_image_tuning.engines.sagemaker.request.options import SageMakerOptions
from kfp_image_tuning.engines.sagemaker.request.parameter_ranges import scaling_notes
from kfp_image_tuning.engines.sagemaker.request.request import (
    build_request,
    early_stopping_type,
    needs_several_definitions,
    search_branches,
)
from kfp_image_tuning.engines.sagemaker.request.rules import definitions_of
from kfp_image_tuning.engines.sagemaker.request.validation import check_request, most_cost
from kfp_image_tuning.search.search import Search

ENGINE_NAME = "sagemaker"


def plan_search(search: Search, options: SageMakerOptions) -> Plan:
    """Make and check the request; nothing is sent.

    Raises:
        EngineError: With everything that SageMaker or the algorithm would refuse.
        BudgetError: If a grid has more combinations than the budget has trials.
    """
    trials = limits.count_trials(search)
    if search.strategy == "grid" and trials > search.budget.max_trials:
        raise BudgetError(
            f"trials: the grid has {trials} combinations, the budget {search.budget.max_trials} trials, and SageMaker "
            f'tries all of a grid; raise trials to {trials}, give fewer choices, or use strategy "random"'
        )
    request = build_request(search, options)
    check_request(request, options.resolved_region)
    return Plan(
        engine=ENGINE_NAME,
        search=search,
        request=request,
        parallel_trials=limits.choose_parallel_trials(search),
        summary=tuple(_summary(search, options, request, trials)),
        warnings=tuple(_warnings(search, options)),
    )


def _summary(search: Search, options: SageMakerOptions, request: dict[str, Any], trials: int) -> list[str]:
    config = request["HyperParameterTuningJobConfig"]
    definitions = [definition for _, definition in definitions_of(request)]
    lines = [
        f"Tuning job {request['HyperParameterTuningJobName']} in {options.resolved_region}, strategy "
        f"{config['Strategy']}, early stopping {config['TrainingJobEarlyStoppingType']}",
        f"Image {definitions[0]['AlgorithmSpecification']['TrainingImage']}",
    ]
    lines += [
        f"{channel['ChannelName']}: {channel['DataSource']['S3DataSource']['S3Uri']} ({channel.get('ContentType')})"
        for channel in definitions[0]["InputDataConfig"]
    ]
    for branch in search_branches(search, options):
        tuned = ", ".join([*branch.ranges, *(f"{name} (auto)" for name in branch.auto_parameters)])
        lines.append(f"Definition {branch.name}: tunes {tuned}")
    return [*lines, f"Cost: {most_cost(request, trials).describe()}"]


def _warnings(search: Search, options: SageMakerOptions) -> list[str]:
    notes = [*search.space.warnings, *scaling_notes(search.space.ranges)]
    parallel, trials = limits.choose_parallel_trials(search), limits.count_trials(search)
    if search.stop_bad_trials and options.early_stopping is None and needs_several_definitions(search):
        notes.append(
            "early stopping: SageMaker has none with one definition for each optimizer, every trial runs all its "
            'epochs; use search_mode "flat" or a single optimizer to have it'
        )
    if search.strategy == "bayesian" and 1 < trials <= parallel:
        notes.append(
            f"parallel trials: all {trials} trials run at once, so none learns from another (random search); lower "
            "parallel_trials"
        )
    if parallel > limits.USUAL_PARALLEL_TRIALS:
        notes.append(
            f"parallel trials: {parallel} is more than the usual quota of {limits.USUAL_PARALLEL_TRIALS}; "
            "SageMaker refuses the tuning job unless your account's was raised"
        )
    if search.space.fixed.get("early_stopping") and early_stopping_type(search, options) == "Auto":
        notes.append(
            "early_stopping: the algorithm's own early stopping and SageMaker's may both end a trial; one is enough"
        )
    if search.space.fixed.get("use_pretrained_model") and options.initial_model:
        notes.append("initial_model: a trained model is given and use_pretrained_model is 1; the given model counts")
    if options.initial_model:
        notes.append("initial_model: num_layers, image_shape and num_classes must be those of the model to start from")
    if options.input_mode == "FastFile":
        notes.append("input_mode: AWS documents File and Pipe for this algorithm; FastFile looks to it like File")
    if options.encrypt_traffic and options.nodes == 1 and not options.instance_configs:
        notes.append("encrypt_traffic: a training job on one machine has no traffic between machines")
    if options.shard_data:
        notes.append("shard_data: each machine sees only its part of the images in an epoch")
    if options.max_seconds is not None and options.max_seconds < options.max_trial_seconds:
        notes.append(
            f"max_seconds: the tuning job ends after {duration(options.max_seconds)}, before a single trial could use "
            f"its {duration(options.max_trial_seconds)}"
        )
    return notes
