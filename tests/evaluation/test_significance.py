"""Intervals and tests against known values, SciPy, and their own promise."""

import numpy as np
import pytest
from scipy import stats

from kfp_image_tuning.evaluation.significance import (
    mcnemar_p,
    mean_interval,
    paired_mean_p,
    two_proportion_p,
    wilson_interval,
)


@pytest.mark.parametrize(("right", "images"), [(0, 10), (10, 10), (97, 100), (1, 3), (4871, 5000), (1, 1)])
def test_interval_is_wilsons(right: int, images: int) -> None:
    expected = stats.binomtest(right, images).proportion_ci(0.95, method="wilson")
    interval = wilson_interval(right, images)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= interval.low <= right / images <= interval.high <= 1


@pytest.mark.parametrize(("won", "lost"), [(0, 0), (5, 0), (0, 5), (7, 3), (30, 12), (500, 470), (60_000, 59_000)])
def test_mcnemar_is_the_exact_binomial_test(won: int, lost: int) -> None:
    expected = stats.binomtest(won, won + lost, 0.5, alternative="greater").pvalue if won + lost else 1.0
    assert mcnemar_p(won, lost) == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_two_proportion_test_by_the_book() -> None:
    # z = 0.02 / sqrt(0.94 * 0.06 * (1/1000 + 1/1000)) = 1.883
    assert two_proportion_p(0.95, 1000, 0.93, 1000) == pytest.approx(stats.norm.sf(1.8831), abs=1e-4)
    assert two_proportion_p(1.0, 100, 1.0, 100) == 1.0


def test_paired_test_sees_what_two_means_hide() -> None:
    random = np.random.default_rng(0)
    differences = random.normal(0.01, 0.05, 400)
    expected = stats.norm.sf(differences.mean() / (differences.std(ddof=1) / 20))
    assert paired_mean_p(differences) == pytest.approx(expected)
    assert paired_mean_p(np.zeros(50)) == 1.0
    assert paired_mean_p(np.full(50, 0.1)) == 0.0


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    random = np.random.default_rng(1)
    right = random.binomial(200, 0.96, 2000)
    held = np.mean(
        [wilson_interval(int(count), 200).low <= 0.96 <= wilson_interval(int(count), 200).high for count in right]
    )
    assert 0.93 < held < 0.98
    shares = random.beta(18, 2, (2000, 200))
    intervals = [mean_interval(row) for row in shares]
    assert 0.93 < np.mean([interval.low <= 0.9 <= interval.high for interval in intervals]) < 0.97
