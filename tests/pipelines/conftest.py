"""Real images for the pipelines: scanned handwritten digits of 8x8 pixels."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from kfp_image_tuning.components.data_preparation.preparation import prepare_dataset

CLASSES = 4
IMAGES_PER_CLASS = 60


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of class folders."""
    folder = tmp_path_factory.mktemp("digits")
    data = load_digits()
    for digit in range(CLASSES):
        (folder / f"digit-{digit}").mkdir()
        images = data.images[data.target == digit][:IMAGES_PER_CLASS]
        for number, image in enumerate(images):
            Image.fromarray((image * 15.9).astype(np.uint8)).save(folder / f"digit-{digit}" / f"{number:03}.png")
    return folder


@pytest.fixture(scope="session")
def prepared_digits(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, as a data set."""
    folder = tmp_path_factory.mktemp("prepared") / "dataset"
    prepare_dataset(str(digits), folder)
    return folder
