"""SGD, NAG, Adam and RMSProp by MXNet's update rules, which the built-in algorithm follows.

They differ from `torch.optim`'s, so that the best learning rate and eps of one are not those of the other (``g``
gradient, ``w`` weight, ``d`` weight decay, ``t`` number of the update):

========= ================================================================== =========================================
sgd       ``m = momentum*m - lr*(g + d*w)``; ``w += m``                      torch applies lr outside the momentum
nag       ``w += (1+momentum)*m' - momentum*m`` with sgd's ``m'``; kept is   torch decays by the weight before the
          ``m' = momentum*m - lr*(g + d*w)`` of the updated ``w``            update
adam      ``w -= lr*sqrt(1-beta_2^t)/(1-beta_1^t) * m/(sqrt(v) + eps)``      torch adds eps after correcting ``v``
rmsprop   ``w -= lr*g/sqrt(n + eps)``                                        torch adds eps outside the root
========= ================================================================== =========================================

Weight decay applies to weights and gammas; biases and betas are never decayed, and adam and rmsprop decay nothing.
All tensors are updated by one call of `torch._foreach_*` per operation.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from kfp_image_tuning.tuning.hyperparameters import Hyperparameters

Tensors = list[Tensor]


class MXNetOptimizer(torch.optim.Optimizer, ABC):
    """What the four rules share: decayed and undecayed weights, and a learning rate that a schedule sets.

    Args:
        network: Whose trainable weights are updated.
        learning_rate: The first update's.
        weight_decay: L2 coefficient for weights and gammas.
        constants: The rule's own hyperparameters.
    """

    state_names: tuple[str, ...] = ()
    """The running averages that a rule keeps for each weight."""

    def __init__(self, network: nn.Module, learning_rate: float, weight_decay: float = 0.0, **constants: float) -> None:
        trained = [(name, value) for name, value in network.named_parameters() if value.requires_grad]
        decayed = [value for name, value in trained if not name.endswith("bias")]
        undecayed = [value for name, value in trained if name.endswith("bias")]
        groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": undecayed, "weight_decay": 0.0}]
        super().__init__(groups, {"lr": learning_rate, "updates": 0, **constants})
        self._trained = trained

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next update."""
        return float(self.param_groups[0]["lr"])

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        for group in self.param_groups:
            group["lr"] = value

    @property
    def updates(self) -> int:
        """Updates made so far."""
        return int(self.param_groups[0]["updates"])

    def arrays(self) -> dict[str, Tensor]:
        """The running averages, by weight and average: what a checkpoint holds besides the weights and `updates`."""
        return {
            f"{name}.{average}": value.contiguous()
            for name, weight in self._trained
            for average, value in self.state[weight].items()
        }

    def load_arrays(self, arrays: Mapping[str, Tensor], updates: int) -> None:
        """Continue where another optimizer of the same rule and network was."""
        for group in self.param_groups:
            group["updates"] = updates
        for name, weight in self._trained:
            for average in self.state_names if updates else ():
                self.state[weight][average] = torch.zeros_like(weight).copy_(arrays[f"{name}.{average}"])

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]  # noqa: ARG002
        """Update every weight that has a gradient."""
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if weights:
                group["updates"] += 1
                self._update(group, weights, [weight.grad for weight in weights], *self._averages(weights))

    def _averages(self, weights: Tensors) -> Iterable[Tensors]:
        for weight in weights:
            state = self.state[weight]
            if not state:
                state.update({name: torch.zeros_like(weight) for name in self.state_names})
        return [[self.state[weight][name] for weight in weights] for name in self.state_names]

    @abstractmethod
    def _update(self, group: dict[str, Any], weights: Tensors, gradients: Tensors, *averages: Tensors) -> None:
        """Apply the rule to all weights of a group."""


class SGD(MXNetOptimizer):
    """Stochastic gradient descent with momentum."""

    state_names = ("momentum",)

    def _update(self, group: dict[str, Any], weights: Tensors, gradients: Tensors, *averages: Tensors) -> None:
        (momentum,) = averages
        rate = group["lr"]
        torch._foreach_mul_(momentum, group["momentum"])
        torch._foreach_add_(momentum, gradients, alpha=-rate)
        if group["weight_decay"]:
            torch._foreach_add_(momentum, weights, alpha=-rate * group["weight_decay"])
        torch._foreach_add_(weights, momentum)


class NAG(MXNetOptimizer):
    """Nesterov's accelerated gradient, with the decay of MXNet's kernel: the kept momentum sees the updated weight."""

    state_names = ("momentum",)

    def _update(self, group: dict[str, Any], weights: Tensors, gradients: Tensors, *averages: Tensors) -> None:
        (momentum,) = averages
        rate, factor, decay = group["lr"], group["momentum"], group["weight_decay"]
        torch._foreach_mul_(momentum, factor)
        before = torch._foreach_add(weights, momentum, alpha=-1)
        torch._foreach_add_(momentum, gradients, alpha=-rate)
        ahead = torch._foreach_add(momentum, weights, alpha=-rate * decay) if decay else momentum
        torch._foreach_copy_(weights, torch._foreach_add(before, ahead, alpha=1 + factor))
        if decay:
            torch._foreach_add_(momentum, weights, alpha=-rate * decay)


class Adam(MXNetOptimizer):
    """Adam (Kingma & Ba, 2015) in its second form: eps is added to the uncorrected root."""

    state_names = ("mean", "variance")

    def _update(self, group: dict[str, Any], weights: Tensors, gradients: Tensors, *averages: Tensors) -> None:
        mean, variance = averages
        beta_1, beta_2, updates = group["beta_1"], group["beta_2"], group["updates"]
        torch._foreach_lerp_(mean, gradients, 1 - beta_1)
        torch._foreach_mul_(variance, beta_2)
        torch._foreach_addcmul_(variance, gradients, gradients, 1 - beta_2)
        denominator = torch._foreach_sqrt(variance)
        torch._foreach_add_(denominator, group["eps"])
        # A beta_1 of exactly 1 leaves no mean to correct: the update becomes NaN, which training reports as divergence.
        correction = (1 - beta_1**updates) or math.nan
        rate = group["lr"] * math.sqrt(1 - beta_2**updates) / correction
        torch._foreach_addcdiv_(weights, mean, denominator, -rate)


class RMSProp(MXNetOptimizer):
    """RMSProp (Tieleman & Hinton, 2012), with eps inside the root."""

    state_names = ("square",)

    def _update(self, group: dict[str, Any], weights: Tensors, gradients: Tensors, *averages: Tensors) -> None:
        (square,) = averages
        torch._foreach_mul_(square, group["gamma"])
        torch._foreach_addcmul_(square, gradients, gradients, 1 - group["gamma"])
        denominator = torch._foreach_add(square, group["eps"])
        torch._foreach_sqrt_(denominator)
        torch._foreach_addcdiv_(weights, gradients, denominator, -group["lr"])


def make_optimizer(hyperparameters: Hyperparameters, network: nn.Module) -> MXNetOptimizer:
    """Build the optimizer that the hyperparameters name, with the constants that it uses."""
    rate = hyperparameters.learning_rate
    match hyperparameters.optimizer:
        case "sgd":
            return SGD(network, rate, hyperparameters.weight_decay, momentum=hyperparameters.momentum)
        case "nag":
            return NAG(network, rate, hyperparameters.weight_decay, momentum=hyperparameters.momentum)
        case "adam":
            betas = {"beta_1": hyperparameters.beta_1, "beta_2": hyperparameters.beta_2}
            return Adam(network, rate, eps=hyperparameters.eps, **betas)
        case "rmsprop":
            return RMSProp(network, rate, gamma=hyperparameters.gamma, eps=hyperparameters.eps)
