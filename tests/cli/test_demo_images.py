"""The demo's images are real, whole, and written once."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kfp_image_tuning.cli.demo_images import write_demo_images

pytestmark = pytest.mark.slow


def test_demo_images_are_the_digits_of_the_package(tmp_path: Path) -> None:
    folder = tmp_path / "demo" / "images"
    assert write_demo_images(folder) == 5000
    assert sorted(path.name for path in folder.iterdir()) == [str(digit) for digit in range(10)]
    assert all(len(list(path.iterdir())) == 500 for path in folder.iterdir())
    pixels = np.asarray(Image.open(next((folder / "1").iterdir())))
    assert pixels.shape == (28, 28)
    assert pixels.max() > 200, "white on black"
    assert pixels[0].max() == 0
    written = (folder / "1").stat().st_mtime_ns
    assert write_demo_images(folder) == 5000
    assert (folder / "1").stat().st_mtime_ns == written
    assert [path.name for path in folder.parent.iterdir()] == ["images"], "nothing unfinished stays"
