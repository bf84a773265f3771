"""The gate: is this model good enough to continue with, and better than the one before?

"Better" means better by more than noise. Where both evaluations looked at the same images, the answers are compared
image by image (McNemar's exact test; with several labels an image, a test of the mean difference); otherwise the two
accuracies are (two-proportion test), which needs a larger difference. Every verdict says which test decided.
"""

import math

import numpy as np

from kfp_image_tuning.core.errors import ImageTuningError
from kfp_image_tuning.evaluation.evaluation import Evaluation
from kfp_image_tuning.evaluation.significance import mcnemar_p, paired_mean_p, two_proportion_p
from kfp_image_tuning.evaluation.verdict import Check, Verdict

SIGNIFICANCE = 0.05
"""A model that is no better passes with this probability."""


class GateError(ImageTuningError):
    """A requirement that cannot be checked."""

    code = "gate"
    way_out = "Give the evaluation of a model for the same classes as baseline, and a fraction from 0 to 1 as accuracy."


def judge(evaluation: Evaluation, *, min_accuracy: float | None = None, baseline: Evaluation | None = None) -> Verdict:
    """Check an evaluation against what is required of it.

    Args:
        evaluation: The model in question.
        min_accuracy: The least accuracy, 0 to 1; None or 0: no requirement.
        baseline: The evaluation of a model that this one must beat by more than noise; None: no requirement.

    Returns:
        The verdict; it is passed if there is no requirement.

    Raises:
        GateError: If ``min_accuracy`` is not a fraction, or the baseline is for another task.
    """
    checks = []
    if min_accuracy is not None:
        if not 0 <= min_accuracy <= 1:
            raise GateError(f"min_accuracy: is a fraction from 0 to 1 (0.97 is 97 %), got {min_accuracy:g}")
        if min_accuracy > 0:
            checks.append(_check_accuracy(evaluation, min_accuracy))
    if baseline is not None:
        checks.append(_check_baseline(evaluation, baseline))
    return Verdict(all(check.passed for check in checks), tuple(checks))


def _check_accuracy(evaluation: Evaluation, least: float) -> Check:
    accuracy, interval = evaluation.accuracy, evaluation.scores.accuracy_interval
    passed = accuracy >= least
    sentence = (
        f"The accuracy of {_percent(accuracy)} on {evaluation.images:,} {evaluation.split} images "
        f"{'reaches' if passed else 'is below'} the required {_percent(least)}"
    )
    if interval.low < least <= interval.high:
        sentence += (
            f", but so few images cannot settle it: the 95 % interval goes from {_percent(interval.low)} "
            f"to {_percent(interval.high)}"
        )
    return Check(name="min_accuracy", passed=passed, reason=f"{sentence}.", difference=accuracy - least)


def _check_baseline(evaluation: Evaluation, baseline: Evaluation) -> Check:
    if set(baseline.classes) != set(evaluation.classes) or baseline.multi_label != evaluation.multi_label:
        raise GateError(
            f"baseline: is for other classes ({len(baseline.classes)}, this model has {len(evaluation.classes)}) "
            "or another kind of labels; give the evaluation of a model for the same task"
        )
    difference = evaluation.accuracy - baseline.accuracy
    test, p_value, ground = _compare(evaluation, baseline)
    passed = difference > 0 and p_value < SIGNIFICANCE
    if passed:
        conclusion = "better than the baseline by more than noise"
    elif difference > 0:
        conclusion = "better than the baseline, but no more than noise would explain"
    else:
        conclusion = "not better than the baseline"
    reason = (
        f"The accuracy of {_percent(evaluation.accuracy)} against {_percent(baseline.accuracy)} is {conclusion}: "
        f"{ground} (one-sided p = {p_value:.2g}, needed below {SIGNIFICANCE:g})."
    )
    return Check(
        name="better_than_baseline", passed=passed, reason=reason, test=test, p_value=p_value, difference=difference
    )


def _compare(evaluation: Evaluation, baseline: Evaluation) -> tuple[str, float, str]:
    """Name of the test, its p-value, and what it rests on in words."""
    if not _on_same_images(evaluation, baseline):
        p_value = two_proportion_p(evaluation.accuracy, evaluation.images, baseline.accuracy, baseline.images)
        ground = f"on different images ({evaluation.images:,} and {baseline.images:,}), by a two-proportion test"
        return "two_proportion", p_value, ground
    new, old = evaluation.answers, baseline.answers
    if evaluation.multi_label:
        differences = new.mean(axis=1) - old.mean(axis=1)
        ground = f"image by image on the same {evaluation.images:,} images, by a test of the mean difference"
        return "paired_mean", paired_mean_p(np.asarray(differences, dtype=np.float64)), ground
    won, lost = int((new & ~old).sum()), int((old & ~new).sum())
    ground = (
        f"of the same {evaluation.images:,} images it gets {won:,} right that the baseline gets wrong, "
        f"and {lost:,} wrong that the baseline gets right, by McNemar's exact test"
    )
    return "mcnemar_exact", mcnemar_p(won, lost), ground


def _on_same_images(evaluation: Evaluation, baseline: Evaluation) -> bool:
    def scored(one: Evaluation) -> tuple[str, int, set[tuple[str, int]]]:
        return one.split_fingerprint, one.images, {(item.record, item.identifier) for item in one.skipped}

    return scored(evaluation) == scored(baseline)


def _percent(fraction: float) -> str:
    # Rounded down, so that what is just below a requirement never reads as having reached it.
    return f"{math.floor(fraction * 10000 + 1e-9) / 100:.2f} %"
