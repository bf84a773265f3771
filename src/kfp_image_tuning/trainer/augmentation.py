"""Crops, flips, color jitter and warps of training images, by the numbers of MXNet's default augmenter.

``augmentation_type`` of the algorithm and what it means here (the same values as the levels of MXNet's image-
classification example):

======================== ==============================================================================================
none                     the central crop
``crop``                 a random crop and, for every second image, a horizontal flip
``crop_color``           also, in OpenCV's 8-bit HLS units: hue ±36 (of 180), saturation ±50, lightness ±50 (of 255)
``crop_color_transform`` before it all, also a rotation to ±10°, a shear to ±0.1 and a change of the aspect ratio to
                         ±0.25, about the centre, filled with white
======================== ==============================================================================================

Everything works on whole batches of uint8 images on the device that they are on; what is drawn comes from the given
generator alone.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

HUE, SATURATION, LIGHTNESS = 36, 50, 50
ROTATION_DEGREES, SHEAR, ASPECT = 10, 0.1, 0.25
FILL = 255.0


def augment(
    images: Tensor, height: int, width: int, augmentation_type: str | None, generator: torch.Generator
) -> Tensor:
    """Bring a batch to the network's size, at random where the type says so.

    Args:
        images: uint8, ``[N, H, W, C]``, at least ``height`` by ``width``.
        height: Of the result.
        width: Of the result.
        augmentation_type: A value of the hyperparameter, or None.
        generator: On the images' device.

    Returns:
        uint8, ``[N, height, width, C]``.
    """
    if augmentation_type is None:
        return central_crop(images, height, width)
    if augmentation_type == "crop_color_transform":
        images = warp_crop_and_flip(images, height, width, generator)
    else:
        images = random_crop_and_flip(images, height, width, generator)
    if augmentation_type == "crop":
        return images
    return jitter_color(images, generator)


def central_crop(images: Tensor, height: int, width: int) -> Tensor:
    """Cut the middle out of each image; the odd pixel goes to the right and the bottom."""
    top, left = (images.shape[1] - height) // 2, (images.shape[2] - width) // 2
    return images[:, top : top + height, left : left + width]


def random_crop_and_flip(images: Tensor, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Cut each image at a place of its own and mirror every second one, in one gather."""
    count, device = len(images), images.device
    tops, lefts, flips = _draw_crops(images, height, width, generator)
    rows = tops[:, None] + torch.arange(height, device=device)
    columns = torch.arange(width, device=device)
    columns = lefts[:, None] + torch.where(flips[:, None], columns.flip(0), columns)
    batch = torch.arange(count, device=device)
    return images[batch[:, None, None], rows[:, :, None], columns[:, None, :]]


def jitter_color(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift hue, lightness and saturation of each image by amounts of its own, whole OpenCV units, clamped at the ends.

    MXNet makes the ends of the range rare: a shift is the sum of an even one of four fifths and one of one fifth of it.
    Images that have not three channels keep their hue and saturation: they have none.
    """
    count = len(images)
    hue, saturation, lightness = (
        (
            _uniform(-0.8 * limit, 0.8 * limit, count, images.device, generator)
            + _uniform(-0.2 * limit, 0.2 * limit, count, images.device, generator)
        ).trunc_()[:, None, None]
        for limit in (HUE, SATURATION, LIGHTNESS)
    )
    if images.shape[-1] != 3:
        return (images + lightness[..., None]).clamp_(0, 255).to(torch.uint8)
    h, l, s = rgb_to_hls(images)  # noqa: E741 - the channels' own names
    h = (h + hue).clamp_(0, 180)
    l = (l + lightness).clamp_(0, 255)  # noqa: E741
    s = (s + saturation).clamp_(0, 255)
    return hls_to_rgb(h, l, s)


def rgb_to_hls(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hue in 0..180, lightness and saturation in 0..255, rounded, as OpenCV's 8-bit ``COLOR_RGB2HLS``."""
    # One plane for each channel: three steps through memory instead of one are three times slower.
    red, green, blue = images.permute(3, 0, 1, 2).to(torch.float32, memory_format=torch.contiguous_format).unbind()
    high = torch.maximum(torch.maximum(red, green), blue)
    low = torch.minimum(torch.minimum(red, green), blue)
    spread, total = high - low, high + low
    saturation = spread / torch.minimum(total, 510 - total).clamp_(min=1)
    green_or_blue = torch.where(high == green, blue - red + 2 * spread, red - green + 4 * spread)
    hue = torch.where(high == red, green - blue, green_or_blue).mul_(30).div_(spread.clamp_(min=1)).round_()
    hue = torch.where(hue < 0, hue + 180, hue)
    return hue, total.div_(2).round_(), saturation.mul_(255).round_()


def hls_to_rgb(hue: Tensor, lightness: Tensor, saturation: Tensor) -> Tensor:
    """The inverse of `rgb_to_hls`, as uint8."""
    reach = torch.minimum(lightness, 255 - lightness).mul_(saturation).mul_(1 / 255)
    images = torch.empty((*hue.shape, 3), dtype=torch.uint8, device=hue.device)
    for channel, offset in enumerate((-6, 2, -2)):
        # The place on a circle of twelve, counted from where this channel is strongest, from -6 to 6.
        place = hue / 15 + offset
        place = torch.where(place >= 6, place - 12, place)
        strength = 3 - place.abs_()
        images[..., channel] = torch.addcmul(lightness, reach, strength.clamp_(-1, 1), value=-1).round_()
    return images


def warp(images: Tensor, generator: torch.Generator) -> Tensor:
    """Rotate, shear and stretch each image about its centre, by amounts of its own, filling with white."""
    _, height, width, _ = images.shape
    return _sample(images, _draw_warps(images, generator), height, width)


def warp_crop_and_flip(images: Tensor, height: int, width: int, generator: torch.Generator) -> Tensor:
    """`warp`, then `random_crop_and_flip`, but only the pixels that remain are ever computed."""
    warps = _draw_warps(images, generator)
    tops, lefts, flips = _draw_crops(images, height, width, generator)
    _, full_height, full_width, _ = images.shape
    # Where the pixels of the crop are in the warped image, in coordinates from -1 to 1 along both sides.
    crops = torch.zeros(len(images), 3, 3, device=images.device)
    crops[:, 0, 0] = (1 - 2 * flips.float()) * (width / full_width)
    crops[:, 0, 2] = (2 * lefts + width) / full_width - 1
    crops[:, 1, 1] = height / full_height
    crops[:, 1, 2] = (2 * tops + height) / full_height - 1
    crops[:, 2, 2] = 1
    return _sample(images, warps @ crops, height, width)


def _draw_crops(images: Tensor, height: int, width: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """For each image the first row and column of a crop, and whether it is mirrored."""
    count, full_height, full_width, _ = images.shape
    device = images.device
    tops = _integers(0, full_height - height, count, device, generator)
    lefts = _integers(0, full_width - width, count, device, generator)
    return tops, lefts, _integers(0, 1, count, device, generator).bool()


def _draw_warps(images: Tensor, generator: torch.Generator) -> Tensor:
    """For each image where the pixels of its warped form come from, ``[N, 2, 3]`` as `F.affine_grid` takes it."""
    count, height, width, _ = images.shape
    device = images.device
    shear = _uniform(-SHEAR, SHEAR, count, device, generator)
    angle = _integers(-ROTATION_DEGREES, ROTATION_DEGREES, count, device, generator) * (math.pi / 180)
    ratio = _uniform(1 - ASPECT, 1 + ASPECT, count, device, generator)
    tall = 2 / (1 + ratio)
    wide = ratio * tall
    cosine, sine = angle.cos(), angle.sin()
    forward = torch.stack(
        [
            torch.stack([tall * cosine - shear * sine * wide, tall * sine + shear * cosine * wide], dim=-1),
            torch.stack([-sine * wide, cosine * wide], dim=-1),
        ],
        dim=-2,
    )
    # grid_sample asks where each target pixel comes from, in coordinates from -1 to 1 along both sides.
    inverse = torch.linalg.inv(forward)
    sides = torch.tensor([width, height], device=device, dtype=torch.float32)
    # Its centre is between the pixels where both sides are even; MXNet turns about the pixel right below.
    offset = (0.5 - inverse.sum(dim=-1) * 0.5) * 2 / sides
    inverse = inverse * (sides[None, None, :] / sides[None, :, None])
    return torch.cat([inverse, offset[..., None]], dim=-1)


def _sample(images: Tensor, theta: Tensor, height: int, width: int) -> Tensor:
    """Images of the given size, each pixel of them interpolated where ``theta`` says that it comes from."""
    grid = F.affine_grid(theta, [len(images), 1, height, width], align_corners=False)
    # Zeros are what is outside: white becomes zero for the while.
    shifted = images.permute(0, 3, 1, 2).float() - FILL
    moved = F.grid_sample(shifted, grid, mode="bilinear", padding_mode="zeros", align_corners=False) + FILL
    return moved.permute(0, 2, 3, 1).round_().clamp_(0, 255).to(torch.uint8)


def _integers(low: int, high: int, count: int, device: torch.device, generator: torch.Generator) -> Tensor:
    return torch.randint(low, high + 1, (count,), device=device, generator=generator)


def _uniform(low: float, high: float, count: int, device: torch.device, generator: torch.Generator) -> Tensor:
    return torch.rand(count, device=device, generator=generator) * (high - low) + low
