"""A model that has learnt nothing, and answers differently to different images all the same."""

from pathlib import Path

import torch

from kfp_image_tuning.dataset.document import Dataset
from kfp_image_tuning.model.model_files import describe_model, save_model
from kfp_image_tuning.model.network import ResNetV2
from kfp_image_tuning.model.preprocessing import Preprocessing
from tests.trainer.digits import make_hyperparameters


def write_random_model(folder: Path, dataset: Dataset) -> Path:
    """Write a model for a data set's classes and images."""
    shape = dataset.image_shape
    network = ResNetV2(20, len(dataset.classes), shape, torch.Generator().manual_seed(0))
    network(torch.randn(32, *shape, generator=torch.Generator().manual_seed(1)))
    hyperparameters = make_hyperparameters(
        image_shape=shape, num_classes=len(dataset.classes), num_training_samples=100
    )
    preprocessing = Preprocessing((100.0,) * shape[0], (50.0,) * shape[0])
    save_model(folder, describe_model(hyperparameters, dataset.classes, preprocessing, 1, 0.5), network)
    return folder
