"""What is asked of a preparation, checked, and the stamp by which a finished data set is known again."""

import hashlib
import json
import math
import re
from dataclasses import dataclass, field

from kfp_image_tuning.core.errors import DatasetError
from kfp_image_tuning.dataset.document import PreparationSettings
from kfp_image_tuning.dataset.splits import read_fractions
from kfp_image_tuning.preparation.sources.reading import Reading
from kfp_image_tuning.preparation.storage_form import Encoding, check_storage_form

PREPARATION_VERSION = 4
"""Counts up when the same images and settings come to give other bytes."""


@dataclass(frozen=True)
class Settings:
    """What was asked for; the stamp of a data set covers all of it."""

    image_shape: tuple[int, int, int] | None
    fractions: dict[str, float]
    seed: int
    shards: int
    max_invalid_images: float
    encoding: Encoding
    quality: int
    training_margin: float | None
    reading: Reading = field(default_factory=Reading)

    def check(self) -> None:
        """Refuse what cannot be done, all at once."""
        problems = check_storage_form(self.image_shape, self.training_margin, self.encoding, self.quality)
        if self.shards < 1:
            problems.append(f"shards: {self.shards} is not 1 or more")
        if self.max_invalid_images < 0 or (
            isinstance(self.max_invalid_images, float) and not self.max_invalid_images <= 1
        ):
            problems.append(
                f"max_invalid_images: {self.max_invalid_images} is neither a count nor a fraction of 0.0 to 1.0"
            )
        try:
            read_fractions(self.fractions)
        except DatasetError as error:
            problems += error.problems
        if problems:
            raise DatasetError.from_problems(problems)

    def stamp(self, identity: str) -> str:
        """What stands for a source and these settings."""
        content = {
            "version": PREPARATION_VERSION,
            "source": identity,
            **vars(self),
            "max_invalid_images": repr(self.max_invalid_images),
            "reading": self.reading.to_options(),
        }
        return "sha256:" + hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def to_record(self) -> PreparationSettings:
        """What ``dataset.json`` says of them beside image shape, fractions, seed and shards."""
        return PreparationSettings(
            max_invalid_images=write_max_invalid_images(self.max_invalid_images),
            encoding=self.encoding,
            quality=self.quality,
            training_margin=self.training_margin,
            reading=self.reading.to_options(),
        )

    def tolerated(self, total: int) -> int:
        """How many of ``total`` images may be bad; a fraction is rounded up."""
        return (
            math.ceil(self.max_invalid_images * total)
            if isinstance(self.max_invalid_images, float)
            else self.max_invalid_images
        )


def read_image_shape(text: str) -> tuple[int, int, int] | None:
    """Channels, height and width out of ``3,224,224``; None for ``auto``.

    Raises:
        DatasetError: If it is neither.
    """
    if text.strip() == "auto":
        return None
    match = re.fullmatch(r"\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*", text)
    if match is None:
        raise DatasetError(f"image_shape: {text!r} is neither auto nor channels,height,width such as 3,224,224")
    return int(match[1]), int(match[2]), int(match[3])


def read_max_invalid_images(text: str) -> int | float:
    """How many images may be unreadable: a fraction out of ``1%``, or a number of images out of ``20``.

    Raises:
        DatasetError: If it is neither.
    """
    if re.fullmatch(r"\d+(\.\d+)?\s*%", text.strip()):
        return float(text.strip().rstrip("%")) / 100
    if re.fullmatch(r"\d+", text.strip()):
        return int(text)
    raise DatasetError(
        f"max_invalid_images: {text!r} is neither a percentage such as 1% nor a number of images such as 20"
    )


def write_max_invalid_images(limit: int | float) -> str:
    """The text that `read_max_invalid_images` reads."""
    return f"{limit * 100:.12f}".rstrip("0").rstrip(".") + "%" if isinstance(limit, float) else str(limit)
