"""From labels and probabilities to scores, in NumPy alone.

Every engine's model is scored by this code. With one label an image, a class is predicted when it is the most probable
one; with several, each class is predicted for itself at a probability above 1/2, and ``accuracy`` is the average over
the classes, as the built-in algorithm reports it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kfp_image_tuning.core.errors import DatasetError, TrainingError
from kfp_image_tuning.evaluation.significance import Interval, mean_interval, wilson_interval

CALIBRATION_BINS = 15
TOP_K = 5
ROC_POINTS = 200
_SMALLEST = float(np.finfo(np.float32).eps)
"""Probabilities are float32: what is closer to 0 or 1 than this counts as this close in the log loss."""

Labels = NDArray[np.int64] | NDArray[np.bool_]
Probabilities = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """One class.

    Attributes:
        name: Its name.
        support: Images that belong to it.
        predicted: Images that were taken for it.
        precision: Fraction of those taken for it that belong to it; 0 if none was.
        recall: Fraction of those that belong to it that were taken for it; 0 if there is none.
        f1: Harmonic mean of precision and recall.
        average_precision: Area under the precision-recall curve; None if no image belongs to it.
    """

    name: str
    support: int
    predicted: int
    precision: float
    recall: float
    f1: float
    average_precision: float | None


@dataclass(frozen=True)
class CalibrationBin:
    """Answers of similar confidence.

    Attributes:
        low: Lower end of the bin, 0 to 1.
        high: Upper end.
        answers: Answers in it.
        confidence: Their mean confidence; None if there is none.
        accuracy: Fraction of them that is right; None if there is none.
    """

    low: float
    high: float
    answers: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True)
class RocPoint:
    """One point of a receiver operating characteristic; every number is finite."""

    threshold: float
    recall: float
    false_positive_rate: float


@dataclass(frozen=True)
class RocCurve:
    """Receiver operating characteristic.

    Attributes:
        kind: ``binary`` (the second class against the first) or ``micro-average`` (every class against the rest).
        area: Area under the exact curve; None if one side has no images.
        points: At most `ROC_POINTS`, from threshold just above 1 down.
    """

    kind: str
    area: float | None
    points: tuple[RocPoint, ...]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Everything that labels and probabilities tell.

    Attributes:
        accuracy: Fraction of right answers; with several labels, averaged over the classes.
        accuracy_interval: Where the true accuracy is.
        exact_match: Fraction of images with every class right; equal to accuracy with one label an image.
        top_k: k of ``top_k_accuracy``; None where k would be 1 or an image has several labels.
        top_k_accuracy: Fraction of images whose class is among the k most probable.
        macro_precision: Mean over the classes that have images.
        macro_recall: Mean over the classes that have images.
        macro_f1: Mean over the classes that have images.
        mean_average_precision: Mean over the classes that have images.
        log_loss: Mean cross-entropy in nats; with several labels binary, averaged over the classes.
        expected_calibration_error: Mean distance of confidence and accuracy over `CALIBRATION_BINS` bins of equal
            width, weighted by answers. The confidence is that of the predicted class; with several labels, of
            presence, and its counterpart the fraction of images that have the class.
        calibration: The bins.
        per_class: One entry a class, in the order of the labels.
        confusion: True class to predicted class to number of images, without zeros; None with several labels.
        roc: Binary or micro-averaged receiver operating characteristic.
    """

    accuracy: float
    accuracy_interval: Interval
    exact_match: float
    top_k: int | None
    top_k_accuracy: float | None
    macro_precision: float
    macro_recall: float
    macro_f1: float
    mean_average_precision: float
    log_loss: float
    expected_calibration_error: float
    calibration: tuple[CalibrationBin, ...]
    per_class: tuple[ClassScore, ...]
    confusion: Mapping[str, Mapping[str, int]] | None
    roc: RocCurve


def score(labels: Labels, probabilities: Probabilities, classes: Sequence[str]) -> Scores:
    """Score a model's answers.

    Args:
        labels: Class numbers ``[N]``, or truth values ``[N, C]`` where an image may have several labels.
        probabilities: ``[N, C]``; rows sum to 1 with one label an image.
        classes: The C classes' names.

    Raises:
        DatasetError: If there are no images, or a label is not a class.
        TrainingError: If probabilities are not numbers: the model has diverged.
    """
    _check(labels, probabilities, classes)
    answers = find_answers(labels, probabilities)
    predicted, truth = predict(probabilities, labels.ndim == 2), _one_hot(labels, len(classes))
    per_class = _score_classes(truth, predicted, probabilities, classes)
    present = [entry for entry in per_class if entry.support]
    bins = _calibrate(labels, probabilities, answers)
    shares = answers.mean(axis=1)
    right = int(answers.sum())
    k = min(TOP_K, len(classes) - 1) if labels.ndim == 1 else 1
    single = labels.ndim == 1
    return Scores(
        accuracy=right / answers.size,
        accuracy_interval=wilson_interval(right, len(labels)) if single else mean_interval(shares),
        exact_match=float(answers.all(axis=1).mean()),
        top_k=k if k > 1 else None,
        top_k_accuracy=_top_k_accuracy(labels, probabilities, k) if k > 1 else None,
        macro_precision=_mean([entry.precision for entry in present]),
        macro_recall=_mean([entry.recall for entry in present]),
        macro_f1=_mean([entry.f1 for entry in present]),
        mean_average_precision=_mean([entry.average_precision or 0.0 for entry in present]),
        log_loss=_log_loss(labels, probabilities),
        expected_calibration_error=sum(
            entry.answers * abs((entry.confidence or 0.0) - (entry.accuracy or 0.0)) for entry in bins
        )
        / sum(entry.answers for entry in bins),
        calibration=bins,
        per_class=per_class,
        confusion=_confusion(labels, predicted, classes) if single else None,
        roc=_roc(truth, probabilities),
    )


def find_answers(labels: Labels, probabilities: Probabilities) -> NDArray[np.bool_]:
    """Which answers are right: ``[N, 1]``, or ``[N, C]`` where an image may have several labels."""
    if labels.ndim == 2:
        return np.asarray((probabilities > 0.5) == labels)
    return np.asarray(probabilities.argmax(axis=1) == labels)[:, None]


def predict(probabilities: Probabilities, multi_label: bool) -> NDArray[np.bool_]:
    """Truth values ``[N, C]`` of what the model says."""
    if multi_label:
        return np.asarray(probabilities > 0.5)
    return _one_hot(probabilities.argmax(axis=1), probabilities.shape[1])


def _check(labels: Labels, probabilities: Probabilities, classes: Sequence[str]) -> None:
    if len(labels) == 0:
        raise DatasetError("there are no images to score; prepare the data set with a larger fraction for this split")
    if probabilities.shape != (len(labels), len(classes)):
        raise DatasetError(
            f"the model gives {probabilities.shape[1]} probabilities for each of {len(probabilities)} images, "
            f"the data set has {len(classes)} classes and {len(labels)} labels"
        )
    if labels.ndim == 1 and not 0 <= int(labels.min()) <= int(labels.max()) < len(classes):
        raise DatasetError(
            f"labels go from {labels.min()} to {labels.max()}, but there are {len(classes)} classes, counted from 0; "
            "prepare the data set again"
        )
    broken = int((~np.isfinite(probabilities)).any(axis=1).sum())
    if broken:
        raise TrainingError(
            f"the model's answers are not numbers for {broken} of {len(labels)} images: its training has diverged; "
            "evaluate another trial's model or search with smaller learning rates"
        )


def _one_hot(labels: Labels, classes: int) -> NDArray[np.bool_]:
    if labels.ndim == 2:
        return labels.astype(bool)
    truth = np.zeros((len(labels), classes), dtype=bool)
    truth[np.arange(len(labels)), labels.astype(np.int64)] = True
    return truth


def _score_classes(
    truth: NDArray[np.bool_], predicted: NDArray[np.bool_], probabilities: Probabilities, classes: Sequence[str]
) -> tuple[ClassScore, ...]:
    scores = []
    for position, name in enumerate(classes):
        support, taken = int(truth[:, position].sum()), int(predicted[:, position].sum())
        hits = int((truth[:, position] & predicted[:, position]).sum())
        scores.append(
            ClassScore(
                name=name,
                support=support,
                predicted=taken,
                precision=hits / taken if taken else 0.0,
                recall=hits / support if support else 0.0,
                f1=2 * hits / (taken + support) if taken + support else 0.0,
                average_precision=_average_precision(truth[:, position], probabilities[:, position]),
            )
        )
    return tuple(scores)


def _average_precision(truth: NDArray[np.bool_], probabilities: Probabilities) -> float | None:
    """Sum over thresholds of precision times the recall gained there."""
    positives = int(truth.sum())
    if not positives:
        return None
    order = np.argsort(-probabilities, kind="stable")
    hits, taken = np.cumsum(truth[order]), np.arange(1, len(order) + 1)
    last_of_equals = np.append(np.diff(probabilities[order]) != 0, True)
    hits, taken = hits[last_of_equals], taken[last_of_equals]
    gained = np.diff(hits, prepend=0)
    return float((hits / taken * gained).sum() / positives)


def _top_k_accuracy(labels: Labels, probabilities: Probabilities, k: int) -> float:
    best = np.argpartition(-probabilities, k - 1, axis=1)[:, :k]
    return float((best == labels[:, None]).any(axis=1).mean())


def _log_loss(labels: Labels, probabilities: Probabilities) -> float:
    sure = np.clip(probabilities.astype(np.float64), _SMALLEST, 1 - _SMALLEST)
    if labels.ndim == 2:
        return float(-np.where(labels, np.log(sure), np.log1p(-sure)).mean())
    return float(-np.log(sure[np.arange(len(labels)), labels.astype(np.int64)]).mean())


def _calibrate(labels: Labels, probabilities: Probabilities, answers: NDArray[np.bool_]) -> tuple[CalibrationBin, ...]:
    confidence = (probabilities.max(axis=1) if labels.ndim == 1 else probabilities.ravel()).astype(np.float64)
    outcome = answers[:, 0] if labels.ndim == 1 else labels.ravel().astype(bool)
    # A bin holds its upper end, as in the paper that proposed the measure (Guo et al., 2017).
    place = np.clip(np.ceil(confidence * CALIBRATION_BINS).astype(int) - 1, 0, CALIBRATION_BINS - 1)
    count = np.bincount(place, minlength=CALIBRATION_BINS)
    sums = np.bincount(place, weights=confidence, minlength=CALIBRATION_BINS)
    hits = np.bincount(place, weights=outcome, minlength=CALIBRATION_BINS)
    return tuple(
        CalibrationBin(
            low=position / CALIBRATION_BINS,
            high=(position + 1) / CALIBRATION_BINS,
            answers=int(count[position]),
            confidence=float(sums[position] / count[position]) if count[position] else None,
            accuracy=float(hits[position] / count[position]) if count[position] else None,
        )
        for position in range(CALIBRATION_BINS)
    )


def _confusion(labels: Labels, predicted: NDArray[np.bool_], classes: Sequence[str]) -> dict[str, dict[str, int]]:
    pairs, counts = np.unique(
        np.stack([labels.astype(np.int64), predicted.argmax(axis=1)], axis=1), axis=0, return_counts=True
    )
    confusion: dict[str, dict[str, int]] = {name: {} for name in classes}
    for (true, taken), count in zip(pairs.tolist(), counts.tolist(), strict=True):
        confusion[classes[true]][classes[taken]] = count
    return confusion


def _roc(truth: NDArray[np.bool_], probabilities: Probabilities) -> RocCurve:
    binary = truth.shape[1] == 2 and bool((truth.sum(axis=1) == 1).all())
    if binary:
        truth, probabilities = truth[:, 1:], probabilities[:, 1:]
    positive = np.sort(probabilities[truth]).astype(np.float64)
    negative = np.sort(probabilities[~truth]).astype(np.float64)
    kind = "binary" if binary else "micro-average"
    if not len(positive) or not len(negative):
        return RocCurve(kind, None, ())
    below = np.searchsorted(positive, negative, "left") + np.searchsorted(positive, negative, "right")
    area = 1 - float(below.mean()) / (2 * len(positive))
    # Thresholds where something changes: spread over the ranks of either side, besides both ends of the curve.
    ranks = np.linspace(0, 1, ROC_POINTS // 2 - 1)
    chosen = np.concatenate([side[(ranks * (len(side) - 1)).astype(int)] for side in (positive, negative)])
    thresholds = np.concatenate(([np.nextafter(1.0, 2.0)], np.unique(chosen)[::-1], [0.0]))
    recall = 1 - np.searchsorted(positive, thresholds, "left") / len(positive)
    false_positives = 1 - np.searchsorted(negative, thresholds, "left") / len(negative)
    columns = zip(thresholds.tolist(), recall.tolist(), false_positives.tolist(), strict=True)
    return RocCurve(kind, area, tuple(RocPoint(*values) for values in columns))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0
