"""What workers do with images: look at their headers, convert them, compare their pixels.

Converted images are appended to one scratch file per worker, so that they need not pass through a pipe, and the parent
keeps their places only.
"""

import contextlib
import ctypes
import hashlib
import os
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from kfp_image_tuning.core.errors import DatasetError
from kfp_image_tuning.dataset.image_codec import (
    ImageHeader,
    Pixels,
    decode_image,
    encode_image,
    read_image_header,
    resize_image,
)
from kfp_image_tuning.preparation.sources.image_reference import (
    WHOLE_FILE,
    ImageReference,
    ScratchImages,
    UnreadableImageError,
)

HEADER_BYTES = 1 << 13
DIGEST_BYTES = 1 << 13
# Glibc accepts no higher threshold.
KEPT_BYTES = 32 << 20
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


@dataclass(frozen=True, slots=True)
class ScannedImage:
    """What an image's header says.

    Attributes:
        height: Of the upright image; 0 if it cannot be read.
        width: Of the upright image.
        is_jpeg: Whether it is a JPEG.
        reason: Why it cannot be used, if it cannot.
    """

    height: int
    width: int
    is_jpeg: bool
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class ConversionTask:
    """One image to convert.

    Attributes:
        reference: The image.
        size: Wanted height and width.
        decode_whole: Do not let the JPEG decoder shrink it, since it will be compared with images of other formats.
    """

    reference: ImageReference
    size: tuple[int, int]
    decode_whole: bool


@dataclass(frozen=True, slots=True)
class Conversion:
    """How images are to be stored.

    Attributes:
        channels: 3 for RGB, 1 for gray.
        decode_size: Height and width below which a decoder may not shrink, the same for all splits.
        encoding: ``jpeg`` or ``png``.
        quality: JPEG quality.
        scratch_folder: Where workers put converted images.
    """

    channels: int
    decode_size: tuple[int, int]
    encoding: Literal["jpeg", "png"]
    quality: int
    scratch_folder: str


@dataclass(frozen=True, slots=True)
class StoredImage:
    """A converted image: where it is, or why there is none.

    Attributes:
        path: The worker's scratch file.
        offset: Where in it.
        size: Bytes.
        pixels: A quick digest of the decoded pixels. Equal images have equal ones; so have, rarely, different ones.
        content: SHA-256 of the source's file, where the image has one of its own.
        reason: Why the image cannot be used, if it cannot.
    """

    path: str
    offset: int
    size: int
    pixels: bytes
    content: bytes = b""
    reason: str | None = None


def scan_images(references: list[ImageReference]) -> list[ScannedImage]:
    """Read the headers."""
    return [_scan(reference) for reference in references]


def _scan(reference: ImageReference) -> ScannedImage:
    try:
        header = _read_header(reference)
    except (DatasetError, UnreadableImageError) as error:
        return ScannedImage(0, 0, False, str(error))
    return ScannedImage(header.height, header.width, header.format == "jpeg")


def _read_header(reference: ImageReference) -> ImageHeader:
    """The header, from the first bytes alone where they hold it."""
    start = reference.read(HEADER_BYTES)
    if len(start) == HEADER_BYTES:
        try:
            return read_image_header(start)
        except DatasetError:
            start = reference.read()
    return read_image_header(start)


def convert_images(batch: tuple[Conversion, list[ConversionTask]]) -> list[StoredImage]:
    """Decode, resize, encode and store images."""
    conversion, tasks = batch
    _keep_freed_memory()
    with ScratchImages(Path(conversion.scratch_folder) / f"{os.getpid()}.images") as scratch:
        return [_convert(task, conversion, scratch) for task in tasks]


def _convert(task: ConversionTask, conversion: Conversion, scratch: ScratchImages) -> StoredImage:
    try:
        data = task.reference.read()
        content = hashlib.sha256(data).digest() if task.reference.size == WHOLE_FILE else b""
        pixels = decode_image(
            data,
            channels=conversion.channels,
            minimum_size=None if task.decode_whole else conversion.decode_size,
        )
        if not _can_be_copied(data, pixels, task.size, conversion):
            data = encode_image(resize_image(pixels, *task.size), conversion.encoding, conversion.quality)
    except (DatasetError, UnreadableImageError) as error:
        return StoredImage("", 0, 0, b"", reason=str(error))
    except MemoryError:
        return StoredImage("", 0, 0, b"", reason="does not fit into memory")
    stored = scratch.append(data, task.reference.name)
    return StoredImage(stored.path, stored.offset, stored.size, _digest_quickly(pixels), content)


def _can_be_copied(data: bytes, pixels: Pixels, size: tuple[int, int], conversion: Conversion) -> bool:
    """Whether a JPEG is already what is wanted, so that recompressing would only lose."""
    if conversion.encoding != "jpeg" or pixels.shape[:2] != size:
        return False
    header = read_image_header(data)
    return (
        header.format == "jpeg"
        and header.orientation == 1
        and header.channels == conversion.channels
        and (header.height, header.width) == size
    )


def digest_pixels(batch: tuple[int, list[ImageReference]]) -> list[bytes]:
    """Digests of the decoded pixels that are equal for equal images only."""
    channels, references = batch
    digests = []
    for reference in references:
        pixels = decode_image(reference.read(), channels=channels)
        digests.append(hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest())
    return digests


def _digest_quickly(pixels: Pixels) -> bytes:
    """A checksum of some of the rows, a hundred times as fast as SHA-256 of all."""
    rows = pixels[:: pixels.nbytes // DIGEST_BYTES + 1]
    return b"%d %d %d" % (*pixels.shape[:2], zlib.crc32(rows.tobytes()))


@cache
def _keep_freed_memory() -> None:
    """Have the C library keep the memory of one image for the next.

    It would give it back to the kernel after every image and get it again page by page, a tenth of the whole time.
    Other C libraries than glibc have no such option.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        set_option = ctypes.CDLL(None).mallopt
        set_option(_M_MMAP_THRESHOLD, KEPT_BYTES)
        set_option(_M_TRIM_THRESHOLD, 2 * KEPT_BYTES)
