"""Arrays that both sides draw for themselves, so that no network's weights need to be stored. NumPy alone, any
version."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

IMAGE_MEAN, IMAGE_VARIANCE = 120.0, 3600.0


def draw(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The array that belongs to a name: a network's weight or running statistic by MXNet's name, or images."""
    # The legacy generator gives the same numbers in every version of NumPy.
    source = np.random.RandomState(zlib.crc32(name.encode()))
    if name == "bn_data_gamma":
        return np.ones(shape, np.float32)
    if name.endswith("images"):
        return source.randint(0, 256, shape).astype(np.float32)
    if name.endswith("labels"):
        return source.randint(0, 10, shape).astype(np.float32)
    if name.endswith("_weight"):
        # Small enough for the logits to stay small through all residual units.
        values: NDArray[np.float64] = source.standard_normal(shape) * 0.7 / np.sqrt(np.prod(shape[1:]))
    elif name.endswith("_gamma"):
        values = source.uniform(0.7, 1.3, shape)
    elif name == "bn_data_moving_mean":
        values = IMAGE_MEAN + source.uniform(-10, 10, shape)
    elif name == "bn_data_moving_var":
        values = IMAGE_VARIANCE * source.uniform(0.8, 1.2, shape)
    elif name.endswith("_moving_var"):
        values = source.uniform(0.5, 1.5, shape)
    else:
        values = source.standard_normal(shape) * 0.2
    return values.astype(np.float32)


def probe(name: str, values: NDArray[Any]) -> float:
    """One number that tells two large arrays apart: the product with a drawn array, in the unit of one element."""
    direction = np.random.RandomState(zlib.crc32(("probe of " + name).encode())).standard_normal(values.shape)
    return float((values.astype(np.float64) * direction).sum() / np.sqrt(values.size))
