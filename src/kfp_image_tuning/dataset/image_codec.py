"""Encoded images to pixels and back: JPEG, PNG, WebP, BMP, TIFF and GIF.

Pixels are NumPy arrays of uint8, height x width x channels, with 3 channels (RGB) or 1 (gray). Decoding looks at the
content, never at a file name, and always gives what a person would see:

* turned upright by the EXIF orientation;
* CMYK and YCCK (Adobe's inversion included), palettes, 1-bit and YCbCr become RGB; colour profiles are not applied;
* 16 bits per channel are scaled to 8, not clipped;
* transparent pixels are laid over white;
* of an animation, the first frame.

The pixel count is read from the header, and too large an image refused before anything is decoded.

Baseline and progressive JPEGs go through libjpeg-turbo directly (simplejpeg), everything else through Pillow.
"""

import io
import re
import warnings
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from kfp_image_tuning.core.errors import DatasetError

Pixels = NDArray[np.uint8]

MAXIMUM_PIXELS = 178_956_970
"""Largest image that is decoded (13,377 x 13,377, 0.5 GB as RGB), the limit at which Pillow refuses too."""

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
_TIFF_PHOTOMETRIC = 262
# Of JPEG and GIF, PNG, PNG as older programs wrote it, WebP, and XMP anywhere.
_ORIENTATION_MARKERS = re.compile(rb"Exif\0\0|eXIf|Raw profile type|EXIF|tiff:Orientation")
_JPEG_CHANNELS = {"Gray": 1, "YCbCr": 3, "RGB": 3, "CMYK": 4, "YCCK": 4}

# Images are handled one per process on all cores; OpenCV's own threads would only fight over them.
cv2.setNumThreads(1)


@dataclass(frozen=True)
class ImageHeader:
    """What an encoded image says of itself.

    Attributes:
        format: ``jpeg``, ``png``, ``webp``, ``bmp``, ``tiff`` or ``gif``.
        height: Of the upright image, in pixels.
        width: Of the upright image, in pixels.
        channels: As stored: 1 (gray, palette), 2 (with transparency), 3 (colour), 4 (with transparency, or CMYK).
        orientation: EXIF orientation by which the stored pixels must still be turned, 1 (not at all) to 8.
    """

    format: str
    height: int
    width: int
    channels: int
    orientation: int


def read_image_header(data: bytes) -> ImageHeader:
    """Read format and size without decoding any pixel.

    Args:
        data: The encoded image. Its first half a megabyte is enough, except for WebP, and for TIFF, whose directory may
            are at the end.

    Raises:
        DatasetError: If it is not an image of a known format, or larger than `MAXIMUM_PIXELS`.
    """
    header = _jpeg_header(data)
    if header is not None:
        return header
    with _open(data) as image:
        return _pillow_header(image, data)


def decode_image(data: bytes, *, channels: int = 3, minimum_size: tuple[int, int] | None = None) -> Pixels:
    """Decode an image to pixels.

    Args:
        data: The encoded image, of any format that `read_image_header` knows.
        channels: 3 for RGB, 1 for gray.
        minimum_size: Height and width that will be resized to. A JPEG of at least twice that size is decoded to a half,
            quarter or eighth of it, never below this size: faster, and properly averaged.

    Returns:
        The pixels, height x width x channels.

    Raises:
        DatasetError: If the image is damaged, cut off, of an unknown format or larger than `MAXIMUM_PIXELS`.
    """
    header = _jpeg_header(data)
    if header is not None and header.channels in (1, 3):
        wanted = minimum_size or (0, 0)
        if header.orientation >= 5:
            wanted = (wanted[1], wanted[0])
        try:
            pixels: Pixels = simplejpeg.decode_jpeg(
                data, "RGB" if channels == 3 else "GRAY", min_height=wanted[0], min_width=wanted[1], min_factor=2
            )
        except ValueError:
            # libjpeg warned. Pillow tells the harmless (stray bytes between markers) from the fatal (data end early).
            return _decode_with_pillow(data, channels)
        return _turn_upright(pixels, header.orientation)
    return _decode_with_pillow(data, channels)


def resize_image(image: Pixels, height: int, width: int) -> Pixels:
    """Bring an image to a size, squeezing it: all of it is kept, its aspect is not.

    Where a side shrinks to a half or less, pixels are averaged, so that none is passed over: in pairs before linear
    interpolation, or by area where a side is odd or shrinks to a third or less. Otherwise interpolation is linear, as
    the algorithm's own serving does it.

    Args:
        image: Height x width x channels.
        height: Wanted height.
        width: Wanted width.

    Returns:
        A new image, or ``image`` itself if it has that size.
    """
    rows, columns, channels = image.shape
    if rows >= 2 * height or columns >= 2 * width:
        half_rows, half_columns = _halve(rows, height), _halve(columns, width)
        if half_rows is None or half_columns is None:
            image = _resize(image, min(rows, height), min(columns, width), cv2.INTER_AREA)
        else:
            # Linear interpolation to exactly a half is the mean of each pair, in a quarter of the time.
            image = _resize(image, half_rows, half_columns, cv2.INTER_LINEAR)
    image = _resize(image, height, width, cv2.INTER_LINEAR)
    # OpenCV drops the axis of a single channel.
    return image.reshape(height, width, channels)


def encode_image(image: Pixels, encoding: Literal["jpeg", "png"], quality: int = 95) -> bytes:
    """Encode pixels; the same pixels give the same bytes.

    Args:
        image: Height x width x channels, with 3 (RGB) or 1 (gray) channels.
        encoding: ``jpeg`` (4:2:0 chroma, as MXNet's im2rec writes it) or ``png`` (lossless).
        quality: JPEG quality, 1 to 100; ``png`` has none.
    """
    if encoding == "jpeg":
        space, subsampling = ("RGB", "420") if image.shape[2] == 3 else ("GRAY", "Gray")
        encoded: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality, space, subsampling)
        return encoded
    file = io.BytesIO()
    # Higher levels take three times as long for a few percent of size.
    Image.fromarray(image if image.shape[2] == 3 else image[:, :, 0]).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _jpeg_header(data: bytes) -> ImageHeader | None:
    """The header by libjpeg-turbo, ten times as fast as Pillow's; None for what it cannot read."""
    if not data.startswith(b"\xff\xd8\xff"):
        return None
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    orientation = 1
    # Metadata are before the pixels, which begin with this marker (as do those of a preview inside Exif data).
    pixels_start = data.find(b"\xff\xda")
    if _may_be_turned(data, pixels_start if pixels_start >= 0 else len(data)):
        with _open(data) as image:
            orientation = _orientation(image)
    return _checked("jpeg", height, width, _JPEG_CHANNELS.get(space, 3), orientation)


def _pillow_header(image: Image.Image, data: bytes) -> ImageHeader:
    """The header of an image that was opened, but not decoded."""
    # Pillow turns a TIFF upright by itself, and nothing else. To ask for metadata can make it decode the whole image.
    orientation = _orientation(image) if image.format != "TIFF" and _may_be_turned(data, len(data)) else 1
    # MPO is a JPEG with further pictures behind it.
    name = "jpeg" if image.format == "MPO" else str(image.format).lower()
    return _checked(name, image.height, image.width, len(image.getbands()), orientation)


def _checked(name: str, height: int, width: int, channels: int, orientation: int) -> ImageHeader:
    if height * width > MAXIMUM_PIXELS:
        raise _too_large(f"{width}x{height} pixels")
    if orientation >= 5:
        height, width = width, height
    return ImageHeader(name, height, width, channels, orientation)


def _may_be_turned(data: bytes, end: int) -> bool:
    """Whether metadata with an orientation may be inside, before ``end``."""
    return _ORIENTATION_MARKERS.search(data, 0, end) is not None


def _open(data: bytes) -> Image.Image:
    """Let Pillow read the header."""
    if not data:
        raise DatasetError("is empty; copy it again or leave it out")
    try:
        with warnings.catch_warnings():
            # Pillow warns of half the size that it refuses, and of odd metadata that do not touch the pixels.
            warnings.simplefilter("ignore")
            return Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError:
        raise DatasetError(
            f"is not a JPEG, PNG, WebP, BMP, TIFF or GIF, or its header is damaged (starts with {data[:8]!r}); "
            "convert it to PNG or leave it out"
        ) from None
    except Image.DecompressionBombError:
        raise _too_large("too many pixels") from None
    except Exception as error:  # Pillow's readers raise whatever a damaged header leads them into.
        raise _damaged(error) from None


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # Damaged metadata of any kind are no reason to refuse sound pixels.
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _decode_with_pillow(data: bytes, channels: int) -> Pixels:
    try:
        with warnings.catch_warnings(), _open(data) as image:
            warnings.simplefilter("ignore")
            header = _pillow_header(image, data)
            image.load()
            pixels = np.asarray(_as_seen(image).convert("RGB" if channels == 3 else "L"))
    except (DatasetError, MemoryError):
        raise
    except Exception as error:  # Decoders raise OSError, SyntaxError, ValueError, IndexError, struct.error and more.
        raise _damaged(error) from None
    return _turn_upright(pixels.reshape(*pixels.shape[:2], channels), header.orientation)


def _as_seen(image: Image.Image) -> Image.Image:
    """Eight bits per channel and no transparency."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        scaled = (np.asarray(image).astype(np.uint32) + 128) // 257
        black_is_highest = image.format == "TIFF" and getattr(image, "tag_v2", {}).get(_TIFF_PHOTOMETRIC) == 0
        return Image.fromarray((255 - scaled if black_is_highest else scaled).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise DatasetError(
            "has 32 bits per channel, whose black and white are not agreed on; convert it to 8 or 16 bits"
        )
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours)
    return image


def _turn_upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undo a camera's rotation; the orientations are those of EXIF tag 0x0112."""
    if orientation == 1:
        return pixels
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _resize(image: Pixels, height: int, width: int, interpolation: int) -> Pixels:
    if image.shape[:2] == (height, width):
        return image
    resized: Pixels = cv2.resize(image, (width, height), interpolation=interpolation)
    return resized


def _halve(side: int, wanted: int) -> int | None:
    """What a side becomes before the last step, if its pixels can be averaged in pairs where they have to be."""
    if side < 2 * wanted:
        return wanted
    return side // 2 if side % 2 == 0 and side < 3 * wanted else None


def _too_large(size: str) -> DatasetError:
    return DatasetError(f"has {size}, more than the {MAXIMUM_PIXELS:,} that are decoded; shrink it or leave it out")


def _damaged(error: Exception) -> DatasetError:
    reason = str(error) or type(error).__name__
    return DatasetError(f"is damaged or cut off ({reason}); copy it again or leave it out")
