"""JPEG photographs for the benchmarks, cut from those that scikit-image ships; nothing is downloaded."""

import cv2
import numpy as np
import skimage.data

from kfp_image_tuning.dataset.image_codec import encode_image

_ORIGINALS = ("astronaut", "chelsea", "coffee", "rocket")


def make_photographs(count: int, height: int, width: int) -> list[bytes]:
    """Make different photographs of one size; the same arguments give the same bytes.

    Each is a random cut of an original, sometimes mirrored, as a JPEG of quality 90.

    Args:
        count: How many.
        height: Of each, in pixels.
        width: Of each, in pixels.
    """
    originals = [np.asarray(getattr(skimage.data, name)()) for name in _ORIGINALS]
    random = np.random.default_rng(0)
    photographs = []
    for number in range(count):
        original = originals[number % len(originals)]
        largest = min(original.shape[0] / height, original.shape[1] / width)
        scale = largest * random.uniform(0.5, 1.0)
        rows, columns = int(height * scale), int(width * scale)
        top = random.integers(0, original.shape[0] - rows + 1)
        left = random.integers(0, original.shape[1] - columns + 1)
        cut = original[top : top + rows, left : left + columns]
        cut = cut[:, :: random.choice((-1, 1))]
        interpolation = cv2.INTER_AREA if scale > 1 else cv2.INTER_CUBIC
        resized = cv2.resize(np.ascontiguousarray(cut), (width, height), interpolation=interpolation)
        photographs.append(encode_image(resized, "jpeg", 90))
    return photographs
