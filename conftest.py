"""Real images, and our wheel, for all tests."""

from pathlib import Path

import pytest

# Everything else is imported where it is used: AWS's SDK has an environment of its own, with little else in it.


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of class folders."""
    from tests.pipelines.digit_images import write_digit_images

    folder = tmp_path_factory.mktemp("digits")
    write_digit_images(folder)
    return folder


@pytest.fixture(scope="session")
def prepared_digits(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, as a data set."""
    from kfp_image_tuning.preparation.preparation import prepare_dataset

    folder = tmp_path_factory.mktemp("prepared") / "dataset"
    prepare_dataset(str(digits), folder)
    return folder


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our wheel."""
    from tests.pipelines.environments import build_wheel

    return build_wheel(Path(__file__).parent, tmp_path_factory.mktemp("wheel"))
