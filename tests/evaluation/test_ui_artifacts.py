"""What Kubeflow's user interface can show: small and finite."""

import math
from itertools import pairwise

import pytest

from kfp_image_tuning.evaluation.evaluation import Evaluation
from kfp_image_tuning.steps.ui_artifacts import to_confusion_matrix, to_metrics, to_roc_curve
from tests.report.documents import make_evaluation


@pytest.mark.parametrize(("classes", "rows"), [(2, 2), (15, 15), (16, 15), (200, 15)])
def test_matrix_stays_small_and_counts_every_image(classes: int, rows: int) -> None:
    evaluation = make_evaluation([f"class {number}" for number in range(classes)], images=2000, skill=2.0)
    names, matrix = to_confusion_matrix(evaluation)
    assert len(names) == len(set(names)) == len(matrix) == rows
    assert all(len(row) == rows for row in matrix)
    assert sum(map(sum, matrix)) == 2000
    if classes <= 15:
        assert names == list(evaluation.classes)
        assert sum(matrix[n][n] for n in range(rows)) == round(evaluation.accuracy * 2000)
    else:
        assert names[-1] == "(all others)"


def test_matrix_of_many_classes_shows_the_most_confused_ones() -> None:
    evaluation = make_evaluation([f"class {number}" for number in range(50)], images=3000, skill=4.0)
    confusion = evaluation.scores.confusion
    assert confusion is not None
    mistakes = {
        name: sum(n for taken, n in confusion[name].items() if taken != name)
        + sum(row.get(name, 0) for true, row in confusion.items() if true != name)
        for name in confusion
    }
    names, _ = to_confusion_matrix(evaluation, limit=10)
    shown = sorted((mistakes[name] for name in names[:-1]), reverse=True)
    assert shown == sorted(mistakes.values(), reverse=True)[:9]


def test_rows_are_true_classes(evaluation: Evaluation) -> None:
    names, matrix = to_confusion_matrix(evaluation)
    assert [sum(row) for row in matrix] == [entry.support for entry in evaluation.scores.per_class]
    assert names == list(evaluation.classes)


def test_metrics_and_curve_are_finite(evaluation: Evaluation) -> None:
    metrics = to_metrics(evaluation)
    assert metrics["accuracy"] == evaluation.accuracy
    assert all(math.isfinite(value) for value in metrics.values())
    assert all(name.replace("_", "").isalnum() for name in metrics)
    columns = to_roc_curve(evaluation)
    assert len({len(column) for column in columns}) == 1
    assert 2 < len(columns[0]) <= 40
    assert all(math.isfinite(value) for column in columns for value in column)


def test_curve_of_few_points_keeps_ends_order_and_area() -> None:
    evaluation = make_evaluation(["cat", "dog"], images=5000, skill=1.0)
    roc = evaluation.scores.roc
    assert len(roc.points) > 100
    rates, recalls, thresholds = to_roc_curve(evaluation)
    assert len(rates) <= 40
    assert (rates[0], recalls[0], rates[-1], recalls[-1]) == (0.0, 0.0, 1.0, 1.0)
    assert thresholds == sorted(thresholds, reverse=True)
    area = sum(
        (right - left) * (high + low) / 2
        for (left, right), (low, high) in zip(pairwise(rates), pairwise(recalls), strict=True)
    )
    assert area == pytest.approx(roc.area, abs=0.01)
