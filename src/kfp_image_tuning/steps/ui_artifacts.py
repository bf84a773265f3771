"""What Kubeflow's user interface shows of an evaluation: plain lists and numbers for its artifacts.

The interface draws a confusion matrix as a full table and keeps it in the metadata database, and KFP's launcher prints
every number of it on a line of its own below what the step has said. So matrix and curve must stay small; and every
number must be finite. The whole of both stands in ``evaluation.json``.
"""

import math
from bisect import bisect_left
from itertools import accumulate, pairwise

from kfp_image_tuning.evaluation.evaluation import Evaluation
from kfp_image_tuning.evaluation.scoring import RocPoint

MATRIX_LIMIT = 15
ROC_LIMIT = 40
OTHERS = "(all others)"


def to_confusion_matrix(evaluation: Evaluation, limit: int = MATRIX_LIMIT) -> tuple[list[str], list[list[int]]]:
    """The confusion matrix with at most ``limit`` rows: true classes in rows, predicted classes in columns.

    With more classes, those with the most mistakes stand for themselves and the rest are one; with several labels an
    image, the two rows are a class's absence and presence, summed over the classes.

    Returns:
        Names of rows and columns, and the rows.
    """
    confusion = evaluation.scores.confusion
    if confusion is None:
        return ["absent", "present"], _sum_decisions(evaluation)
    names = list(evaluation.classes)
    if len(names) > limit:
        mistakes = dict.fromkeys(names, 0)
        for true, row in confusion.items():
            for predicted, count in row.items():
                if true != predicted:
                    mistakes[true] += count
                    mistakes[predicted] += count
        worst = set(sorted(names, key=lambda name: -mistakes[name])[: limit - 1])
        names = [name for name in names if name in worst]
        names.append(_unused(OTHERS, names))
    position = {name: number for number, name in enumerate(names)}
    matrix = [[0] * len(names) for _ in names]
    for true, row in confusion.items():
        for predicted, count in row.items():
            matrix[position.get(true, len(names) - 1)][position.get(predicted, len(names) - 1)] += count
    return names, matrix


def to_metrics(evaluation: Evaluation) -> dict[str, float]:
    """The scalars that runs are compared by; plain names, finite values."""
    scores = evaluation.scores
    metrics = {
        "accuracy": evaluation.accuracy,
        "accuracy_low": scores.accuracy_interval.low,
        "accuracy_high": scores.accuracy_interval.high,
        "macro_f1": scores.macro_f1,
        "log_loss": scores.log_loss,
        "calibration_error": scores.expected_calibration_error,
        "images": float(evaluation.images),
        "images_per_second": evaluation.throughput.images_per_second,
    }
    if scores.top_k is not None and scores.top_k_accuracy is not None:
        metrics[f"top_{scores.top_k}_accuracy"] = scores.top_k_accuracy
    if evaluation.selection is not None:
        metrics["validation_accuracy"] = evaluation.selection.objective
    return metrics


def to_roc_curve(evaluation: Evaluation) -> tuple[list[float], list[float], list[float]]:
    """At most `ROC_LIMIT` points of the curve, evenly spaced along it, both ends among them.

    Returns:
        False positive rates, recalls and thresholds, as ``ClassificationMetrics.log_roc_curve`` takes them.
    """
    points = _spread(evaluation.scores.roc.points)
    return (
        [point.false_positive_rate for point in points],
        [point.recall for point in points],
        [point.threshold for point in points],
    )


def _spread(points: tuple[RocPoint, ...]) -> list[RocPoint]:
    if len(points) <= ROC_LIMIT:
        return list(points)
    steps = (
        math.dist((one.false_positive_rate, one.recall), (next_one.false_positive_rate, next_one.recall))
        for one, next_one in pairwise(points)
    )
    way = list(accumulate(steps, initial=0.0))
    wanted = (way[-1] * number / (ROC_LIMIT - 1) for number in range(ROC_LIMIT - 1))
    chosen = {*(bisect_left(way, place) for place in wanted), len(points) - 1}
    return [points[position] for position in sorted(chosen)]


def _sum_decisions(evaluation: Evaluation) -> list[list[int]]:
    hits = missed = false_alarms = 0
    for entry in evaluation.scores.per_class:
        found = round(entry.recall * entry.support)
        hits += found
        missed += entry.support - found
        false_alarms += entry.predicted - found
    rejected = evaluation.images * len(evaluation.classes) - hits - missed - false_alarms
    return [[rejected, false_alarms], [missed, hits]]


def _unused(name: str, names: list[str]) -> str:
    while name in names:
        name += "*"
    return name
