"""The four update rules against their formulas in NumPy, as MXNet documents them."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from kfp_image_tuning.model.network import ResNetV2
from kfp_image_tuning.trainer.optimizers import make_optimizer
from tests.trainer.digits import make_hyperparameters

Array = NDArray[np.float64]
RATES = (0.1, 0.1, 0.01, 0.01, 0.01)
"""The learning rate drops on the way: there the rules differ from PyTorch's most."""
DECAY, MOMENTUM, BETA_1, BETA_2, EPS, GAMMA = 0.1, 0.9, 0.8, 0.95, 0.05, 0.7


def sgd(weight: Array, gradient: Array, state: dict[str, Array], rate: float, decay: float) -> Array:
    state["m"] = MOMENTUM * state.get("m", np.zeros_like(weight)) - rate * (gradient + decay * weight)
    return weight + state["m"]


def nag(weight: Array, gradient: Array, state: dict[str, Array], rate: float, decay: float) -> Array:
    before = state.get("m", np.zeros_like(weight))
    ahead = MOMENTUM * before - rate * (gradient + decay * weight)
    updated = weight + (1 + MOMENTUM) * ahead - MOMENTUM * before
    state["m"] = MOMENTUM * before - rate * (gradient + decay * updated)
    return updated


def adam(weight: Array, gradient: Array, state: dict[str, Array], rate: float, decay: float) -> Array:
    state["t"] = state.get("t", np.zeros(1)) + 1
    step = int(state["t"][0])
    state["m"] = BETA_1 * state.get("m", np.zeros_like(weight)) + (1 - BETA_1) * gradient
    state["v"] = BETA_2 * state.get("v", np.zeros_like(weight)) + (1 - BETA_2) * gradient**2
    corrected = rate * math.sqrt(1 - BETA_2**step) / (1 - BETA_1**step)
    return weight - corrected * state["m"] / (np.sqrt(state["v"]) + EPS)


def rmsprop(weight: Array, gradient: Array, state: dict[str, Array], rate: float, decay: float) -> Array:
    state["n"] = GAMMA * state.get("n", np.zeros_like(weight)) + (1 - GAMMA) * gradient**2
    return weight - rate * gradient / np.sqrt(state["n"] + EPS)


RULES: dict[str, Callable[..., Array]] = {"sgd": sgd, "nag": nag, "adam": adam, "rmsprop": rmsprop}


@pytest.mark.parametrize("name", RULES)
def test_weights_follow_the_formula(name: str) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    constants = {"momentum": MOMENTUM, "weight_decay": DECAY, "beta_1": BETA_1, "beta_2": BETA_2}
    hyperparameters = make_hyperparameters(optimizer=name, eps=EPS, gamma=GAMMA, learning_rate=RATES[0], **constants)
    optimizer = make_optimizer(hyperparameters, network)
    expected = {key: value.detach().numpy().astype(np.float64) for key, value in network.named_parameters()}
    states: dict[str, dict[str, Any]] = {key: {} for key in expected}
    noise = np.random.default_rng(1)
    for rate in RATES:
        optimizer.learning_rate = rate
        for key, value in network.named_parameters():
            gradient = noise.normal(size=value.shape)
            value.grad = torch.from_numpy(gradient.astype(np.float32))
            # Biases and betas are never decayed, weights and gammas are.
            decay = 0.0 if key.endswith("bias") else DECAY
            expected[key] = RULES[name](expected[key], gradient, states[key], rate, decay)
        optimizer.step()
    for key, value in network.named_parameters():
        np.testing.assert_allclose(value.detach().numpy(), expected[key], rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", RULES)
def test_an_optimizer_goes_on_from_its_arrays(name: str) -> None:
    hyperparameters = make_hyperparameters(optimizer=name)

    def make() -> tuple[nn.Module, Any]:
        torch.manual_seed(0)
        network = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network, make_optimizer(hyperparameters, network)

    def step(network: nn.Module, optimizer: Any, number: int) -> None:
        torch.manual_seed(number)
        for value in network.parameters():
            value.grad = torch.randn_like(value)
        optimizer.step()

    network, optimizer = make()
    other, resumed = make()
    for number in range(3):
        step(network, optimizer, number)
    other.load_state_dict(network.state_dict())
    resumed.load_arrays(optimizer.arrays(), optimizer.updates)
    step(network, optimizer, 3)
    step(other, resumed, 3)
    assert resumed.updates == 4
    for value, again in zip(network.parameters(), other.parameters(), strict=True):
        assert torch.equal(value, again)


def test_the_fixed_gamma_of_the_input_stays_one() -> None:
    network = ResNetV2(20, 10, (1, 8, 8))
    optimizer = make_optimizer(make_hyperparameters(weight_decay=0.5), network)
    network(torch.randn(4, 1, 8, 8)).sum().backward()
    optimizer.step()
    assert network.bn_data.weight.tolist() == [1.0]
    assert network.bn_data.bias.abs().sum() > 0
    assert network.bn1.weight.mean() < 1.0, "other gammas are decayed"


def test_a_beta_of_one_ends_in_nan_and_not_in_an_exception() -> None:
    network = nn.Linear(2, 2)
    optimizer = make_optimizer(make_hyperparameters(optimizer="adam", beta_1=1.0), network)
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    assert network.weight.isnan().all()
