"""What the SageMaker tuning component does: send the data set, run the tuning job, bring in what came of it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from kfp_image_tuning.core.console import say
from kfp_image_tuning.core.errors import EngineError
from kfp_image_tuning.dataset.document import DOCUMENT_NAME, Dataset
from kfp_image_tuning.engines.sagemaker.aws.storage import Storage
from kfp_image_tuning.engines.sagemaker.engine import SageMakerEngine
from kfp_image_tuning.engines.sagemaker.request.channels import channel_uri
from kfp_image_tuning.engines.sagemaker.request.config import SageMakerConfig
from kfp_image_tuning.engines.sagemaker.request.options import SageMakerOptions
from kfp_image_tuning.search.result import TuningResult
from kfp_image_tuning.steps.reproduction import search_command
from kfp_image_tuning.steps.tuning_outcome import TuningOutcome
from kfp_image_tuning.steps.tuning_run import run_plan
from kfp_image_tuning.steps.tuning_settings import TuningSettings

ARCHIVE_NAME = "model.tar.gz"
CHANNEL_SPLITS = ("train", "validation")


def launch(
    settings: TuningSettings, config: SageMakerConfig, *, dataset: str, model: str, result: str
) -> TuningOutcome:
    """Run a tuning job, or attach to the one that this run has started before.

    Args:
        settings: What is searched and what it may cost.
        config: Where.
        dataset: Folder of the prepared data set.
        model: Folder that gets the best model, ``model.tar.gz``.
        result: File that gets the result document.

    Raises:
        EngineError: If the search was stopped from outside, or ended without a model.
        ImageTuningError: Whatever else is wrong with search, options or data.
    """
    prepared = Dataset.load(dataset)
    search = settings.to_search(prepared)
    options = config.options(prepared, search.fingerprint[:8], settings.initial_model)
    engine = SageMakerEngine(options)
    # The plan first: what SageMaker would refuse is to be told before anything is sent.
    plan = engine.plan(search)
    storage = Storage(options)
    if not config.data:
        send_dataset(prepared, storage, options, say)
    found = run_plan(
        engine,
        plan,
        search_command(prepared, settings, config.to_repeat(), engine="sagemaker"),
        result,
        after_stop=lambda found: (
            f"so was its tuning job {found.engine_details.get('tuning_job')}, and a new run starts a new one"
        ),
    )
    outcome = TuningOutcome.of(found)
    _bring_model(found, storage, Path(model))
    return replace(outcome, model_metadata={**outcome.model_metadata, **_model_metadata(found)})


def send_dataset(dataset: Dataset, storage: Storage, options: SageMakerOptions, show: Callable[[str], None]) -> None:
    """Bring the record files that training reads to S3; those that are there stay.

    Args:
        dataset: The data set.
        storage: S3.
        options: Where to; a channel that the user has put elsewhere gets nothing.
        show: Takes one line for the reader.

    Raises:
        EngineError: If S3 does not take a file.
    """
    folder = options.data
    # The record files alone: an index or a list beside them would be streamed as images in Pipe mode.
    files = {
        f"{folder}/{shard.record}": dataset.directory / shard.record
        for name in CHANNEL_SPLITS
        if channel_uri(options, name).startswith(f"{folder}/")
        for shard in dataset.split(name).shards
    }
    sent = storage.upload(files)
    sent += storage.upload({f"{folder}/{DOCUMENT_NAME}": dataset.directory / DOCUMENT_NAME})
    show(f"data set in {folder}: {sent / 1e6:.1f} MB sent" if sent else f"data set in {folder}: was there already")


def _bring_model(result: TuningResult, storage: Storage, folder: Path) -> None:
    best = result.best_trial
    if best is None or not best.model_uri:
        raise EngineError(f"{best.name if best else 'the search'}: left no model in S3; see its log")
    storage.download(best.model_uri, folder / ARCHIVE_NAME)


def _model_metadata(result: TuningResult) -> dict[str, str]:
    details, best = result.engine_details, result.best_trial
    found = {
        "framework": "mxnet",
        "model_uri": best.model_uri if best else None,
        "training_job": best.name if best else None,
        "tuning_job": details["tuning_job"],
        "tuning_job_arn": details["tuning_job_arn"],
        "training_image": details["training_image"],
        "console_url": details["console_url"],
    }
    # A value that is missing has no form in KFP's metadata.
    return {name: str(value) for name, value in found.items() if value}
