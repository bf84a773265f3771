"""A small prepared data set of real digits, made once."""

from pathlib import Path

import cv2
import pytest

from kfp_image_tuning.preparation.preparation import prepare_dataset
from tests.trainer.digits import digits


@pytest.fixture(scope="session")
def digits_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """240 training, 80 validation and 80 test digits, 8x8 pixels."""
    folder = tmp_path_factory.mktemp("digits")
    data = digits().part(0, 400)
    for number, (image, label) in enumerate(zip(data.images, data.labels, strict=True)):
        place = folder / "source" / str(label)
        place.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(place / f"{number:03}.png"), image)
    prepare_dataset(
        str(folder / "source"), folder / "dataset", fractions=(0.6, 0.2, 0.2), workers=1, progress=lambda _: None
    )
    return folder / "dataset"
