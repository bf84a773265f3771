"""Go or no-go, as tables of cases."""

from dataclasses import replace

import numpy as np
import pytest

from kfp_image_tuning.evaluation.evaluation import Evaluation, pack_answers
from kfp_image_tuning.evaluation.gate import GateError, judge
from kfp_image_tuning.evaluation.prediction import Skipped
from kfp_image_tuning.evaluation.scoring import score
from kfp_image_tuning.evaluation.verdict import Verdict
from tests.report.documents import make_evaluation

CLASSES = ("cat", "dog")


def with_answers(right: np.ndarray, *, images: str = "sha256:same") -> Evaluation:
    """An evaluation in which exactly these answers are right."""
    labels = np.zeros(len(right), dtype=np.int64)
    probabilities = np.where(right[:, None], [[0.9, 0.1]], [[0.2, 0.8]])
    return replace(
        make_evaluation(CLASSES, images=len(right), thumbnails=0),
        scores=score(labels, probabilities, CLASSES),
        right_answers=pack_answers(right[:, None]),
        split_fingerprint=images,
    )


def answers(wrong: int, of: int = 1000) -> np.ndarray:
    """So many wrong answers, at the end."""
    made = np.ones(of, dtype=bool)
    made[of - wrong :] = False
    return made


@pytest.mark.parametrize(
    ("wrong", "least", "passed", "said"),
    [
        (20, 0.96, True, "98.00 % on 1,000 test images reaches the required 96.00 %."),
        (20, 0.98, True, "reaches the required 98.00 %, but so few images cannot settle it"),
        (20, 0.99, False, "is below the required 99.00 %"),
        (30, 0.9701, False, "97.00 % on 1,000 test images is below the required 97.01 %, but so few"),
        (0, 1.0, True, "100.00 %"),
    ],
)
def test_least_accuracy(wrong: int, least: float, passed: bool, said: str) -> None:
    verdict = judge(with_answers(answers(wrong)), min_accuracy=least)
    assert verdict.passed is passed
    assert said in verdict.reasons[0]
    assert verdict.checks[0].difference == pytest.approx(1 - wrong / 1000 - least)


@pytest.mark.parametrize(
    ("name", "new_wrong", "old_wrong", "same_images", "passed", "test", "said"),
    [
        ("much better", 10, 50, True, True, "mcnemar_exact", "gets 40 right that the baseline gets wrong, and 0 wrong"),
        ("a little better", 10, 12, True, False, "mcnemar_exact", "no more than noise would explain"),
        ("the same", 10, 10, True, False, "mcnemar_exact", "not better than the baseline"),
        ("worse", 50, 10, True, False, "mcnemar_exact", "not better than the baseline"),
        ("better by 8, paired", 10, 18, True, True, "mcnemar_exact", "better than the baseline by more than noise"),
        ("better by 8, not paired", 10, 18, False, False, "two_proportion", "on different images (1,000 and 1,000)"),
        ("much better, not paired", 10, 50, False, True, "two_proportion", "by a two-proportion test"),
    ],
)
def test_better_than_a_baseline(
    name: str, new_wrong: int, old_wrong: int, same_images: bool, passed: bool, test: str, said: str
) -> None:
    new = with_answers(answers(new_wrong))
    old = with_answers(answers(old_wrong), images="sha256:same" if same_images else "sha256:other")
    check = judge(new, baseline=old).checks[0]
    assert (check.passed, check.test) == (passed, test)
    assert said in check.reason
    assert f"p = {check.p_value:.2g}" in check.reason


def test_images_that_were_skipped_prevent_pairing() -> None:
    new = with_answers(answers(10))
    old = replace(with_answers(answers(18)), skipped=(Skipped(3, "test/test.rec", "is damaged"),))
    assert judge(new, baseline=old).checks[0].test == "two_proportion"


def test_several_labels_are_compared_by_image() -> None:
    random = np.random.default_rng(0)
    base = make_evaluation(("a", "b", "c"), images=500)
    truth = random.random((500, 3)) < 0.5

    def with_errors(share: float) -> Evaluation:
        wrong = np.random.default_rng(1).random((500, 3)) < share
        probabilities = np.where(truth ^ wrong, 0.9, 0.1)
        scores = score(truth, probabilities, ("a", "b", "c"))
        return replace(base, multi_label=True, scores=scores, right_answers=pack_answers(~wrong))

    better = judge(with_errors(0.05), baseline=with_errors(0.08)).checks[0]
    assert (better.passed, better.test) == (True, "paired_mean")
    assert not judge(with_errors(0.08), baseline=with_errors(0.08)).passed


def test_both_requirements_must_hold() -> None:
    new, old = with_answers(answers(10)), with_answers(answers(50))
    assert judge(new, min_accuracy=0.98, baseline=old).passed
    verdict = judge(new, min_accuracy=0.995, baseline=old)
    assert not verdict.passed
    assert [(check.name, check.passed) for check in verdict.checks] == [
        ("min_accuracy", False),
        ("better_than_baseline", True),
    ]


def test_no_requirement_passes_and_says_so() -> None:
    verdict = judge(with_answers(answers(500)), min_accuracy=0.0)
    assert verdict == Verdict(True, ())
    assert verdict.reasons == ("no requirement was set",)


@pytest.mark.parametrize("least", [97.0, -0.1, float("nan")])
def test_requirement_that_is_no_share_is_an_error(least: float) -> None:
    with pytest.raises(GateError, match=r"fraction from 0 to 1 \(0.97 is 97 %\)"):
        judge(with_answers(answers(1)), min_accuracy=least)


def test_baseline_for_other_classes_is_an_error() -> None:
    with pytest.raises(GateError, match="for other classes"):
        judge(with_answers(answers(1)), baseline=make_evaluation(("cat", "dog", "owl")))


def test_a_model_that_is_no_better_rarely_passes() -> None:
    random = np.random.default_rng(4)
    passed = 0
    for _ in range(100):
        new, old = with_answers(random.random(300) < 0.95), with_answers(random.random(300) < 0.95)
        passed += judge(new, baseline=old).passed
    assert passed <= 10
