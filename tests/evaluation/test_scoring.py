"""The scores against scikit-learn's, on random answers, and the edges that scikit-learn leaves open."""

import numpy as np
import pytest
from sklearn import metrics

from kfp_image_tuning.core.errors import DatasetError, TrainingError
from kfp_image_tuning.evaluation.scoring import ROC_POINTS, score


def random_answers(images: int, classes: int, seed: int, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), random.integers(0, classes, images - classes)])
    logits = random.normal(size=(images, classes))
    logits[np.arange(images), labels] += 1.0
    if ties:
        logits = np.round(logits)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return labels, probabilities.astype(np.float32)


def normalized(probabilities: np.ndarray) -> np.ndarray:
    exact = probabilities.astype(np.float64)
    shares: np.ndarray = exact / exact.sum(axis=1, keepdims=True)
    return shares


def names(classes: int) -> list[str]:
    return [f"class {number}" for number in range(classes)]


@pytest.mark.parametrize(
    ("images", "classes", "ties"), [(400, 10, False), (200, 2, False), (300, 37, False), (500, 5, True)]
)
def test_scores_of_single_labels_are_those_of_scikit_learn(images: int, classes: int, ties: bool) -> None:
    labels, probabilities = random_answers(images, classes, seed=classes, ties=ties)
    scores = score(labels, probabilities, names(classes))
    predicted = probabilities.argmax(axis=1)
    precision, recall, f1, support = metrics.precision_recall_fscore_support(labels, predicted, zero_division=0)
    assert scores.accuracy == pytest.approx(metrics.accuracy_score(labels, predicted))
    assert [entry.precision for entry in scores.per_class] == pytest.approx(precision)
    assert [entry.recall for entry in scores.per_class] == pytest.approx(recall)
    assert [entry.f1 for entry in scores.per_class] == pytest.approx(f1)
    assert [entry.support for entry in scores.per_class] == support.tolist()
    assert scores.macro_f1 == pytest.approx(metrics.f1_score(labels, predicted, average="macro", zero_division=0))
    assert scores.log_loss == pytest.approx(metrics.log_loss(labels, normalized(probabilities)), abs=1e-5)
    truth = np.eye(classes)[labels]
    average = metrics.average_precision_score(truth, probabilities, average="macro")
    assert scores.mean_average_precision == pytest.approx(average)
    matrix = metrics.confusion_matrix(labels, predicted)
    assert scores.confusion is not None
    for true, row in enumerate(matrix):
        expected = {f"class {taken}": int(number) for taken, number in enumerate(row) if number}
        assert scores.confusion[f"class {true}"] == expected


def test_top_k_is_that_of_scikit_learn_and_k_follows_the_classes() -> None:
    for classes, k in ((10, 5), (6, 5), (4, 3), (3, 2)):
        labels, probabilities = random_answers(300, classes, seed=1)
        scores = score(labels, probabilities, names(classes))
        assert scores.top_k == k
        assert scores.top_k_accuracy == pytest.approx(metrics.top_k_accuracy_score(labels, probabilities, k=k))
    labels, probabilities = random_answers(300, 2, seed=1)
    assert score(labels, probabilities, names(2)).top_k is None


def test_scores_of_several_labels_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(3)
    truth = random.random((300, 6)) < 0.3
    probabilities = np.clip(0.6 * truth + random.random((300, 6)) * 0.6, 0.001, 0.999).astype(np.float32)
    scores = score(truth, probabilities, names(6))
    predicted = probabilities > 0.5
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(truth, predicted, zero_division=0)
    assert scores.accuracy == pytest.approx((truth == predicted).mean())
    assert scores.exact_match == pytest.approx(metrics.accuracy_score(truth, predicted))
    assert [entry.precision for entry in scores.per_class] == pytest.approx(precision)
    assert [entry.recall for entry in scores.per_class] == pytest.approx(recall)
    assert [entry.f1 for entry in scores.per_class] == pytest.approx(f1)
    assert scores.mean_average_precision == pytest.approx(metrics.average_precision_score(truth, probabilities))
    losses = [metrics.log_loss(truth[:, column], probabilities[:, column].astype(float)) for column in range(6)]
    assert scores.log_loss == pytest.approx(np.mean(losses), abs=1e-5)
    assert scores.confusion is None
    assert scores.top_k is None
    assert scores.accuracy_interval.low < scores.accuracy < scores.accuracy_interval.high


@pytest.mark.parametrize(("classes", "kind"), [(2, "binary"), (8, "micro-average")])
def test_roc_is_finite_small_and_has_the_area_of_the_whole_curve(classes: int, kind: str) -> None:
    labels, probabilities = random_answers(4000, classes, seed=5)
    curve = score(labels, probabilities, names(classes)).roc
    if classes == 2:
        expected = metrics.roc_auc_score(labels, probabilities[:, 1])
    else:
        expected = metrics.roc_auc_score(np.eye(classes)[labels], probabilities, average="micro")
    assert curve.kind == kind
    assert curve.area == pytest.approx(expected)
    assert len(curve.points) <= ROC_POINTS
    columns = np.array([(point.threshold, point.recall, point.false_positive_rate) for point in curve.points])
    assert np.isfinite(columns).all()
    assert columns[0, 1:].tolist() == [0, 0]
    assert columns[-1, 1:].tolist() == [1, 1]
    assert (np.diff(columns[:, 0]) < 0).all()
    drawn = np.trapezoid(columns[:, 1], columns[:, 2])
    assert drawn == pytest.approx(expected, abs=0.002)


def test_calibration_error_is_the_known_one() -> None:
    # 100 answers at 0.9, of which 70 are right; 100 at 0.6, of which 60 are: an error of (0.2 + 0.0) / 2.
    probabilities = np.array([[0.9, 0.1]] * 100 + [[0.6, 0.4]] * 100)
    labels = np.array([0] * 70 + [1] * 30 + [0] * 60 + [1] * 40)
    scores = score(labels, probabilities, ["a", "b"])
    assert scores.expected_calibration_error == pytest.approx(0.1)
    assert len(scores.calibration) == 15
    used = [entry for entry in scores.calibration if entry.answers]
    assert [(entry.answers, entry.accuracy) for entry in used] == [(100, 0.6), (100, 0.7)]


def test_certainty_and_absent_classes_stay_finite() -> None:
    probabilities = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], dtype=np.float32)
    scores = score(np.array([0, 0]), probabilities, ["a", "b", "c"])
    assert np.isfinite(scores.log_loss)
    assert scores.per_class[2].support == 0
    assert scores.per_class[2].average_precision is None
    assert scores.macro_recall == 0.5
    all_one = score(np.array([0, 0]), probabilities[:, :1], ["only"])
    assert all_one.accuracy == 1.0
    assert all_one.roc.area is None


def test_answers_that_cannot_be_scored_are_errors() -> None:
    probabilities = np.full((3, 2), 0.5)
    with pytest.raises(DatasetError, match="no images to score"):
        score(np.array([], dtype=np.int64), np.zeros((0, 2)), ["a", "b"])
    with pytest.raises(DatasetError, match="labels go from 0 to 2, but there are 2 classes"):
        score(np.array([0, 1, 2]), probabilities, ["a", "b"])
    with pytest.raises(DatasetError, match="gives 2 probabilities"):
        score(np.array([0, 1, 1]), probabilities, ["a", "b", "c"])
    probabilities[1, 0] = np.nan
    with pytest.raises(TrainingError, match="for 1 of 3 images"):
        score(np.array([0, 1, 1]), probabilities, ["a", "b"])
