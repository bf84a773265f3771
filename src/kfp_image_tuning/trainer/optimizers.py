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
All tensors are updated by one call of `torch._foreach_*` per operation. The classes do not derive from
`torch.optim.Optimizer`, whose first use imports PyTorch's compiler: a second that each new process would wait.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kfp_image_tuning.search.hyperparameters import Hyperparameters

Tensors = list[Tensor]


@dataclass
class WeightGroup:
    """Weights that are updated in one go.

    Attributes:
        names: Of the weights, in the network.
        weights: The same, themselves.
        decay: L2 coefficient.
        averages: The running averages that the rule keeps: for each kind, one for each weight.
    """

    names: list[str]
    weights: Tensors
    decay: float
    averages: tuple[Tensors, ...]


class MXNetOptimizer(ABC):
    """What the four rules share.

    Args:
        network: Whose trainable weights are updated.
        learning_rate: The first update's.
        weight_decay: L2 coefficient for weights and gammas.

    Attributes:
        learning_rate: The next update's; a schedule sets it.
        updates: Made so far.
        param_groups: The weights in the form in which `torch.amp.GradScaler` looks for them.
    """

    average_names: tuple[str, ...]
    """The running averages that a rule keeps for each weight."""

    def __init__(self, network: nn.Module, learning_rate: float, weight_decay: float = 0.0) -> None:
        self.learning_rate = learning_rate
        self.updates = 0
        trained = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
        decays = {name: 0.0 if name.endswith("bias") else weight_decay for name in trained}
        self._groups = [
            self._make_group({name: weight for name, weight in trained.items() if decays[name] == decay}, decay)
            for decay in sorted(set(decays.values()))
        ]
        self.param_groups: list[dict[str, Tensors]] = [{"params": group.weights} for group in self._groups]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for group in self._groups:
            for weight in group.weights:
                weight.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Update every weight by its gradient."""
        self.updates += 1
        for group in self._groups:
            self._update(group, [_gradient(weight) for weight in group.weights])

    def arrays(self) -> dict[str, Tensor]:
        """The running averages by weight and kind: what a checkpoint holds besides the weights and `updates`."""
        return {name: average.contiguous() for name, average in self._named_averages().items()}

    def load_arrays(self, arrays: Mapping[str, Tensor], updates: int) -> None:
        """Continue where another optimizer of the same rule and network was."""
        self.updates = updates
        for name, average in self._named_averages().items():
            average.copy_(arrays[name])

    @abstractmethod
    def _update(self, group: WeightGroup, gradients: Tensors) -> None:
        """Apply the rule to all weights of a group."""

    def _make_group(self, weights: Mapping[str, Tensor], decay: float) -> WeightGroup:
        averages = tuple([torch.zeros_like(weight) for weight in weights.values()] for _ in self.average_names)
        return WeightGroup(list(weights), list(weights.values()), decay, averages)

    def _named_averages(self) -> dict[str, Tensor]:
        return {
            f"{name}.{kind}": average
            for group in self._groups
            for kind, averages in zip(self.average_names, group.averages, strict=True)
            for name, average in zip(group.names, averages, strict=True)
        }


class SGD(MXNetOptimizer):
    """Stochastic gradient descent with momentum."""

    average_names = ("momentum",)

    def __init__(self, network: nn.Module, learning_rate: float, weight_decay: float, momentum: float) -> None:
        super().__init__(network, learning_rate, weight_decay)
        self._momentum = momentum

    def _update(self, group: WeightGroup, gradients: Tensors) -> None:
        (momentum,) = group.averages
        torch._foreach_mul_(momentum, self._momentum)
        torch._foreach_add_(momentum, gradients, alpha=-self.learning_rate)
        if group.decay:
            torch._foreach_add_(momentum, group.weights, alpha=-self.learning_rate * group.decay)
        torch._foreach_add_(group.weights, momentum)


class NAG(SGD):
    """Nesterov's accelerated gradient, with the decay of MXNet's kernel: the kept momentum sees the updated weight."""

    def _update(self, group: WeightGroup, gradients: Tensors) -> None:
        (momentum,) = group.averages
        weights, decay = group.weights, -self.learning_rate * group.decay
        torch._foreach_mul_(momentum, self._momentum)
        before = torch._foreach_add(weights, momentum, alpha=-1)
        torch._foreach_add_(momentum, gradients, alpha=-self.learning_rate)
        ahead = torch._foreach_add(momentum, weights, alpha=decay) if decay else momentum
        torch._foreach_copy_(weights, torch._foreach_add(before, ahead, alpha=1 + self._momentum))
        if decay:
            torch._foreach_add_(momentum, weights, alpha=decay)


class Adam(MXNetOptimizer):
    """Adam (Kingma & Ba, 2015) in its second form: eps is added to the uncorrected root."""

    average_names = ("mean", "variance")

    def __init__(self, network: nn.Module, learning_rate: float, beta_1: float, beta_2: float, eps: float) -> None:
        super().__init__(network, learning_rate)
        self._beta_1, self._beta_2, self._eps = beta_1, beta_2, eps

    def _update(self, group: WeightGroup, gradients: Tensors) -> None:
        mean, variance = group.averages
        torch._foreach_lerp_(mean, gradients, 1 - self._beta_1)
        torch._foreach_mul_(variance, self._beta_2)
        torch._foreach_addcmul_(variance, gradients, gradients, 1 - self._beta_2)
        denominator = torch._foreach_sqrt(variance)
        torch._foreach_add_(denominator, self._eps)
        # A beta_1 of exactly 1 leaves no mean to correct: the update becomes NaN, which training reports as divergence.
        correction = (1 - self._beta_1**self.updates) or math.nan
        rate = self.learning_rate * math.sqrt(1 - self._beta_2**self.updates) / correction
        torch._foreach_addcdiv_(group.weights, mean, denominator, -rate)


class RMSProp(MXNetOptimizer):
    """RMSProp (Tieleman & Hinton, 2012), with eps inside the root."""

    average_names = ("square",)

    def __init__(self, network: nn.Module, learning_rate: float, gamma: float, eps: float) -> None:
        super().__init__(network, learning_rate)
        self._gamma, self._eps = gamma, eps

    def _update(self, group: WeightGroup, gradients: Tensors) -> None:
        (square,) = group.averages
        torch._foreach_mul_(square, self._gamma)
        torch._foreach_addcmul_(square, gradients, gradients, 1 - self._gamma)
        denominator = torch._foreach_add(square, self._eps)
        torch._foreach_sqrt_(denominator)
        torch._foreach_addcdiv_(group.weights, gradients, denominator, -self.learning_rate)


def make_optimizer(hyperparameters: Hyperparameters, network: nn.Module) -> MXNetOptimizer:
    """Build the optimizer that the hyperparameters name, with the constants that it uses."""
    rate, decay = hyperparameters.learning_rate, hyperparameters.weight_decay
    match hyperparameters.optimizer:
        case "sgd":
            return SGD(network, rate, decay, hyperparameters.momentum)
        case "nag":
            return NAG(network, rate, decay, hyperparameters.momentum)
        case "adam":
            return Adam(network, rate, hyperparameters.beta_1, hyperparameters.beta_2, hyperparameters.eps)
        case "rmsprop":
            return RMSProp(network, rate, hyperparameters.gamma, hyperparameters.eps)


def _gradient(weight: Tensor) -> Tensor:
    if weight.grad is None:
        raise ValueError("step: a weight has no gradient; call backward() first")
    return weight.grad
