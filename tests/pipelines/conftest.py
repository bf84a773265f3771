"""Real images for the pipelines."""

from pathlib import Path

import pytest

from kfp_image_tuning.components.data_preparation.preparation import prepare_dataset
from tests.pipelines.digit_images import write_digit_images
from tests.pipelines.environments import build_wheel


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of class folders."""
    folder = tmp_path_factory.mktemp("digits")
    write_digit_images(folder)
    return folder


@pytest.fixture(scope="session")
def prepared_digits(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, as a data set."""
    folder = tmp_path_factory.mktemp("prepared") / "dataset"
    prepare_dataset(str(digits), folder)
    return folder


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our wheel."""
    return build_wheel(Path(__file__).parents[2], tmp_path_factory.mktemp("wheel"))
