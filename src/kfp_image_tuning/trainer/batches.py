"""Batches of images out of a memory-mapped array, onto the device.

Images are decoded once per data set, so that a batch is a gather from memory. On a CPU it goes into one buffer that
is used again and again. For a GPU there are two buffers of pinned memory in turn: the copy of one batch runs beside
the network's work on the one before.
"""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kfp_image_tuning.core.errors import TrainingError
from kfp_image_tuning.search.hyperparameters import Hyperparameters

Indices = NDArray[np.int64]


class LabelledImages(Protocol):
    """What is trained on and validated with, such as `kfp_image_tuning.dataset.pixel_store.PixelStore`."""

    @property
    def images(self) -> NDArray[np.uint8]:
        """``[N, H, W, C]``."""

    @property
    def labels(self) -> NDArray[np.int64] | NDArray[np.float32]:
        """Class numbers ``[N]``, or multi-hot ``[N, L]`` where an image may have several labels."""


class BatchReader:
    """Gathers batches of a set of images onto a device.

    A batch is valid until the next but one is read.

    Args:
        data: The images and their labels.
        largest: The most images that a batch will have.
        device: Where the batches go.
    """

    def __init__(self, data: LabelledImages, largest: int, device: torch.device) -> None:
        self._images = data.images
        self._labels = torch.from_numpy(np.array(data.labels)).to(device)
        self._device = device
        on_gpu = device.type == "cuda"
        shape = (largest, *self._images.shape[1:])
        self._buffers = [torch.empty(shape, dtype=torch.uint8, pin_memory=on_gpu) for _ in range(2 if on_gpu else 1)]
        self._copied: list[torch.cuda.Event | None] = [None] * len(self._buffers)
        self._turn = 0

    def read(self, indices: Indices) -> tuple[Tensor, Tensor]:
        """Give images ``[n, H, W, C]`` and labels at ``indices``."""
        self._turn = (self._turn + 1) % len(self._buffers)
        copied = self._copied[self._turn]
        if copied is not None:
            copied.synchronize()
        images = self._buffers[self._turn][: len(indices)]
        # "clip" because NumPy gathers straight into the buffer only where it need not check first.
        np.take(self._images, indices, axis=0, out=images.numpy(), mode="clip")
        places = torch.from_numpy(indices)
        if self._device.type == "cuda":
            images = images.to(self._device, non_blocking=True)
            self._copied[self._turn] = torch.cuda.current_stream().record_event()
            places = places.to(self._device, non_blocking=True)
        return images, self._labels[places]


def training_batches(
    count: int, batch: int, seed: int, epoch: int, share: tuple[int, int] = (0, 1)
) -> Iterator[Indices]:
    """Give one epoch's batches of shuffled image numbers: full batches only, as the built-in algorithm trains.

    The order depends on seed and epoch alone, so that a resumed training sees what an uninterrupted one would.

    Args:
        count: Number of images.
        batch: Images in a step, over all processes.
        seed: Of the trial.
        epoch: From 0.
        share: This process's number and the number of processes that share each batch.
    """
    order = np.random.default_rng([seed, epoch]).permutation(count)
    number, processes = share
    for start in range(0, count - batch + 1, batch):
        yield np.array_split(order[start : start + batch], processes)[number]


def check_images(data: LabelledImages, role: str, hyperparameters: Hyperparameters) -> None:
    """Refuse images and labels that do not fit the hyperparameters.

    Raises:
        TrainingError: With everything that is wrong with this set.
    """
    channels, height, width = hyperparameters.image_shape
    images, labels = data.images, data.labels
    if images.ndim != 4 or images.dtype != np.uint8 or len(images) == 0:
        raise TrainingError(f"{role} images: must be uint8 [N, H, W, C] with N > 0, got {images.dtype} {images.shape}")
    problems = []
    if images.shape[3] != channels or images.shape[1] < height or images.shape[2] < width:
        problems.append(
            f"{role} images: stored as {images.shape[3]},{images.shape[1]},{images.shape[2]}, from which image_shape "
            f"{channels},{height},{width} cannot be cut; set image_shape to the data set's or prepare the data again"
        )
    if len(labels) != len(images):
        problems.append(f"{role} labels: there are {len(labels)} for {len(images)} images")
    elif problem := _label_problem(labels, hyperparameters.num_classes, hyperparameters.multi_label):
        problems.append(f"{role} labels: {problem}")
    if problems:
        raise TrainingError(*problems)


def _label_problem(labels: NDArray[np.int64] | NDArray[np.float32], num_classes: int, multi_label: bool) -> str | None:
    if multi_label and (labels.ndim != 2 or labels.shape[1] != num_classes):
        return f"multi_label needs {num_classes} numbers (num_classes) for each image, got the shape {labels.shape}"
    if multi_label:
        return None
    if labels.ndim != 1:
        return f"one class for each image is needed, got the shape {labels.shape}; set multi_label to 1"
    if labels.min() < 0 or labels.max() >= num_classes:
        return f"are between {labels.min()} and {labels.max()}, num_classes {num_classes} allows 0 to {num_classes - 1}"
    return None
