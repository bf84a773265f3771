"""What the model evaluation component does: measure, judge, write evaluation and report, give KFP its numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kfp_image_tuning.core.console import Status, say, show_status
from kfp_image_tuning.dataset.document import Dataset
from kfp_image_tuning.evaluation.baseline import load_baseline
from kfp_image_tuning.evaluation.evaluation import Evaluation, evaluate_model
from kfp_image_tuning.evaluation.gate import judge
from kfp_image_tuning.options.declaration import Options
from kfp_image_tuning.options.declared import GateOptions
from kfp_image_tuning.report.page import write_report
from kfp_image_tuning.search.result import TuningResult
from kfp_image_tuning.steps.reproduction import evaluated_command
from kfp_image_tuning.steps.ui_artifacts import to_confusion_matrix, to_metrics, to_roc_curve


@dataclass(frozen=True)
class EvaluationOutcome:
    """What the component puts out besides its documents.

    Attributes:
        accuracy: Fraction of the test images that are classified right.
        passed: Whether the model is good enough.
        metrics: The main numbers; all finite.
        confusion_names: Names of the confusion matrix's rows and columns.
        confusion_matrix: Its rows: images of a true class by predicted class.
        roc_curve: False positive rates, recalls and thresholds, averaged over the classes.
    """

    accuracy: float
    passed: bool
    metrics: Mapping[str, float]
    confusion_names: Sequence[str]
    confusion_matrix: Sequence[Sequence[int]]
    roc_curve: tuple[list[float], list[float], list[float]]


def launch(
    gate: GateOptions,
    *,
    model: str,
    dataset: str,
    evaluation: str,
    report: str,
    tuning_result: str = "",
) -> EvaluationOutcome:
    """Evaluate a model on the test images.

    Args:
        gate: When it is good enough.
        model: Folder of the model.
        dataset: Folder of the prepared data set.
        evaluation: File that gets the evaluation.
        report: File that gets the report.
        tuning_result: The search's result document; empty: none.

    Raises:
        ImageTuningError: If model, data set and documents do not fit each other or cannot be read.
    """
    # First of all: what is missing is to be told before the images are read.
    result = TuningResult.load(Path(tuning_result)) if tuning_result else None
    baseline = load_baseline(gate.baseline) if gate.baseline else None
    measured = evaluate_model(model, dataset, result=result, progress=show_progress)
    return conclude(
        measured,
        dataset=Dataset.load(dataset),
        result=result,
        baseline=baseline,
        gate=gate,
        evaluation=Path(evaluation),
        report=Path(report),
    )


def conclude(
    measured: Evaluation,
    *,
    dataset: Dataset,
    result: TuningResult | None,
    baseline: Evaluation | None,
    gate: GateOptions,
    more: Sequence[Options] = (),
    evaluation: Path,
    report: Path,
) -> EvaluationOutcome:
    """Judge what was measured, write evaluation and report, say why the model passes or does not.

    Args:
        measured: The evaluation, without a verdict.
        dataset: The data set.
        result: The search that the model comes from, for the report.
        baseline: Evaluation of a model that it must beat.
        gate: When it is good enough.
        more: What else was asked of the evaluation, for the command that asks it again.
        evaluation: File that gets the evaluation.
        report: File that gets the report.
    """
    verdict = judge(measured, min_accuracy=gate.min_accuracy or 0.0, baseline=baseline)
    command = evaluated_command(result.reproduction_command if result else "", gate, *more)
    measured = replace(measured, verdict=verdict, reproduction_command=command)
    measured.save(evaluation)
    write_report(report, result=result, dataset=dataset, evaluation=measured.to_dict())
    for reason in verdict.reasons if verdict.checks else ():
        say(reason)
    names, matrix = to_confusion_matrix(measured)
    return EvaluationOutcome(
        measured.accuracy, verdict.passed, to_metrics(measured), names, matrix, to_roc_curve(measured)
    )


def show_progress(done: int, total: int) -> None:
    """Show how far it is, and say when all is done."""
    text = f"evaluated {done:,} of {total:,} test images"
    show_status(Status(done / total, text) if done < total else None)
    if done == total:
        say(f"evaluated {total:,} test images")
