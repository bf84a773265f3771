"""Where an image's bytes are and what it is called: all that passes from the sources to the workers.

A reference is small, so a million of them fit into memory; the bytes are read by the worker that needs them. Images
that are not in files of their own (archive members, Parquet cells, records) are copied one after the other into one
flat scratch file first. No name out of an archive or a table ever becomes the name of a file.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from kfp_image_tuning.core.errors import DatasetError

MAXIMUM_IMAGE_BYTES = 256 << 20
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif"})
UNREAD_FORMATS = {
    **dict.fromkeys((".heic", ".heif"), "HEIC"),
    **dict.fromkeys((".ppm", ".pgm", ".pbm", ".pnm"), "PPM"),
    **dict.fromkeys((".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf"), "camera RAW"),
    ".avif": "AVIF",
    ".jxl": "JPEG XL",
    ".jp2": "JPEG 2000",
    ".psd": "Photoshop",
    ".svg": "SVG",
}
WHOLE_FILE = -1


class UnreadableImageError(Exception):
    """An image whose bytes cannot be had; the message is the reason that the user gets to read."""


@dataclass(frozen=True, slots=True)
class ImageReference:
    """One labelled image.

    Attributes:
        name: Unique name, relative to the source.
        labels: Names of its classes, sorted.
        path: The file that holds its bytes.
        offset: Where in the file they start.
        size: How many they are; `WHOLE_FILE` for a file of its own.
        split: The split that the source names, if it names one.
        group: What it shares with images that must stay in one split with it.
    """

    name: str
    labels: tuple[str, ...]
    path: str
    offset: int = 0
    size: int = WHOLE_FILE
    split: str | None = None
    group: str | None = None

    def read(self, at_most: int | None = None) -> bytes:
        """The encoded image.

        Args:
            at_most: Only that many of its first bytes.

        Raises:
            UnreadableImageError: If there is nothing to read.
        """
        try:
            # Opening a pipe would wait for a writer that never comes.
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            raise UnreadableImageError(f"cannot be opened: {error.strerror}") from None
        with open(descriptor, "rb", buffering=0):
            status = os.fstat(descriptor)
            size = status.st_size if self.size == WHOLE_FILE else self.size
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableImageError("is not a regular file")
            if size > MAXIMUM_IMAGE_BYTES:
                raise UnreadableImageError(f"has {size:,} bytes, more than {MAXIMUM_IMAGE_BYTES:,}")
            if size == 0:
                raise UnreadableImageError("is empty")
            if at_most is not None:
                size = min(size, at_most)
            try:
                data = os.pread(descriptor, size, self.offset)
            except OSError as error:
                raise UnreadableImageError(f"cannot be read: {error.strerror}") from None
        if len(data) != size:
            raise UnreadableImageError(f"has {len(data):,} bytes instead of {size:,}; it changed while it was read")
        return data


def is_image_name(name: str) -> bool:
    """Whether a file name ends like an image's, in any case, and is not hidden (``._photo.jpg``)."""
    base = name.rpartition("/")[2]
    return not base.startswith(".") and os.path.splitext(base)[1].lower() in IMAGE_SUFFIXES


def unread_format(name: str) -> str | None:
    """The format of an image that is not read here, such as HEIC, by the ending of its name; None for other files."""
    return UNREAD_FORMATS.get(os.path.splitext(name)[1].lower())


def unread_reason(name: str) -> str | None:
    """Why an image of a format that is not read is skipped; None for other files."""
    form = unread_format(name)
    return f"is a {form} image, which is not read; convert it to JPEG or PNG" if form else None


class ScratchImages:
    """A flat scratch file of images, one after the other.

    Args:
        path: The file; what is in it stays.
    """

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._file = path.open("ab")
        self._offset = self._file.tell()

    def append(self, data: bytes, name: str, labels: tuple[str, ...] = (), split: str | None = None) -> ImageReference:
        """Store one image and say where it is.

        Raises:
            DatasetError: If it is larger than any image.
        """
        if len(data) > MAXIMUM_IMAGE_BYTES:
            raise DatasetError(f"{name}: has {len(data):,} bytes, an image has at most {MAXIMUM_IMAGE_BYTES:,}")
        self._file.write(data)
        reference = ImageReference(name, labels, self.path, self._offset, len(data), split)
        self._offset += len(data)
        return reference

    def close(self) -> None:
        """Make everything readable to other processes."""
        self._file.close()

    def __enter__(self) -> "ScratchImages":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
