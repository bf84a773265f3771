"""A model's answers for many images, which are decoded on all cores while the network works on the batch before.

What is held in memory are two batches of pixels.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from kfp_image_tuning.dataset.image_codec import Pixels, decode_image, resize_image

Item = TypeVar("Item")
Result = TypeVar("Result")


class Classifier(Protocol):
    """What answers, such as `kfp_image_tuning.model.model_files.ImageClassifier`."""

    @property
    def classes(self) -> Sequence[str]:
        """Names; the position is the class number."""

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Channels, height, width."""

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities ``[N, classes]`` for images ``[N, H, W, C]``."""


def read_pixels(image: bytes, image_shape: Sequence[int]) -> Pixels:
    """An encoded image as a model takes it: upright, in its channels, squeezed to its height and width.

    Args:
        image: JPEG, PNG, WebP, BMP, TIFF or GIF.
        image_shape: Channels, height, width.

    Returns:
        uint8 ``[H, W, C]``.

    Raises:
        DatasetError: If the image is damaged, cut off, too large or of an unknown format.
    """
    channels, height, width = image_shape
    return resize_image(decode_image(image, channels=channels, minimum_size=(height, width)), height, width)


def predict_images(
    model: Classifier, items: Iterable[Item], decode: Callable[[Item], Pixels | str], batch_size: int
) -> Iterator[tuple[Item, NDArray[np.float32] | str]]:
    """Let a model answer for images, in their order.

    Args:
        model: The model.
        items: Whatever stands for the images.
        decode: Gives the pixels of one, uint8 ``[H, W, C]`` of the model's image shape, or why there are none. It is
            called from several threads.
        batch_size: Images that are decoded and predicted at a time.

    Yields:
        Each item with its probabilities ``[classes]``, or with the reason why it has none.
    """
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for batch, decoded in _one_ahead(threads, decode, _batches(items, batch_size)):
            found = list(decoded)
            images = [pixels for pixels in found if not isinstance(pixels, str)]
            answers = iter(model.predict(np.stack(images)) if images else ())
            for item, pixels in zip(batch, found, strict=True):
                yield item, pixels if isinstance(pixels, str) else next(answers)


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def _one_ahead(
    threads: ThreadPoolExecutor, work: Callable[[Item], Result], batches: Iterator[list[Item]]
) -> Iterator[tuple[list[Item], Iterator[Result]]]:
    """Each batch with its results; the next one is being worked on meanwhile."""
    waiting: tuple[list[Item], Iterator[Result]] | None = None
    for batch in batches:
        started = batch, threads.map(work, batch)
        if waiting:
            yield waiting
        waiting = started
    if waiting:
        yield waiting
