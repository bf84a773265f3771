"""Our trainer against what MXNet 1.9.1 computed; tests/mxnet/make_vectors.py wrote the files."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from kfp_image_tuning.model.mxnet_arrays import read_arrays
from kfp_image_tuning.model.mxnet_format import MXNetModel, read_mxnet_model, write_files
from kfp_image_tuning.model.mxnet_symbol import array_shapes
from kfp_image_tuning.model.network import (
    ResNetV2,
    count_parameters,
    load_mxnet_arrays,
    mxnet_arrays,
)
from kfp_image_tuning.search.hyperparameters import Hyperparameters
from kfp_image_tuning.trainer.augmentation import jitter_color, random_crop_and_flip, warp
from kfp_image_tuning.trainer.measures import sum_loss
from kfp_image_tuning.trainer.optimizers import SGD, make_optimizer
from kfp_image_tuning.trainer.schedule import LearningRateSchedule
from tests.mxnet.augmentation_statistics import measure
from tests.mxnet.drawn_arrays import draw, probe

TESTS = Path(__file__).parent.parent
VECTORS = TESTS / "data" / "mxnet"

OPTIMIZERS = json.loads((VECTORS / "optimizers.json").read_text())
SHAPES = json.loads(gzip.decompress((VECTORS / "shapes.json.gz").read_bytes()))


class TinyNetwork(nn.Module):
    """One array of each kind that weight decay treats in its own way, under MXNet's names."""

    def __init__(self) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(3, 4, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.fc1 = nn.Linear(4, 5)

    def weights(self) -> dict[str, torch.Tensor]:
        return {
            "conv0_weight": self.conv0.weight,
            "bn1_gamma": self.bn1.weight,
            "bn1_beta": self.bn1.bias,
            "fc1_weight": self.fc1.weight,
            "fc1_bias": self.fc1.bias,
        }


@pytest.mark.parametrize("number", range(len(OPTIMIZERS["cases"])), ids=lambda number: str(OPTIMIZERS["cases"][number]))
def test_optimizer_follows_mxnets_trajectory_through_drops_of_the_learning_rate(number: int) -> None:
    epoch_updates = 1
    hyperparameters = Hyperparameters(
        num_classes=5,
        num_training_samples=32 * epoch_updates,
        epochs=OPTIMIZERS["updates"],
        lr_scheduler_step=tuple(OPTIMIZERS["drops"]),
        lr_scheduler_factor=OPTIMIZERS["factor"],
        **OPTIMIZERS["cases"][number],
    )
    network = TinyNetwork()
    weights = network.weights()
    for name, weight in weights.items():
        weight.data = torch.from_numpy(draw(name, weight.shape))
    optimizer, schedule = make_optimizer(hyperparameters, network), LearningRateSchedule(hyperparameters)
    with np.load(VECTORS / "optimizers.npz") as expected:
        for update in range(OPTIMIZERS["updates"]):
            for name, weight in weights.items():
                weight.grad = torch.from_numpy(draw(f"gradient {update} of {name}", weight.shape))
            optimizer.learning_rate = schedule.at(update + 1)
            assert optimizer.learning_rate == pytest.approx(expected["rates"][number, update])
            optimizer.step()
            for name, weight in weights.items():
                np.testing.assert_allclose(
                    weight.detach().numpy(), expected[name][number, update], rtol=2e-5, atol=2e-6, err_msg=name
                )


@pytest.mark.parametrize("name", ["bn_data", "bn1"])
def test_batch_normalization_computes_what_mxnet_computes(name: str) -> None:
    with np.load(VECTORS / "batch_norm.npz") as file:
        keys = [key for key in file if key.startswith(f"{name}/")]
        vector = {key.removeprefix(f"{name}/"): torch.from_numpy(file[key]) for key in keys}
    data = vector["before/data"].requires_grad_()
    channels = data.shape[1]
    layer = getattr(ResNetV2(20, 10, (3, 28, 28)), name)
    with torch.no_grad():
        if name != "bn_data":
            layer.weight.copy_(vector[f"before/{name}_gamma"])
        layer.bias.copy_(vector[f"before/{name}_beta"])
        layer.running_mean.copy_(vector[f"before/{name}_moving_mean"])
        layer.running_var.copy_(vector[f"before/{name}_moving_var"])
    output = layer.train()(data)
    output.backward(vector["gradient"])
    torch.testing.assert_close(output, vector["output"], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(data.grad, vector["gradient/data"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(layer.bias.grad, vector[f"gradient/{name}_beta"], rtol=1e-5, atol=1e-5)
    if name != "bn_data":
        torch.testing.assert_close(layer.weight.grad, vector[f"gradient/{name}_gamma"], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(layer.running_mean, vector[f"after/{name}_moving_mean"])
    expected = unbiased(
        vector[f"before/{name}_moving_var"], vector[f"after/{name}_moving_var"], data.numel() // channels, steps=1
    )
    torch.testing.assert_close(layer.running_var, expected)


def unbiased(before: Any, after: Any, count: int, steps: int) -> Any:
    """MXNet's running variance as on a GPU: cuDNN takes the unbiased estimate, MXNet on a CPU the biased one."""
    kept = 0.9**steps * before
    return kept + (after - kept) * count / (count - 1)


@pytest.mark.parametrize("case", SHAPES)
def test_network_has_the_arrays_of_mxnets_symbol(case: str) -> None:
    num_layers, height = map(int, case.split("/"))
    assert array_shapes(num_layers, 10, (3, height, height)) == {
        name: tuple(shape) for name, shape in SHAPES[case].items()
    }


@pytest.mark.parametrize(
    ("num_layers", "parameters"),
    [
        (20, 272544),
        (32, 466976),
        (44, 661408),
        (56, 855840),
        (110, 1730784),
        (18, 11184080),
        (34, 21292240),
        (50, 23520976),
        (101, 42513104),
        (152, 58156752),
        (200, 62637776),
    ],
)
def test_network_counts_the_parameters_of_mxnets(num_layers: int, parameters: int) -> None:
    height = 28 if num_layers in (20, 32, 44, 56, 110) else 224
    with torch.device("meta"):
        assert count_parameters(ResNetV2(num_layers, 10, (3, height, height))) == parameters


def drawn_network(num_layers: int, height: int) -> ResNetV2:
    network = ResNetV2(num_layers, 10, (3, height, height))
    shapes = array_shapes(num_layers, 10, (3, height, height))
    arrays = {name: torch.from_numpy(draw(name, shape)) for name, shape in shapes.items()}
    load_mxnet_arrays(network, arrays, source="drawn")
    return network


@pytest.mark.parametrize("case", ["20/28", "18/64", "50/33", "20/64", "110/28"])
def test_network_gives_mxnets_probabilities(case: str) -> None:
    num_layers, height = map(int, case.split("/"))
    network = drawn_network(num_layers, height).eval()
    with torch.inference_mode():
        found = network(torch.from_numpy(draw("images", (3, 3, height, height)))).softmax(dim=1)
    with np.load(VECTORS / "network.npz") as expected:
        assert expected[case].std() > 0.01, "the probabilities would not show a difference"
        np.testing.assert_allclose(found.numpy(), expected[case], rtol=1e-4, atol=1e-6)


def test_first_training_steps_change_every_array_as_in_mxnet() -> None:
    expected = json.loads((VECTORS / "training_steps.json").read_text())
    network = drawn_network(expected["num_layers"], expected["height"]).train()
    before = mxnet_arrays(network)
    counts = count_pixels(network)
    optimizer = SGD(network, 0.05, 1e-4, momentum=0.9)
    shape = (expected["batch"], 3, expected["height"], expected["height"])
    losses = []
    for number in range(expected["steps"]):
        images = torch.from_numpy(draw(f"{number} images", shape))
        labels = torch.from_numpy(draw(f"{number} labels", shape[:1])).long()
        loss = sum_loss(network(images), labels) / len(labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses == pytest.approx(expected["losses"], rel=1e-4)
    after = mxnet_arrays(network)
    assert after.keys() == expected["probes"].keys()
    # MXNet lets the fixed gamma of the input decay and then counts it as 1 all the same.
    for name in after.keys() - {"bn_data_gamma"}:
        array = after[name]
        found, start = probe(name, array.numpy()), probe(name, before[name].numpy())
        wanted = expected["probes"][name]
        if name.endswith("_moving_var"):
            wanted = unbiased(start, wanted, counts[name], expected["steps"])
        # In the unit of the change that training made.
        scale = (array - before[name]).square().mean().sqrt().item()
        assert abs(found - wanted) <= 0.1 * scale + 1e-6, f"{name}: {found} instead of {wanted}"


def count_pixels(network: nn.Module) -> dict[str, int]:
    """Fills itself while the network runs: how many numbers each batch normalization averages."""
    counts: dict[str, int] = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            key = name.replace(".", "_") + "_moving_var"
            module.register_forward_hook(
                lambda module, given, output, key=key: counts.__setitem__(key, output.numel() // output.shape[1])
            )
    return counts


def test_arrays_of_every_floating_point_type_are_read() -> None:
    arrays = read_arrays(VECTORS / "arrays.params")
    assert list(arrays) == ["arg:fc1_weight", "arg:fc1_bias", "aux:bn1_moving_mean", "aux:bn1_moving_var"]
    np.testing.assert_array_equal(arrays["arg:fc1_weight"], draw("fc1_weight", (3, 4)))
    np.testing.assert_array_equal(arrays["arg:fc1_bias"], draw("fc1_bias", (3,)).astype(np.float16).astype(np.float32))
    np.testing.assert_array_equal(arrays["aux:bn1_moving_mean"], draw("bn1_moving_mean", (2,)))
    np.testing.assert_array_equal(arrays["aux:bn1_moving_var"], draw("bn1_moving_var", (1, 2, 1)))


def test_symbol_that_mxnet_saved_is_read(tmp_path: Path) -> None:
    shapes = array_shapes(20, 10, (3, 28, 28))
    model = MXNetModel(20, 10, (3, 28, 28), False, 4, {name: draw(name, shape) for name, shape in shapes.items()})
    _, symbol, _ = write_files(model, tmp_path)
    symbol.write_bytes((VECTORS / "resnet-20-symbol.json").read_bytes())
    assert not read_mxnet_model(tmp_path).multi_label


def test_symbol_of_ours_is_the_graph_that_mxnet_saved(tmp_path: Path) -> None:
    shapes = array_shapes(20, 10, (3, 28, 28))
    model = MXNetModel(20, 10, (3, 28, 28), False, 4, {name: draw(name, shape) for name, shape in shapes.items()})
    _, symbol, _ = write_files(model, tmp_path)
    assert graph(symbol) == graph(VECTORS / "resnet-20-symbol.json")


def graph(path: Path) -> set[int]:
    """Every operator with its settings and how it is joined to the others; names of no meaning are left out."""
    nodes = json.loads(path.read_text())["nodes"]
    described: list[int] = []
    for node in nodes:
        inputs = tuple(described[number] for number, _, _ in node["inputs"])
        name = node["name"] if node["op"] == "null" else ""
        settings = tuple(sorted(node.get("attrs", {}).items())) if node["op"] != "null" else ()
        described.append(hash((node["op"], name, settings, inputs)))
    return set(described)


@pytest.fixture(scope="module")
def augmentation() -> dict[str, Any]:
    steps: dict[str, Callable[[torch.Tensor, int, int, torch.Generator], torch.Tensor]] = {
        "crop": random_crop_and_flip,
        "color": lambda images, height, width, generator: jitter_color(images, generator),
        "warp": lambda images, height, width, generator: warp(images, generator),
    }

    def augment(image: NDArray[np.uint8], count: int, kind: str, size: int) -> NDArray[Any]:
        images = torch.from_numpy(image).expand(count, *image.shape)
        return steps[kind](images, size, size, torch.Generator().manual_seed(1)).numpy()

    return measure(augment, cv2)


MXNET_AUGMENTATION = json.loads((VECTORS / "augmentation.json").read_text())


@pytest.mark.parametrize(
    ("step", "quantity"),
    [
        (step, quantity)
        for step, quantities in MXNET_AUGMENTATION.items()
        for quantity, value in quantities.items()
        if isinstance(value, dict)
    ],
)
def test_augmentation_draws_from_mxnets_distribution(augmentation: dict[str, Any], step: str, quantity: str) -> None:
    found, expected = augmentation[step][quantity], MXNET_AUGMENTATION[step][quantity]
    low, high = expected["quantiles"][0], expected["quantiles"][-1]
    scale = max(high - low, 0.2)
    assert found["mean"] == pytest.approx(expected["mean"], abs=0.05 * scale)
    assert found["deviation"] == pytest.approx(expected["deviation"], abs=0.02 * scale)
    assert found["quantiles"] == pytest.approx(expected["quantiles"], abs=0.07 * scale)


def test_crops_and_flips_are_as_frequent_as_mxnets(augmentation: dict[str, Any]) -> None:
    found, expected = augmentation["crop"], MXNET_AUGMENTATION["crop"]
    assert found["mirrored"] == pytest.approx(expected["mirrored"], abs=0.04)
    assert found["left"] == pytest.approx(expected["left"], abs=0.03)
    assert found["top"] == pytest.approx(expected["top"], abs=0.03)


def test_warps_turn_by_whole_degrees_about_mxnets_centre_and_fill_with_white(augmentation: dict[str, Any]) -> None:
    assert augmentation["warp"]["filling"] == MXNET_AUGMENTATION["warp"]["filling"] == 255
    for warp_measured in (augmentation["warp"], MXNET_AUGMENTATION["warp"]):
        assert warp_measured["distance from whole degrees"] < 0.05
        assert warp_measured["distance of the fixed point"] < 0.02
