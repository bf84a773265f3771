"""What augmentation does to images, against the definitions and against OpenCV."""

import cv2
import numpy as np
import pytest
import torch

from kfp_image_tuning.trainer.augmentation import (
    augment,
    central_crop,
    hls_to_rgb,
    jitter_color,
    random_crop_and_flip,
    rgb_to_hls,
    warp,
    warp_crop_and_flip,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(count: int = 16, height: int = 12, width: int = 14, channels: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (count, height, width, channels), generator=generator(9), dtype=torch.uint8)


def test_without_a_type_the_centre_is_cut_out() -> None:
    images = noise()
    assert torch.equal(augment(images, 8, 9, None, generator()), images[:, 2:10, 2:11])
    assert central_crop(images, 12, 14).shape == images.shape


def test_crops_are_windows_of_their_images_half_of_them_mirrored() -> None:
    images = noise(count=200)
    crops = random_crop_and_flip(images, 10, 11, generator())
    found = {"straight": 0, "mirrored": 0}
    places = set()
    for image, crop in zip(images, crops, strict=True):
        for top in range(3):
            for left in range(4):
                window = image[top : top + 10, left : left + 11]
                for name, candidate in (("straight", window), ("mirrored", window.flip(1))):
                    if torch.equal(candidate, crop):
                        found[name] += 1
                        places.add((top, left))
    assert sum(found.values()) == 200
    assert 70 < found["straight"] < 130
    assert len(places) == 12, "every place is used"


def test_colors_go_to_hls_as_in_opencv() -> None:
    images = noise(count=64)
    expected = np.stack([cv2.cvtColor(image.numpy(), cv2.COLOR_RGB2HLS) for image in images])
    hue, lightness, saturation = rgb_to_hls(images)
    ours = torch.stack([hue, lightness, saturation], dim=-1).numpy()
    apart = np.abs(ours - expected.astype(np.float32))
    apart[..., 0] = np.minimum(apart[..., 0], 180 - apart[..., 0])
    assert apart.max() <= 1
    assert (apart == 0).mean() > 0.9


def test_hls_goes_back_to_the_same_colors_as_in_opencv() -> None:
    images = noise(count=64)
    hls = np.stack([cv2.cvtColor(image.numpy(), cv2.COLOR_RGB2HLS) for image in images])
    expected = np.stack([cv2.cvtColor(image, cv2.COLOR_HLS2RGB) for image in hls]).astype(int)
    ours = hls_to_rgb(*(torch.from_numpy(hls[..., channel].astype(np.float32)) for channel in (0, 1, 2)))
    assert np.abs(ours.numpy().astype(int) - expected).max() <= 1


def test_gray_images_change_in_lightness_alone() -> None:
    images = torch.full((64, 4, 4, 1), 128, dtype=torch.uint8)
    changed = jitter_color(images, generator()).float()
    assert (changed.amax(dim=(1, 2)) == changed.amin(dim=(1, 2))).all(), "the same change for a whole image"
    shifts = changed[:, 0, 0, 0] - 128
    assert shifts.min() >= -51
    assert shifts.max() <= 51
    assert len(set(shifts.tolist())) > 30


def test_black_and_white_stay_within_bounds() -> None:
    extremes = torch.stack([torch.zeros(4, 4, 3), torch.full((4, 4, 3), 255)]).to(torch.uint8).repeat(50, 1, 1, 1)
    changed = jitter_color(extremes, generator())
    assert changed[::2].max() > 30
    assert changed[1::2].min() < 225


def test_a_warp_keeps_the_middle_and_fills_with_white() -> None:
    images = torch.zeros((64, 32, 32, 1), dtype=torch.uint8)
    warped = warp(images, generator())
    assert warped[:, 12:20, 12:20].max() == 0
    corners = warped[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners == 255).any()


def test_warped_crops_are_cut_out_of_the_warped_images() -> None:
    smooth = torch.arange(32, dtype=torch.float32)[:, None] * 5 + torch.arange(30) * 2
    images = smooth.to(torch.uint8)[None, ..., None].repeat(64, 1, 1, 3)
    fused = warp_crop_and_flip(images, 28, 27, generator())
    draws = generator()
    one_by_one = random_crop_and_flip(warp(images, draws), 28, 27, draws)
    assert (fused.int() - one_by_one.int()).abs().max() <= 1


@pytest.mark.parametrize("kind", ["crop", "crop_color", "crop_color_transform"])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_generator_decides_all(kind: str, channels: int) -> None:
    images = noise(channels=channels)
    first, again, other = (augment(images, 8, 9, kind, generator(seed)) for seed in (1, 1, 2))
    assert first.shape == (16, 8, 9, channels)
    assert first.dtype == torch.uint8
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(images, noise(channels=channels)), "the given images stay as they are"
