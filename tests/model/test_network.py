"""The networks' form, names, first weights, and what they refuse."""

import math

import pytest
import torch
from torch import nn

from kfp_image_tuning.core.errors import TrainingError
from kfp_image_tuning.model.network import ResNetV2, count_parameters, load_mxnet_arrays, mxnet_arrays
from kfp_image_tuning.search.hyperparameter_table import LARGE_IMAGE_LAYERS, SMALL_IMAGE_LAYERS


@pytest.mark.parametrize("num_layers", [*SMALL_IMAGE_LAYERS, *LARGE_IMAGE_LAYERS])
def test_depth_is_the_number_of_weighted_layers(num_layers: int) -> None:
    with torch.device("meta"):
        network = ResNetV2(num_layers, 7, (3, 64, 64))
    layers = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len([name for name in layers if not name.endswith(".sc")]) == num_layers
    assert network(torch.zeros(2, 3, 64, 64, device="meta")).shape == (2, 7)


@pytest.mark.parametrize(("size", "kernel"), [(28, 3), (32, 3), (33, 7), (224, 7)])
def test_the_stem_goes_by_the_height_of_the_images(size: int, kernel: int) -> None:
    network = ResNetV2(20, 10, (3, size, size))
    assert network.conv0.kernel_size == (kernel, kernel)
    assert ("bn0_gamma" in mxnet_arrays(network)) == (kernel == 7)


def test_first_weights_come_from_the_generator_alone() -> None:
    first, again = (ResNetV2(20, 10, (1, 28, 28), torch.Generator().manual_seed(3)) for _ in range(2))
    other = ResNetV2(20, 10, (1, 28, 28), torch.Generator().manual_seed(4))
    assert all(torch.equal(mxnet_arrays(first)[name], value) for name, value in mxnet_arrays(again).items())
    assert not torch.equal(first.fc1.weight, other.fc1.weight)
    weight = ResNetV2(18, 10, (3, 64, 64)).get_submodule("stage4_unit2.conv2").weight
    assert isinstance(weight, torch.Tensor)
    assert weight.std().item() == pytest.approx(math.sqrt(2 / (512 * 9)), rel=0.01)


def test_fixed_gamma_counts_but_is_not_trained() -> None:
    network = ResNetV2(20, 10, (3, 28, 28))
    trained = sum(value.numel() for value in network.parameters() if value.requires_grad)
    assert count_parameters(network) - trained == 3


def test_weights_go_from_one_network_to_another() -> None:
    network, other = ResNetV2(20, 10, (1, 8, 8)), ResNetV2(20, 10, (1, 8, 8))
    network(torch.randn(8, 1, 8, 8))
    load_mxnet_arrays(other, mxnet_arrays(network), source="test")
    images = torch.randn(2, 1, 8, 8)
    assert torch.equal(network.eval()(images), other.eval()(images))


def test_foreign_weights_are_refused_with_the_reason() -> None:
    arrays = mxnet_arrays(ResNetV2(20, 10, (1, 8, 8)))
    with pytest.raises(TrainingError, match=r"fc1_bias has the shape \(10,\), this network needs \(4,\)"):
        load_mxnet_arrays(ResNetV2(20, 4, (1, 8, 8)), arrays, source="model")
    with pytest.raises(TrainingError, match="model: stage1_unit4_bn1_beta is missing"):
        load_mxnet_arrays(ResNetV2(32, 10, (1, 8, 8)), arrays, source="model")


def test_unknown_depth_is_refused() -> None:
    with pytest.raises(TrainingError, match="there is no ResNet of 19 layers; choose one of 20, 32"):
        ResNetV2(19, 10, (3, 28, 28))
