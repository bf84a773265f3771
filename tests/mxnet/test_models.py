"""Models of ours in MXNet, and MXNet's in ours."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from kfp_image_tuning.model.model_files import describe_model, load_model, save_model
from kfp_image_tuning.model.mxnet_format import read_mxnet_model, write_mxnet_model
from kfp_image_tuning.model.mxnet_symbol import symbol_text
from kfp_image_tuning.model.network import UNITS_PER_STAGE, ResNetV2
from kfp_image_tuning.model.preprocessing import Preprocessing
from kfp_image_tuning.search.hyperparameters import Hyperparameters
from kfp_image_tuning.trainer.initial_model import InitialModel

Case = tuple[int, int, bool, str]
"""Layers, height, whether several labels, preprocessing."""
CASES: list[Case] = [
    (num_layers, size, multi_label, preprocessing)
    for num_layers in (20, 18, 50)
    for size in (28, 64)
    for multi_label, preprocessing in ((size == 64, "default"), (size == 28, "none"))
]
IMAGES = 4


def name_of(case: Case) -> str:
    return "-".join(map(str, case))


@pytest.fixture(scope="module")
def models(mxnet: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each case's model in both forms, with MXNet's outputs for a few images."""
    folder = tmp_path_factory.mktemp("models")
    for case in CASES:
        model = save_some_model(folder / name_of(case), *case)
        write_mxnet_model(model, folder / name_of(case) / "mxnet")
        np.save(folder / name_of(case) / "mxnet" / "images.npy", some_images(case[1]).transpose(0, 3, 1, 2))
    mxnet("forward", folder, names=[f"{name_of(case)}/mxnet" for case in CASES])
    return folder


def some_images(size: int) -> NDArray[np.uint8]:
    return np.random.default_rng(size).integers(0, 256, (IMAGES, size, size, 3), dtype=np.uint8)


def save_some_model(folder: Path, num_layers: int, size: int, multi_label: bool, preprocessing_name: str) -> Path:
    """A model with every array in use, and statistics of images like those that it will see."""
    hyperparameters = Hyperparameters(
        num_classes=7,
        num_training_samples=100,
        num_layers=num_layers,
        image_shape=(3, size, size),
        multi_label=multi_label,
    )
    preprocessing = (
        Preprocessing.default(3) if preprocessing_name == "default" else Preprocessing((0.0,) * 3, (1.0,) * 3)
    )
    source = torch.Generator().manual_seed(num_layers)
    network = ResNetV2(num_layers, 7, (3, size, size), source).train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            if module.weight.requires_grad:
                nn.init.uniform_(module.weight, 0.5, 1.5, generator=source)
            nn.init.normal_(module.bias, generator=source)
            module.momentum = None  # the plain average of the batches seen
            module.reset_running_stats()
    normalize = preprocessing.on(torch.device("cpu"))
    with torch.no_grad():
        for _ in range(2):
            network(normalize(torch.randint(0, 256, (8, size, size, 3), generator=source)))
    classes = tuple(f"class {number}" for number in range(7))
    save_model(folder, describe_model(hyperparameters, classes, preprocessing, 4, 0.5), network)
    return folder


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_exported_model_gives_the_same_probabilities_in_mxnet(models: Path, case: Case) -> None:
    expected = np.load(models / name_of(case) / "mxnet" / "outputs.npy")
    found = load_model(models / name_of(case)).predict(some_images(case[1]))
    assert expected.std() > 0.01, "the probabilities would not show a difference"
    assert np.abs(found - expected).max() < 1e-5


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_exported_model_reads_back_as_it_was(models: Path, case: Case) -> None:
    num_layers, size, multi_label, preprocessing = case
    model = read_mxnet_model(models / name_of(case) / "mxnet")
    found = (model.num_layers, model.num_classes, model.image_shape, model.multi_label, model.epoch)
    assert found == (num_layers, 7, (3, size, size), multi_label, 5)
    original = InitialModel.read(models / name_of(case)).arrays
    assert model.arrays.keys() == original.keys()
    for name, array in original.items():
        if preprocessing == "none" or not name.startswith("bn_data_moving"):
            np.testing.assert_array_equal(model.arrays[name], array.numpy(), err_msg=name)


def test_all_networks_have_the_arrays_shapes_and_outputs_of_mxnets(mxnet: Callable[..., Any], tmp_path: Path) -> None:
    heights = (28, 64)
    for num_layers in UNITS_PER_STAGE:
        for height in heights:
            text = symbol_text(num_layers, 10, (3, height, height), multi_label=False)
            (tmp_path / f"{num_layers}-{height}.json").write_text(text)
    answer = mxnet("infer_shapes", tmp_path, heights=heights)
    assert len(answer) == 22
    for case, (ours, theirs) in answer.items():
        assert ours == theirs, case
