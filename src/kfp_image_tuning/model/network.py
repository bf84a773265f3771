"""The built-in algorithm's network: ResNet v2 (pre-activation) with MXNet's structure, names and parameter counts.

He et al., "Identity Mappings in Deep Residual Networks" (2016), in the form of MXNet's image-classification example,
which the algorithm's model files follow: batch normalization of the input (``bn_data``, its gamma fixed at 1),
convolutions without bias, batch normalization with eps 2e-5 and momentum 0.9, Xavier initialization (Gaussian, fan-
in, magnitude 2).

Running variances take the unbiased estimate, as cuDNN's do: the algorithm trains on GPUs only. (MXNet on a CPU takes
the biased one, smaller by one part in the number of pixels of a batch.)
"""

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kfp_image_tuning.core.errors import TrainingError
from kfp_image_tuning.search.hyperparameter_table import LARGE_IMAGE_LAYERS, SMALL_IMAGE_LAYERS

UNITS_PER_STAGE: Mapping[int, tuple[int, ...]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
} | {layers: ((layers - 2) // 6,) * 3 for layers in SMALL_IMAGE_LAYERS}

SMALL_STEM_HEIGHT = 32
"""Up to this height the first convolution is 3x3 with stride 1; above it, 7x7 with stride 2 and a max pooling."""

LAST_LAYER = ("fc1.weight", "fc1.bias")
"""What transfer learning starts from scratch; all else is reused."""


class ResNetV2(nn.Module):
    """A residual network for images of one shape.

    Takes normalized images ``[N, C, H, W]`` and gives one logit for each class.

    Args:
        num_layers: One of the eleven depths that the algorithm knows.
        num_classes: Number of logits.
        image_shape: Channels, height, width.
        generator: Source of the initial weights; PyTorch's global one if not given.
    """

    def __init__(
        self,
        num_layers: int,
        num_classes: int,
        image_shape: Sequence[int],
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if num_layers not in UNITS_PER_STAGE:
            known = ", ".join(map(str, (*SMALL_IMAGE_LAYERS, *LARGE_IMAGE_LAYERS)))
            raise TrainingError(f"num_layers: there is no ResNet of {num_layers} layers; choose one of {known}")
        channels, height, _ = image_shape
        filters = _filters(num_layers)
        self.bn_data = InputNorm(channels)
        self.large_stem = height > SMALL_STEM_HEIGHT
        if self.large_stem:
            self.conv0 = _convolution(channels, filters[0], kernel=7, stride=2)
            self.bn0 = _batch_norm(filters[0])
        else:
            self.conv0 = _convolution(channels, filters[0], kernel=3)
        unit = BottleneckUnit if num_layers in LARGE_IMAGE_LAYERS and num_layers >= 50 else BasicUnit
        units: list[nn.Module] = []
        for stage, count in enumerate(UNITS_PER_STAGE[num_layers], start=1):
            for position in range(1, count + 1):
                first = position == 1
                module = unit(
                    filters[stage - 1 if first else stage], filters[stage], 2 if first and stage > 1 else 1, first
                )
                self.add_module(f"stage{stage}_unit{position}", module)
                units.append(module)
        # Registered above under their own names, as in MXNet; a second registration would double the state.
        self._units = tuple(units)
        self.bn1 = _batch_norm(filters[-1])
        self.fc1 = Linear(filters[-1], num_classes)
        initialize(self, generator)

    def forward(self, images: Tensor) -> Tensor:
        """Give the logits of normalized images."""
        body = self.conv0(self.bn_data(images))
        if self.large_stem:
            body = F.max_pool2d(_activate(self.bn0(body)), kernel_size=3, stride=2, padding=1)
        for unit in self._units:
            body = unit(body)
        features = _activate(self.bn1(body)).mean(dim=(2, 3))
        logits: Tensor = self.fc1(features)
        return logits


class BasicUnit(nn.Module):
    """Two 3x3 convolutions, each after batch normalization and ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int, projects: bool) -> None:
        super().__init__()
        self.bn1 = _batch_norm(inputs)
        self.conv1 = _convolution(inputs, outputs, kernel=3, stride=stride)
        self.bn2 = _batch_norm(outputs)
        self.conv2 = _convolution(outputs, outputs, kernel=3)
        self.sc = _convolution(inputs, outputs, kernel=1, stride=stride) if projects else None

    def forward(self, images: Tensor) -> Tensor:
        """Add what the unit learned to its input (projected where the shape changes)."""
        activated = _activate(self.bn1(images))
        body = self.conv1(activated)
        body = self.conv2(_activate(self.bn2(body)))
        shortcut = images if self.sc is None else self.sc(activated)
        # In place: neither a convolution nor an addition needs its result for its gradient.
        return body.add_(shortcut)  # type: ignore[no-any-return]


class BottleneckUnit(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, the middle one with a quarter of the channels."""

    def __init__(self, inputs: int, outputs: int, stride: int, projects: bool) -> None:
        super().__init__()
        inner = outputs // 4
        self.bn1 = _batch_norm(inputs)
        self.conv1 = _convolution(inputs, inner, kernel=1)
        self.bn2 = _batch_norm(inner)
        self.conv2 = _convolution(inner, inner, kernel=3, stride=stride)
        self.bn3 = _batch_norm(inner)
        self.conv3 = _convolution(inner, outputs, kernel=1)
        self.sc = _convolution(inputs, outputs, kernel=1, stride=stride) if projects else None

    def forward(self, images: Tensor) -> Tensor:
        """Add what the unit learned to its input (projected where the shape changes)."""
        activated = _activate(self.bn1(images))
        body = self.conv1(activated)
        body = self.conv2(_activate(self.bn2(body)))
        body = self.conv3(_activate(self.bn3(body)))
        shortcut = images if self.sc is None else self.sc(activated)
        return body.add_(shortcut)  # type: ignore[no-any-return]


class InputNorm(nn.BatchNorm2d):
    """Batch normalization whose gamma stays 1 (MXNet's ``fix_gamma``): part of the model, never trained."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=2e-5, momentum=0.1)
        self.weight.requires_grad_(False)


class Convolution(nn.Conv2d):
    """A convolution that leaves its first weights to `initialize`, and with them the process's random numbers alone."""

    def reset_parameters(self) -> None:
        """Draw nothing."""


class Linear(nn.Linear):
    """The same for a linear layer."""

    def reset_parameters(self) -> None:
        """Draw nothing."""


def initialize(network: nn.Module, generator: torch.Generator | None = None) -> None:
    """Set convolution and linear weights to Gaussian noise of variance 2 / fan-in, biases to 0."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                fan_in = module.weight[0].numel()
                # Drawn in the contiguous order, so that the memory format does not change the weights.
                noise = torch.randn(module.weight.shape, generator=generator)
                module.weight.copy_(noise * math.sqrt(2.0 / fan_in))
                if module.bias is not None:
                    module.bias.zero_()


def mxnet_arrays(network: nn.Module) -> dict[str, Tensor]:
    """The network's state under MXNet's names (``stage1_unit1_bn1_gamma``), float32, contiguous, on the CPU."""
    arrays = {}
    for name, value in network.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            arrays[mxnet_name(name)] = value.detach().to("cpu", torch.float32, copy=True).contiguous()
    return arrays


def load_mxnet_arrays(network: nn.Module, arrays: Mapping[str, Tensor], *, source: object) -> None:
    """Set the network's whole state from arrays under MXNet's names.

    Args:
        network: A network of the same depth, classes and image shape.
        arrays: Every array of `mxnet_arrays`.
        source: Where the arrays come from, for the message.

    Raises:
        TrainingError: With every array that is missing, unknown or of another shape.
    """
    own = {mxnet_name(name): value for name, value in network.state_dict().items() if "num_batches" not in name}
    problems = [f"{source}: {name} is missing" for name in own if name not in arrays]
    problems += [f"{source}: {name} is unknown to this network" for name in arrays if name not in own]
    for name in own.keys() & arrays.keys():
        if own[name].shape != arrays[name].shape:
            problems.append(
                f"{source}: {name} has the shape {tuple(arrays[name].shape)}, "
                f"this network needs {tuple(own[name].shape)}"
            )
    if problems:
        hint = "num_layers, num_classes and image_shape must be those that the weights were trained with"
        raise TrainingError(*sorted(problems)[:5], hint)
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(arrays[name])


def mxnet_name(name: str) -> str:
    """MXNet's name for a name of the network's state: ``bn1.weight`` is ``bn1_gamma``."""
    owner, _, kind = name.rpartition(".")
    layer = owner.replace(".", "_")
    if layer.rpartition("_")[2].startswith("bn") or layer == "bn_data":
        kind = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_var"}[kind]
    return f"{layer}_{kind}"


def count_parameters(network: nn.Module) -> int:
    """Number of weights as MXNet counts them: with the fixed gamma, without running statistics."""
    return sum(parameter.numel() for parameter in network.parameters())


def _filters(num_layers: int) -> tuple[int, ...]:
    if num_layers in SMALL_IMAGE_LAYERS:
        return (16, 16, 32, 64)
    return (64, 256, 512, 1024, 2048) if num_layers >= 50 else (64, 64, 128, 256, 512)


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return Convolution(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    # MXNet's momentum is the share of the old value, PyTorch's that of the new one.
    return nn.BatchNorm2d(channels, eps=2e-5, momentum=0.1)


def _activate(images: Tensor) -> Tensor:
    # In place: batch normalization computes its gradient from its input.
    return F.relu(images, inplace=True)
