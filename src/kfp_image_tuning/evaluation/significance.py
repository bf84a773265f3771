"""How much of an accuracy is chance: confidence intervals and tests for "better than".

All tests are one-sided: their p-value is the probability of a difference at least this large if the new model were no
better than the old one.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """Where the true accuracy is.

    Attributes:
        low: Lower end, 0 to 1.
        high: Upper end, 0 to 1.
        confidence: Fraction of such intervals that hold the true value.
        method: How it was found: ``wilson`` or ``normal, by image``.
    """

    low: float
    high: float
    confidence: float
    method: str


def wilson_interval(right: int, images: int) -> Interval:
    """Wilson's score interval for ``right`` of ``images``; close to nominal even near 0 and 1, where accuracies are."""
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    fraction = right / images
    centre = (fraction + z * z / (2 * images)) / (1 + z * z / images)
    spread = z / (1 + z * z / images) * math.sqrt(fraction * (1 - fraction) / images + z * z / (4 * images * images))
    # Rounding must not put the fraction itself outside, where it is 0 or 1.
    return Interval(
        max(0.0, min(fraction, centre - spread)), min(1.0, max(fraction, centre + spread)), CONFIDENCE, "wilson"
    )


def mean_interval(fractions: NDArray[np.float64]) -> Interval:
    """Normal interval for the mean of one number an image; several answers about one image are not independent."""
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    mean = float(fractions.mean())
    spread = z * float(fractions.std(ddof=1)) / math.sqrt(len(fractions)) if len(fractions) > 1 else 1.0
    return Interval(max(0.0, mean - spread), min(1.0, mean + spread), CONFIDENCE, "normal, by image")


def mcnemar_p(won: int, lost: int) -> float:
    """Exact McNemar test: chance of ``won`` or more, if each of the images that changed went either way with 1/2.

    Args:
        won: Images that only the new model gets right.
        lost: Images that only the old model gets right.
    """
    changed = won + lost
    if changed == 0:
        return 1.0
    # The logarithm of each binomial coefficient from the one before: exact enough for any number of images.
    steps = np.log(np.arange(changed, 0, -1)) - np.log(np.arange(1, changed + 1))
    coefficients = np.concatenate(([0.0], np.cumsum(steps)))
    return min(1.0, float(np.exp(coefficients[won:] - changed * math.log(2)).sum()))


def paired_mean_p(differences: NDArray[np.float64]) -> float:
    """Normal test of the mean of one difference an image (new less old)."""
    mean = float(differences.mean())
    spread = float(differences.std(ddof=1)) / math.sqrt(len(differences)) if len(differences) > 1 else 0.0
    if spread == 0.0:
        return 0.0 if mean > 0 and len(differences) > 1 else 1.0
    return 1 - NormalDist().cdf(mean / spread)


def two_proportion_p(new_accuracy: float, new_images: int, old_accuracy: float, old_images: int) -> float:
    """Two-proportion z-test, for models that were tested on different images."""
    pooled = (new_accuracy * new_images + old_accuracy * old_images) / (new_images + old_images)
    spread = math.sqrt(pooled * (1 - pooled) * (1 / new_images + 1 / old_images))
    if spread == 0.0:
        return 1.0
    return 1 - NormalDist().cdf((new_accuracy - old_accuracy) / spread)
