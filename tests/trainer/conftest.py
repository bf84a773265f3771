"""One thread, as in a search's trials: results are the same on every machine with this CPU. And digits as records."""

import json
from pathlib import Path

import pytest
import torch

from tests.trainer.digits import training_digits, validation_digits, write_records
from tests.trainer.programs import HYPERPARAMETERS

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """320 training digits in two record files, 200 validation digits in one."""
    directory = tmp_path_factory.mktemp("records")
    write_records(directory / "train" / "a.rec", training_digits().part(0, 200))
    write_records(directory / "train" / "b.rec", training_digits().part(200, 320))
    write_records(directory / "validation" / "validation.rec", validation_digits())
    (directory / "hyperparameters.json").write_text(json.dumps(HYPERPARAMETERS))
    return directory
