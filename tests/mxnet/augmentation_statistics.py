"""What an augmenter draws, measured on its output alone: the same measurement for MXNet's and for ours. NumPy and
OpenCV."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    Augment = Callable[[NDArray[np.uint8], int, str, int], NDArray[Any]]

COLOR_IMAGES, WARPED_IMAGES, CROPPED_IMAGES = 8000, 1500, 4000
PROBABILITIES = (0.0, 0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 1.0)
SIZE, MARGIN = 64, 4


def measure(augment: Augment, cv2: Any) -> dict[str, Any]:
    """Summaries of every random number that can be told from augmented images.

    ``augment(image, count, kind, size)`` gives augmented copies ``[count, size, size, 3]`` of one RGB image, ``kind``
    being the step that is measured: ``crop``, ``color`` or ``warp``.
    """
    return {
        "crop": measure_crop(augment(_coordinates(SIZE + MARGIN), CROPPED_IMAGES, "crop", SIZE)),
        "color": measure_color(augment, cv2),
        "warp": measure_warp(augment(_coordinates(SIZE), WARPED_IMAGES, "warp", SIZE)),
    }


def measure_crop(images: NDArray[Any]) -> dict[str, Any]:
    """How often each place, and a mirrored image, was chosen."""
    columns, rows = np.moveaxis(np.asarray(images, np.float64)[:, 0, :, :2], -1, 0)
    mirrored = columns[:, 0] > columns[:, -1]
    return {
        "mirrored": float(mirrored.mean()),
        "left": _shares((columns.min(axis=1) - 20) / 3),
        "top": _shares((rows[:, 0] - 20) / 3),
    }


def measure_color(augment: Augment, cv2: Any) -> dict[str, Any]:
    """By how much hue, lightness and saturation moved, in OpenCV's units, in the middle and at the ends of their
    ranges."""
    result = {}
    for place, start in (("middle", (90, 128, 128)), ("hue near its end", (8, 128, 255)), ("bright", (90, 235, 128))):
        patch = cv2.cvtColor(np.full((4, 4, 3), start, np.uint8), cv2.COLOR_HLS2RGB)
        images = np.asarray(augment(patch, COLOR_IMAGES, "color", 4), np.float64).round().astype(np.uint8)
        moved = cv2.cvtColor(images[:, :1, 0].copy(), cv2.COLOR_RGB2HLS)[:, 0].astype(int)
        if place == "middle":
            for channel, name in enumerate(("hue", "lightness", "saturation")):
                result[name] = _summary(moved[:, channel] - start[channel])
        elif place == "bright":
            result[place] = _summary(images[:, 0, 0].max(axis=-1))
        else:
            # Clamped, not turned on to violet.
            result[place] = _summary(moved[moved[:, 2] > 100][:, 0])
    return result


def measure_warp(images: NDArray[Any]) -> dict[str, Any]:
    """Rotation, shear, stretch and centre, from where each pixel of a picture of its own coordinates went; the
    filling."""
    fitted = np.array([_fit(image) for image in np.asarray(images, np.float64)])
    forward = np.linalg.inv(fitted[:, :, :2])
    wide = np.hypot(forward[:, 1, 0], forward[:, 1, 1])
    angle = np.arctan2(-forward[:, 1, 0], forward[:, 1, 1])
    cosine, sine = np.cos(angle), np.sin(angle)
    tall = forward[:, 0, 0] * cosine + forward[:, 0, 1] * sine
    shear = (forward[:, 0, 1] * cosine - forward[:, 0, 0] * sine) / wide
    centre = fitted[:, :, :2] @ [SIZE / 2, SIZE / 2] + fitted[:, :, 2] - SIZE / 2
    degrees = np.degrees(angle)
    return {
        "angle": _summary(degrees),
        "distance from whole degrees": float(np.median(np.abs(degrees - degrees.round()))),
        "shear": _summary(shear),
        "aspect": _summary(wide / tall),
        "mean of the scales": _summary((wide + tall) / 2),
        "distance of the fixed point": float(np.median(np.abs(centre).max(axis=1))),
        "filling": float(np.max(images)),
    }


def _coordinates(size: int) -> NDArray[np.uint8]:
    """An image whose red is the column and whose green is the row, in steps of 3."""
    row, column = np.mgrid[:size, :size]
    return np.stack([column * 3 + 20, row * 3 + 20, np.full_like(row, 100)], axis=-1).astype(np.uint8)


def _fit(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """The affine map from target to source coordinates, out of the pixels that the filling did not touch."""
    row, column = np.nonzero(np.abs(image[..., 2] - 100) < 0.5)
    places = np.stack([column, row, np.ones_like(row)], axis=1)
    solution: NDArray[Any] = np.linalg.lstsq(places, (image[row, column, :2] - 20) / 3, rcond=None)[0]
    return solution.T


def _summary(values: ArrayLike) -> dict[str, Any]:
    values = np.asarray(values, np.float64)
    return {
        "mean": round(float(values.mean()), 4),
        "deviation": round(float(values.std()), 4),
        "quantiles": [round(float(value), 4) for value in np.quantile(values, PROBABILITIES)],
    }


def _shares(values: NDArray[Any]) -> list[float]:
    numbers = np.asarray(values).round().astype(int)
    return [round(float((numbers == number).mean()), 4) for number in range(MARGIN + 1)]
