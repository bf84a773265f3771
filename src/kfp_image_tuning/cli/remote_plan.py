"""The plan of a search that runs elsewhere: what its engine would send, made and checked, and nothing of it sent."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from kfp_image_tuning.cli.pipeline_options import to_parameters
from kfp_image_tuning.cli.prepared_data import describe_dataset
from kfp_image_tuning.cli.volume_data import seen_here
from kfp_image_tuning.core.object_store import is_remote
from kfp_image_tuning.core.volume_claims import is_on_claim
from kfp_image_tuning.delivery.readable_yaml import dump_documents
from kfp_image_tuning.engines.protocol import Plan
from kfp_image_tuning.search.search import DatasetSummary
from kfp_image_tuning.steps.tuning_settings import TuningSettings, summarize

_NOT_READ = (
    "the data set on the volume cannot be read from here (--storage-mount says where it is seen): each trial takes "
    "number of classes, number of training images and image shape from it. The network has 18 layers unless the "
    "search space fixes num_layers, and no mini-batch size is skipped for being larger than the training set"
)


def plan_elsewhere(engine: str, settings: TuningSettings, data: str, options: Mapping[str, Any]) -> tuple[Plan, str]:
    """Plan a search.

    Args:
        engine: ``katib`` or ``sagemaker``.
        settings: What is searched and what it may cost.
        data: The prepared data set: a folder here, its address in an object store, or one on a volume claim.
        options: The engine's own options, by their names on the command line.

    Returns:
        The plan, and its documents as text: YAML for kubectl, or the request of SageMaker's API in JSON.

    Raises:
        ImageTuningError: With everything that is wrong.
    """
    plan = _PLANNERS[engine](settings, data, options)
    if engine == "katib":
        return plan, dump_documents(plan.request["documents"])
    return plan, json.dumps(plan.request, indent=2) + "\n"


def _unread(data: str) -> DatasetSummary:
    """A data set of which nothing is known: the fewest classes, and as many images as every mini-batch needs."""
    return DatasetSummary(
        fingerprint=data,
        num_classes=2,
        num_training_samples=1 << 20,
        num_validation_samples=1,
        image_shape=(3, 224, 224),
    )


def _plan_katib(settings: TuningSettings, data: str, options: Mapping[str, Any]) -> Plan:
    from kfp_image_tuning.engines.katib.request.config import KatibConfig
    from kfp_image_tuning.engines.katib.request.planning import plan_search

    is_on_volume = is_on_claim(data)
    is_unread = is_on_volume and not options.get("storage_mount")
    described = str(seen_here(data, options)) if is_on_volume and not is_unread else data
    parameters = {**to_parameters(options), "tune_data": data if is_remote(data) else None}
    config = KatibConfig.from_parameters(parameters, "tune_")
    search = settings.to_search_on(_unread(data) if is_unread else summarize(describe_dataset(described)))
    katib = config.options(search, settings.initial_model)
    plan = plan_search(search, katib)
    return replace(plan, warnings=(_NOT_READ, *plan.warnings)) if is_unread else plan


def _plan_sagemaker(settings: TuningSettings, data: str, options: Mapping[str, Any]) -> Plan:
    from kfp_image_tuning.engines.sagemaker.request.config import SageMakerConfig
    from kfp_image_tuning.engines.sagemaker.request.planning import plan_search

    dataset = describe_dataset(data)
    search = settings.to_search(dataset)
    parameters = {"tune_bucket": "", **to_parameters(options), "tune_data": data if is_remote(data) else None}
    config = SageMakerConfig.from_parameters(parameters, "tune_")
    return plan_search(search, config.options(dataset, search.fingerprint[:8], settings.initial_model))


_PLANNERS: Mapping[str, Callable[[TuningSettings, str, Mapping[str, Any]], Plan]] = {
    "katib": _plan_katib,
    "sagemaker": _plan_sagemaker,
}
