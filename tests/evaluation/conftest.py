from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from kfp_image_tuning.dataset.document import Dataset
from kfp_image_tuning.evaluation.evaluation import Evaluation, evaluate_model
from tests.evaluation.digits import train_on, write_digits


class Trained(NamedTuple):
    """A data set and the folder of a model that was trained on it."""

    dataset: Dataset
    model: Path


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("digits")
    dataset = write_digits(folder / "dataset")
    return Trained(dataset, train_on(dataset, folder / "model"))


@pytest.fixture(scope="session")
def evaluation(trained: Trained) -> Evaluation:
    return evaluate_model(trained.model, trained.dataset.directory, batch_size=64)
