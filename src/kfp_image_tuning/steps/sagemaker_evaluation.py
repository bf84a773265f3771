"""What the SageMaker evaluation component does: measure the best model, judge it, write evaluation and report."""

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from kfp_image_tuning.core.console import say
from kfp_image_tuning.core.errors import EngineError
from kfp_image_tuning.dataset.document import Dataset
from kfp_image_tuning.engines.sagemaker.aws.storage import Storage
from kfp_image_tuning.engines.sagemaker.request.config import SageMakerConfig
from kfp_image_tuning.engines.sagemaker.request.job_names import tuning_job_name
from kfp_image_tuning.engines.sagemaker.request.options import SageMakerOptions
from kfp_image_tuning.engines.sagemaker.request.training_image import training_image
from kfp_image_tuning.engines.sagemaker.transform.batch_transform import (
    MAX_SECONDS,
    TransformEnd,
    TransformPlan,
    run_transform,
)
from kfp_image_tuning.engines.sagemaker.transform.transform_images import (
    SentImage,
    collect_predictions,
    send_images,
)
from kfp_image_tuning.evaluation.baseline import load_baseline
from kfp_image_tuning.evaluation.evaluation import (
    Evaluation,
    ModelSummary,
    evaluate_model,
    evaluate_predictions,
    fingerprint_split,
)
from kfp_image_tuning.options.declared import GateOptions, TransformOptions
from kfp_image_tuning.search.result import Trial, TuningResult
from kfp_image_tuning.search.search import Search
from kfp_image_tuning.steps.model_evaluation import EvaluationOutcome, conclude, show_progress
from kfp_image_tuning.steps.offline_evaluation import convert_archive

ARCHIVE_NAME = "model.tar.gz"
MODES = ("transform", "offline")
ATTEMPTS = 5
"""A transform job's name cannot be used again; so many are tried where earlier ones were stopped or came to nothing."""
SHORTEST_IDENTITY = 16


def launch(
    config: SageMakerConfig,
    gate: GateOptions,
    transform: TransformOptions,
    *,
    model: str,
    dataset: str,
    tuning_result: str,
    evaluation: str,
    report: str,
    machines: int = 1,
    max_seconds: float = MAX_SECONDS,
) -> EvaluationOutcome:
    """Evaluate the best model of a tuning job on the test images.

    Args:
        config: Where in AWS; ``offline`` needs nothing of it.
        gate: When the model is good enough.
        transform: How it is tested.
        model: Folder of ``model.tar.gz``.
        dataset: Folder of the prepared data set.
        tuning_result: The search's result document.
        evaluation: File that gets the evaluation.
        report: File that gets the report.
        machines: How many the transform job has.
        max_seconds: Longest run of the transform job; 0: the usual limit.

    Raises:
        ImageTuningError: If something cannot be read, or SageMaker does not do it.
    """
    result = TuningResult.load(Path(tuning_result))
    baseline = load_baseline(gate.baseline) if gate.baseline else None
    prepared = Dataset.load(dataset)
    best = result.best_trial
    if best is None or best.objective is None:
        raise EngineError(f"{tuning_result}: the search has no best trial ({result.stop_reason}); search again")
    archive = Path(model) / ARCHIVE_NAME
    if not archive.is_file():
        raise EngineError(f"{model}: holds no {ARCHIVE_NAME}; give the model that the tuning job left behind")
    if transform.mode == "offline":
        measured = _evaluate_offline(archive, prepared, best.objective, result)
    elif transform.mode == "transform":
        if not config.region and "region" not in config.sagemaker_options:
            config = replace(config, region=str(result.engine_details.get("region", "")))
        options = config.options(prepared, best.name)
        plan = _plan(options, result, best, prepared, config.folder)
        plan = replace(plan, machine=transform.instance_type, machines=machines, max_seconds=max_seconds or MAX_SECONDS)
        measured = _evaluate_by_transform(plan, options, archive, prepared, result, best)
    else:
        raise EngineError(f"mode: {transform.mode!r} is none of {', '.join(MODES)}; choose one of them")
    for line in _findings(measured):
        say(line)
    return conclude(
        measured,
        dataset=prepared,
        result=result,
        baseline=baseline,
        gate=gate,
        more=(transform,),
        evaluation=Path(evaluation),
        report=Path(report),
    )


def _evaluate_offline(archive: Path, dataset: Dataset, objective: float, result: TuningResult) -> Evaluation:
    with tempfile.TemporaryDirectory(prefix="model-") as converted:
        convert_archive(archive, dataset, objective, Path(converted))
        return evaluate_model(converted, dataset.directory, result=result, progress=show_progress)


def _plan(options: SageMakerOptions, result: TuningResult, best: Trial, dataset: Dataset, folder: str) -> TransformPlan:
    if not best.model_uri:
        raise EngineError(f"{best.name}: its model's location is not known, so SageMaker cannot load it; search again")
    images = fingerprint_split(dataset, dataset.split("test")).removeprefix("sha256:")[:SHORTEST_IDENTITY]
    return TransformPlan(
        name="",
        model_uri=best.model_uri,
        image=str(result.engine_details.get("training_image") or training_image(options.resolved_region)),
        images=f"{folder}/test-images/{images}",
        output=f"{folder}/predictions",
    )


def _evaluate_by_transform(
    plan: TransformPlan,
    options: SageMakerOptions,
    archive: Path,
    dataset: Dataset,
    result: TuningResult,
    best: Trial,
) -> Evaluation:
    # What SageMaker would refuse is to be told before anything is sent.
    _name(plan, options, 0).check(options)
    split, storage = dataset.split("test"), Storage(options)
    images = send_images(dataset, split, storage, plan.images)
    say(f"{len(images):,} test images in {plan.images}")
    transformed, end = _transform(plan, options, storage, images, say)
    if end.status == "Failed":
        say(f"Warning: transform job {transformed.name} did not take all images: {end.reason}")
    predictions = collect_predictions(images, dataset, split, storage, transformed.output, end.seconds)
    with archive.open("rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    search = Search.from_dict(result.search)
    summary = ModelSummary(
        num_layers=int(str(best.hyperparameters.get("num_layers") or search.space.fixed.get("num_layers", 0))),
        image_shape=dataset.image_shape,
        # Where logs could not be read, all that is known is that the last epoch was not passed.
        epoch=search.max_epochs - 1 if best.best_epoch is None else best.best_epoch,
        validation_accuracy=best.objective or 0.0,
        weights_sha256=checksum,
    )
    return evaluate_predictions(predictions, dataset, split, summary, device=plan.machine, result=result)


def _transform(
    plan: TransformPlan,
    options: SageMakerOptions,
    storage: Storage,
    images: list[SentImage],
    show: Callable[[str], None],
) -> tuple[TransformPlan, TransformEnd]:
    """Run the transform job, or take up an earlier process's; again under another name if that one came to nothing."""
    for attempt in range(ATTEMPTS):
        named = _name(plan, options, attempt)
        end = run_transform(named, options, show)
        if storage.sizes(named.output) and end.status != "Stopped":
            return named, end
        if not end.attached:
            reason = end.reason or "somebody has stopped it"
            raise EngineError(
                f"transform job {named.name} is {end.status} and gave no prediction for {len(images)} images: {reason}"
                "; its log is in CloudWatch, /aws/sagemaker/TransformJobs"
            )
    raise EngineError(f"{ATTEMPTS} transform jobs of this run came to nothing; give the evaluation a run of its own")


def _name(plan: TransformPlan, options: SageMakerOptions, attempt: int) -> TransformPlan:
    """The plan with the name, and the output folder, of an attempt of this run."""
    identity = "|".join((plan.model_uri, plan.images, str(attempt)))
    name = tuning_job_name(options.name_prefix, f"{options.run}|{identity}", identity)
    return replace(plan, name=name, output=f"{plan.output}/{name}")


def _findings(measured: Evaluation) -> list[str]:
    """What a reader should know beside the accuracy."""
    lines = []
    if measured.images < measured.images_in_split:
        lines.append(
            f"Warning: {measured.images_in_split - measured.images} of {measured.images_in_split} test images could "
            f"not be scored; all measures are over the other {measured.coverage:.1%}"
        )
    if measured.selection is not None:
        lines.append(
            f"Accuracy on the test images {measured.accuracy:.4f}; the search's objective for this model was "
            f"{measured.selection.objective:.4f}, a difference of {measured.selection.difference:+.4f}"
        )
    return lines
