"""A small prepared data set of real digits, made once."""

from pathlib import Path

import pytest

from tests.evaluation.digits import write_digits


@pytest.fixture(scope="session")
def digits_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 training, 60 validation and 30 test digits, 8x8 pixels."""
    folder = tmp_path_factory.mktemp("digits") / "dataset"
    write_digits(folder, counts=(200, 60, 30), test_shards=1)
    return folder
