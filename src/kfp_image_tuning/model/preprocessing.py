"""From uint8 pixels to what the network takes: the same in training, evaluation and serving.

Pixels stay uint8 until they are on the device; there they become float32, less the mean, divided by the standard
deviation, in the channels-last layout in which convolutions are fastest. The defaults are the ImageNet statistics of
MXNet's image-classification example. As the network begins with a batch normalization of its own (``bn_data``), they
shift no optimum; they let its running statistics start near where they end, which short trainings need.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

RGB_MEAN = (123.68, 116.779, 103.939)
RGB_STD = (58.393, 57.12, 57.375)
OTHER_MEAN, OTHER_STD = 127.5, 64.0
"""For images that have not three channels."""


@dataclass(frozen=True)
class Preprocessing:
    """Mean and standard deviation of each channel, in units of uint8 pixels."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def default(cls, channels: int) -> Self:
        """What a network that starts from nothing is trained with."""
        if channels == len(RGB_MEAN):
            return cls(RGB_MEAN, RGB_STD)
        return cls((OTHER_MEAN,) * channels, (OTHER_STD,) * channels)

    def on(self, device: torch.device) -> "Normalizer":
        """Make the constants ready on a device."""
        return Normalizer(self.mean, self.std, device)


class Normalizer:
    """`Preprocessing` on one device."""

    def __init__(self, mean: Sequence[float], std: Sequence[float], device: torch.device) -> None:
        self._mean = torch.tensor(mean, dtype=torch.float32, device=device)
        self._scale = 1.0 / torch.tensor(std, dtype=torch.float32, device=device)

    def __call__(self, images: Tensor) -> Tensor:
        """Turn uint8 ``[N, H, W, C]`` into float32 ``[N, C, H, W]``, channels last in memory."""
        pixels = images.to(torch.float32)
        return pixels.sub_(self._mean).mul_(self._scale).permute(0, 3, 1, 2)
