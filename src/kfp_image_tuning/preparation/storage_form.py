"""At which size and in which encoding a data set's images are stored.

The built-in algorithm crops larger training images to ``image_shape`` (at random with augmentation, the centre
without) and squeezes images to ``image_shape`` when it serves. So validation and test images are squeezed to exactly
``image_shape`` here, and training images to a little more, which gives random crops their room. Images that are no
larger than ``image_shape`` get no such margin: it would be made of invented pixels, and the centre crop would zoom in
on them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from kfp_image_tuning.dataset.document import ResizePolicy

DEFAULT_IMAGE_SHAPE = (3, 224, 224)
DEFAULT_MARGIN = 1 / 7
"""256 pixels for 224, the usual pair."""
SMALL_SIDE = 64
SHARE_LARGE_ENOUGH = 0.9
INTERPOLATION = "average where a side shrinks to a half or less, linear otherwise"

Encoding = Literal["auto", "jpeg", "png"]


@dataclass(frozen=True)
class StorageForm:
    """How images are stored.

    Attributes:
        image_shape: Channels, height and width that the network sees.
        training_size: Height and width of stored training images.
        training_margin: How much larger that is than ``image_shape``, such as 0.143.
        encoding: ``jpeg`` or ``png``.
        quality: JPEG quality.
    """

    image_shape: tuple[int, int, int]
    training_size: tuple[int, int]
    training_margin: float
    encoding: Literal["jpeg", "png"]
    quality: int

    def size_of(self, split: str | None) -> tuple[int, int]:
        """Height and width of a split's stored images."""
        return self.training_size if split == "train" else self.image_shape[1:]

    @property
    def policy(self) -> ResizePolicy:
        """The entry in ``dataset.json``."""
        return ResizePolicy(
            interpolation=INTERPOLATION,
            training_margin=round(1 + self.training_margin, 6),
            encoding=self.encoding,
            quality=self.quality if self.encoding == "jpeg" else None,
        )

    def __str__(self) -> str:
        channels, height, width = self.image_shape
        form = f"JPEG of quality {self.quality}" if self.encoding == "jpeg" else "PNG"
        margin = f"training images with a margin at {self.training_size[0]}x{self.training_size[1]}"
        if self.training_size == (height, width):
            margin = "training images without a margin"
        return f"image_shape {channels},{height},{width}; {margin}; stored as {form}"


def choose_storage_form(
    sizes: Iterable[tuple[int, int]],
    *,
    image_shape: tuple[int, int, int] | None,
    training_margin: float | None,
    encoding: Encoding,
    quality: int,
) -> StorageForm:
    """Decide what the user left open.

    Args:
        sizes: Height and width of all usable images.
        image_shape: As asked for; None: the images' own size if all have the same and it is small, else 3,224,224.
        training_margin: As asked for; None: 1/7 if nine of ten images are large enough for it, else none.
        encoding: As asked for; ``auto``: PNG for small images, whose size does not matter and whose detail does, else
            JPEG.
        quality: JPEG quality.
    """
    sizes = list(sizes)
    if image_shape is None:
        image_shape = _choose_image_shape(sizes)
    _, height, width = image_shape
    if training_margin is None:
        with_margin = round(height * (1 + DEFAULT_MARGIN)), round(width * (1 + DEFAULT_MARGIN))
        large = sum(rows >= with_margin[0] and columns >= with_margin[1] for rows, columns in sizes)
        training_margin = DEFAULT_MARGIN if large >= SHARE_LARGE_ENOUGH * len(sizes) else 0.0
    if encoding == "auto":
        encoding = "png" if max(height, width) <= SMALL_SIDE else "jpeg"
    training_size = round(height * (1 + training_margin)), round(width * (1 + training_margin))
    return StorageForm(image_shape, training_size, training_margin, encoding, quality)


def _choose_image_shape(sizes: list[tuple[int, int]]) -> tuple[int, int, int]:
    first = sizes[0]
    if max(first) <= SMALL_SIDE and all(size == first for size in sizes):
        return 3, *first
    return DEFAULT_IMAGE_SHAPE


def check_storage_form(
    image_shape: tuple[int, int, int] | None, training_margin: float | None, encoding: str, quality: int
) -> list[str]:
    """What is wrong with what was asked for, one sentence each."""
    problems = []
    if image_shape is not None and (
        len(image_shape) != 3 or image_shape[0] not in (1, 3) or not all(1 <= side <= 4096 for side in image_shape[1:])
    ):
        problems.append(
            f"image_shape: {image_shape} is not channels, height, width with 1 or 3 channels and sides of 1 to 4096, "
            "such as 3,224,224"
        )
    if training_margin is not None and not 0 <= training_margin <= 1:
        problems.append(f"training_margin: {training_margin} is not within 0 to 1, such as 0.143 for 256 pixels at 224")
    if encoding not in ("auto", "jpeg", "png"):
        problems.append(f"encoding: {encoding!r} is not auto, jpeg or png")
    if not 1 <= quality <= 100:
        problems.append(f"quality: {quality} is not within 1 to 100; 95 is usual")
    return problems
