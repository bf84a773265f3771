"""Every format, mode and rotation is decoded as a person would see it, and nothing hostile gets far."""

import io
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest
import simplejpeg
import skimage.data
from numpy.typing import NDArray
from PIL import Image, ImageOps

from kfp_image_tuning.core.errors import DatasetError
from kfp_image_tuning.dataset.image_codec import (
    MAXIMUM_PIXELS,
    decode_image,
    encode_image,
    read_image_header,
    resize_image,
)

PHOTOGRAPH: NDArray[np.uint8] = np.ascontiguousarray(skimage.data.astronaut()[40:200, 150:350])
GRAY: NDArray[np.uint8] = np.asarray(Image.fromarray(PHOTOGRAPH).convert("L"))
HEIGHT, WIDTH = PHOTOGRAPH.shape[:2]


def encoded(image: Image.Image, encoding: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, encoding, **options)
    return file.getvalue()


def photograph(encoding: str, mode: str = "RGB", **options: object) -> bytes:
    return encoded(Image.fromarray(PHOTOGRAPH).convert(mode), encoding, **options)


def sixteen_bit(encoding: str) -> bytes:
    content: bytes = cv2.imencode(f".{encoding}", GRAY.astype(np.uint16) * 257)[1].tobytes()
    return content


def sixteen_bit_colour(encoding: str) -> bytes:
    content: bytes = cv2.imencode(f".{encoding}", PHOTOGRAPH[:, :, ::-1].astype(np.uint16) * 257)[1].tobytes()
    return content


def ycck_jpeg() -> bytes:
    """CMYK as Photoshop writes it: colours as YCbCr of C, M, Y beside an inverted K, told by the Adobe marker."""
    inks = Image.fromarray(PHOTOGRAPH).convert("CMYK")
    cyan, magenta, yellow, black = inks.split()
    bands = [*Image.merge("RGB", (cyan, magenta, yellow)).convert("YCbCr").split(), ImageOps.invert(black)]
    # Pillow inverts what it writes.
    inverted = Image.merge("CMYK", [ImageOps.invert(band) for band in bands])
    data = encoded(inverted, "JPEG", quality=98, subsampling=0)
    transform = data.index(b"Adobe") + 11
    return data[:transform] + b"\x02" + data[transform + 1 :]


@pytest.mark.parametrize(
    ("data", "format_name", "tolerance"),
    [
        pytest.param(photograph("PNG"), "png", 0, id="png"),
        pytest.param(photograph("BMP"), "bmp", 0, id="bmp"),
        pytest.param(photograph("TIFF"), "tiff", 0, id="tiff"),
        pytest.param(photograph("TIFF", compression="tiff_lzw"), "tiff", 0, id="tiff lzw"),
        pytest.param(photograph("TIFF", compression="jpeg"), "tiff", 6, id="tiff jpeg"),
        pytest.param(photograph("WEBP", lossless=True), "webp", 0, id="webp lossless"),
        pytest.param(photograph("WEBP", quality=95), "webp", 6, id="webp"),
        pytest.param(photograph("JPEG", quality=95), "jpeg", 3, id="jpeg"),
        pytest.param(photograph("JPEG", quality=95, progressive=True), "jpeg", 3, id="progressive jpeg"),
        pytest.param(photograph("JPEG", "CMYK", quality=95), "jpeg", 3, id="cmyk jpeg"),
        pytest.param(ycck_jpeg(), "jpeg", 3, id="ycck jpeg"),
        pytest.param(photograph("TIFF", "CMYK"), "tiff", 1, id="cmyk tiff"),
        pytest.param(photograph("GIF"), "gif", 12, id="gif"),
        pytest.param(photograph("PNG", "P"), "png", 30, id="palette png"),
        pytest.param(sixteen_bit_colour("png"), "png", 0, id="16-bit png"),
        pytest.param(sixteen_bit_colour("tiff"), "tiff", 0, id="16-bit tiff"),
    ],
)
def test_colour_images_of_every_format_are_decoded_right(data: bytes, format_name: str, tolerance: int) -> None:
    header = read_image_header(data)
    assert (header.format, header.height, header.width) == (format_name, HEIGHT, WIDTH)
    pixels = decode_image(data)
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - PHOTOGRAPH).mean() <= tolerance
    gray = decode_image(data, channels=1)
    assert gray.shape == (HEIGHT, WIDTH, 1)
    assert np.abs(gray[:, :, 0].astype(int) - GRAY).mean() <= max(1, tolerance)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(photograph("PNG", "L"), id="png"),
        pytest.param(photograph("BMP", "L"), id="bmp"),
        pytest.param(photograph("TIFF", "L"), id="tiff"),
        pytest.param(photograph("GIF", "L"), id="gif"),
        pytest.param(sixteen_bit("png"), id="16-bit png"),
        pytest.param(sixteen_bit("tiff"), id="16-bit tiff"),
    ],
)
def test_gray_images_are_decoded_right(data: bytes) -> None:
    assert np.array_equal(decode_image(data, channels=1)[:, :, 0], GRAY)
    assert np.array_equal(decode_image(data), np.stack([GRAY] * 3, axis=2))


def test_a_gray_jpeg_is_decoded_right() -> None:
    data = photograph("JPEG", "L", quality=95)
    assert read_image_header(data).channels == 1
    assert np.abs(decode_image(data)[:, :, 0].astype(int) - GRAY).mean() < 2
    assert decode_image(data, channels=1).shape == (HEIGHT, WIDTH, 1)


def test_a_black_and_white_image_uses_the_whole_range() -> None:
    for encoding in ("PNG", "TIFF", "GIF", "BMP"):
        assert set(np.unique(decode_image(photograph(encoding, "1")))) == {0, 255}


def test_a_16_bit_tiff_whose_zero_is_white_is_not_negative() -> None:
    file = io.BytesIO()
    Image.fromarray(65535 - GRAY.astype(np.uint16) * 257).save(file, "TIFF", tiffinfo={262: 0})
    assert np.abs(decode_image(file.getvalue(), channels=1)[:, :, 0].astype(int) - GRAY).max() <= 1


@pytest.mark.parametrize("mode", ["I", "F"])
def test_32_bits_per_channel_are_refused_rather_than_guessed(mode: str) -> None:
    image = Image.fromarray(GRAY.astype(np.int32 if mode == "I" else np.float32))
    with pytest.raises(DatasetError, match="32 bits per channel"):
        decode_image(encoded(image, "TIFF"))


def transparent(encoding: str, mode: str) -> bytes:
    """Red, the left half of it transparent."""
    image = Image.new("RGBA", (20, 10), (200, 0, 0, 255))
    image.paste((200, 0, 0, 0), (0, 0, 10, 10))
    if mode == "P":
        return encoded(image, encoding)
    return encoded(image.convert(mode), encoding, lossless=True)


@pytest.mark.parametrize(
    ("data", "solid"),
    [
        pytest.param(transparent("PNG", "RGBA"), (200, 0, 0), id="png"),
        pytest.param(transparent("WEBP", "RGBA"), (200, 0, 0), id="webp"),
        pytest.param(transparent("TIFF", "RGBA"), (200, 0, 0), id="tiff"),
        pytest.param(transparent("PNG", "LA"), (60, 60, 60), id="gray png"),
        pytest.param(transparent("GIF", "P"), (200, 0, 0), id="gif"),
    ],
)
def test_transparent_pixels_are_white(data: bytes, solid: tuple[int, int, int]) -> None:
    pixels = decode_image(data)
    assert (pixels[:, :10] == 255).all()
    assert (pixels[:, 10:] == solid).all()
    assert (decode_image(data, channels=1)[:, :10] == 255).all()


def test_a_transparent_colour_of_a_png_without_alpha_is_white() -> None:
    image = Image.new("RGB", (4, 4), (1, 2, 3))
    image.putpixel((0, 0), (200, 0, 0))
    pixels = decode_image(encoded(image, "PNG", transparency=(1, 2, 3)))
    assert tuple(pixels[0, 0]) == (200, 0, 0)
    assert (pixels[1:] == 255).all()


def test_half_transparent_pixels_are_mixed_with_white() -> None:
    pixels = decode_image(encoded(Image.new("RGBA", (2, 2), (0, 0, 0, 128)), "PNG"))
    assert np.abs(pixels.astype(int) - 127).max() <= 1


@pytest.mark.parametrize("encoding", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_counts(encoding: str) -> None:
    frames = [Image.new("RGB", (16, 8), colour) for colour in ("red", "lime", "blue")]
    data = encoded(frames[0], encoding, save_all=True, append_images=frames[1:], lossless=True)
    assert (decode_image(data) == (255, 0, 0)).mean() > 0.99


@pytest.mark.parametrize("encoding", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_turned_upright(encoding: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, object] = {"quality": 98} if encoding == "JPEG" else {"lossless": True}
    data = encoded(Image.fromarray(PHOTOGRAPH), encoding, exif=exif, **options)
    # Pillow turns the image by itself when it is a PNG with the same orientation.
    reference = Image.open(io.BytesIO(encoded(Image.fromarray(PHOTOGRAPH), "PNG", exif=exif)))
    expected = np.asarray(ImageOps.exif_transpose(reference))
    header = read_image_header(data)
    assert (header.height, header.width) == expected.shape[:2]
    pixels = decode_image(data)
    assert pixels.flags.c_contiguous
    assert np.abs(pixels.astype(int) - expected).mean() < 3


@pytest.mark.parametrize("encoding", ["JPEG", "PNG", "BMP", "TIFF", "GIF"])
def test_the_header_is_read_from_the_start_of_the_file_alone(encoding: str) -> None:
    data = photograph(encoding)
    start = data[: len(data) // 2]
    if encoding == "TIFF":
        # Where Pillow puts a TIFF's directory.
        start = data[: struct.unpack_from("<I", data, 4)[0] + 400]
    header = read_image_header(start)
    assert (header.format, header.height, header.width) == (encoding.lower(), HEIGHT, WIDTH)


def test_damaged_exif_does_not_cost_the_image() -> None:
    data = photograph("JPEG", quality=95, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff" + b"\xff" * 20)
    assert decode_image(data).shape == (HEIGHT, WIDTH, 3)


def test_jpeg_pixels_are_those_of_pillow() -> None:
    data = photograph("JPEG", quality=90)
    assert np.array_equal(decode_image(data), np.asarray(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize(
    ("minimum", "expected"),
    [(None, (160, 200)), ((80, 100), (80, 100)), ((81, 100), (160, 200)), ((20, 20), (20, 25)), ((500, 1), (160, 200))],
)
def test_a_jpeg_is_decoded_smaller_but_never_below_the_minimum(
    minimum: tuple[int, int] | None, expected: tuple[int, int]
) -> None:
    pixels = decode_image(photograph("JPEG", quality=95), minimum_size=minimum)
    assert pixels.shape[:2] == expected
    reference = np.asarray(Image.fromarray(PHOTOGRAPH).resize(expected[::-1], Image.Resampling.BOX))
    assert np.abs(pixels.astype(int) - reference).mean() < 4


def test_the_minimum_is_that_of_the_upright_image() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = photograph("JPEG", quality=95, exif=exif)
    assert decode_image(data, minimum_size=(100, 80)).shape[:2] == (100, 80)
    assert decode_image(data, minimum_size=(100, 81)).shape[:2] == (200, 160)


def png_header(width: int, height: int) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(100_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def jpeg_header(width: int, height: int) -> bytes:
    data = bytearray(simplejpeg.encode_jpeg(np.zeros((16, 16, 3), np.uint8)))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def tiff_header(width: int, height: int) -> bytes:
    data = encoded(Image.new("L", (100, 200)), "TIFF")
    for old, new in ((100, width), (200, height)):
        data = data.replace(struct.pack("<HHIHH", 256 + (old == 200), 4, 1, old, 0), b"?")
        data = data.replace(b"?", struct.pack("<HHII", 256 + (old == 200), 4, 1, new), 1)
    return data


def bmp_header(width: int, height: int) -> bytes:
    data = bytearray(encoded(Image.new("RGB", (4, 4)), "BMP"))
    data[18:26] = struct.pack("<ii", width, height)
    return bytes(data)


def gif_header(width: int, height: int) -> bytes:
    data = bytearray(encoded(Image.new("L", (4, 4)), "GIF"))
    data[6:10] = struct.pack("<HH", width, height)
    return bytes(data)


@pytest.mark.parametrize("make", [png_header, jpeg_header, tiff_header, bmp_header, gif_header])
@pytest.mark.parametrize("size", [(50_000, 50_000), (13_378, 13_378), (65_000, 2_800)])
def test_an_enormous_image_is_refused_before_it_is_decoded(
    make: Callable[[int, int], bytes], size: tuple[int, int]
) -> None:
    data = make(*size)
    tracemalloc.start()
    started = time.process_time()
    with pytest.raises(DatasetError, match=f"pixels, more than the {MAXIMUM_PIXELS:,}"):
        decode_image(data)
    assert time.process_time() - started < 1
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("encoding", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_a_cut_image_is_refused_wherever_it_is_cut(encoding: str) -> None:
    data = photograph(encoding)
    for length in [*range(0, 64, 3), *range(64, int(len(data) * 0.9), len(data) // 25)]:
        with pytest.raises(DatasetError) as raised:
            decode_image(data[:length])
        assert "leave it out" in str(raised.value)


@pytest.mark.parametrize("encoding", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_damage_anywhere_gives_pixels_or_a_clear_refusal(encoding: str) -> None:
    data = photograph(encoding)
    random = np.random.default_rng(0)
    for place in [*range(0, 120, 2), *random.integers(120, len(data), 40)]:
        damaged = bytearray(data)
        damaged[place] ^= int(random.integers(1, 256))
        try:
            pixels = decode_image(bytes(damaged))
        except DatasetError:
            continue
        assert pixels.ndim == 3
        assert pixels.shape[2] == 3


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"%PDF-1.7 ...", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"\xff\xd8\xff"]
)
def test_what_is_no_image_is_refused(data: bytes) -> None:
    for read in (read_image_header, decode_image):
        with pytest.raises(DatasetError, match="leave it out"):
            read(data)


def test_stray_bytes_between_jpeg_segments_do_no_harm() -> None:
    data = photograph("JPEG", quality=95)
    tables = data.index(b"\xff\xdb")
    assert np.array_equal(decode_image(data[:tables] + b"\0\0\0" + data[tables:]), decode_image(data))


@pytest.mark.parametrize("size", [(80, 100), (79, 61), (200, 320), (20, 400), (400, 20), (1, 1), (160, 200)])
@pytest.mark.parametrize("channels", [1, 3])
def test_resizing_squeezes_the_whole_image(size: tuple[int, int], channels: int) -> None:
    image = PHOTOGRAPH[:, :, :channels]
    resized = resize_image(np.ascontiguousarray(image), *size)
    assert resized.shape == (*size, channels)
    for corner in ((0, 0), (-1, -1)):
        assert np.abs(resized[corner].astype(int) - image[corner]).max() < 60 or size == (1, 1)
    assert np.abs(resized.mean() - image.mean()) < 8


def test_shrinking_to_a_half_averages_instead_of_dropping_pixels() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 200
    assert (resize_image(stripes, 32, 32) == 100).all()
    assert (resize_image(stripes, 16, 16) == 100).all()


@pytest.mark.parametrize("columns", [25, 31, 42, 43, 50, 56, 62])
@pytest.mark.parametrize("stored", [125, 126])
def test_no_pixel_is_passed_over_when_a_side_shrinks_to_a_half_or_less(stored: int, columns: int) -> None:
    for bright in range(stored):
        image = np.zeros((40, stored, 3), np.uint8)
        image[:, bright] = 255
        assert resize_image(image, 30, columns).astype(int).sum() / (30 * 3 * 255) > 0.4 * columns / stored, bright


@pytest.mark.parametrize("channels", [1, 3])
def test_png_gives_the_same_pixels_back(channels: int) -> None:
    image = np.ascontiguousarray(PHOTOGRAPH[:, :, :channels])
    data = encode_image(image, "png")
    assert np.array_equal(decode_image(data, channels=channels), image)
    assert encode_image(image, "png") == data


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_gives_nearly_the_same_pixels_back(channels: int) -> None:
    image = PHOTOGRAPH[:, :, :channels]
    data = encode_image(image, "jpeg", 95)
    assert np.abs(decode_image(data, channels=channels).astype(int) - image).mean() < 3
    assert len(encode_image(image, "jpeg", 50)) < len(data) == len(encode_image(image, "jpeg", 95))
