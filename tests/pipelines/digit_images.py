"""Real images: scanned handwritten digits of 8x8 pixels."""

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

CLASSES = 4
IMAGES_PER_CLASS = 60


def write_digit_images(folder: Path) -> None:
    """Write a folder of class folders."""
    data = load_digits()
    for digit in range(CLASSES):
        (folder / f"digit-{digit}").mkdir()
        images = data.images[data.target == digit][:IMAGES_PER_CLASS]
        for number, image in enumerate(images):
            Image.fromarray((image * 15.9).astype(np.uint8)).save(folder / f"digit-{digit}" / f"{number:03}.png")
