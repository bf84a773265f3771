"""What Kubeflow's user interface can show: small and finite."""

import math

import pytest

from kfp_image_tuning.components.model_evaluation.evaluation import Evaluation
from kfp_image_tuning.components.model_evaluation.ui_artifacts import to_confusion_matrix, to_metrics, to_roc_curve
from tests.report.documents import make_evaluation


@pytest.mark.parametrize(("classes", "rows"), [(2, 2), (30, 30), (31, 30), (200, 30)])
def test_matrix_stays_small_and_counts_every_image(classes: int, rows: int) -> None:
    evaluation = make_evaluation([f"class {number}" for number in range(classes)], images=2000, skill=2.0)
    names, matrix = to_confusion_matrix(evaluation)
    assert len(names) == len(set(names)) == len(matrix) == rows
    assert all(len(row) == rows for row in matrix)
    assert sum(map(sum, matrix)) == 2000
    if classes <= 30:
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
    assert len(columns[0]) <= 200
    assert all(math.isfinite(value) for column in columns for value in column)
