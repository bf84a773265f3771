"""The hyperparameter contract of Amazon SageMaker's built-in Image Classification (MXNet) algorithm.

`Hyperparameters` holds one trial's full configuration: every row of AWS's table
(`kfp_image_tuning.search.hyperparameter_table`) is one field with the table's default. A value of this class is valid
by construction: whatever the algorithm would refuse is refused here, all of it at once, also what does not go together.

The service passes every hyperparameter as a string; `Hyperparameters.from_strings` and `Hyperparameters.to_strings`
speak that form.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from kfp_image_tuning.core.errors import HyperparameterError
from kfp_image_tuning.search.hyperparameter_table import (
    LARGE_IMAGE_LAYERS,
    RULES,
    SMALL_IMAGE_LAYERS,
    Optimizer,
    format_value,
    is_active,
    parse_strings,
)


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """One trial's configuration, valid by construction.

    Attributes:
        num_classes: Number of classes. Required.
        num_training_samples: Number of training images. Required: `lr_scheduler_step` is counted in epochs of it.
        augmentation_type: None (central crop), ``crop`` (random crop and horizontal flip), ``crop_color`` (also hue
            ±36, saturation ±50, lightness ±50) or ``crop_color_transform`` (also rotation to 10°, shear to 0.1, aspect
            to 0.25).
        beta_1: Decay of the first moment; adam only.
        beta_2: Decay of the second moment; adam only.
        checkpoint_frequency: Save a checkpoint every so many epochs; None keeps the best epoch's alone.
        early_stopping: Stop when validation accuracy no longer improves.
        early_stopping_min_epochs: Epochs before which early stopping does not act.
        early_stopping_patience: Epochs without improvement that are waited for.
        early_stopping_tolerance: Relative improvement below which an epoch counts as none.
        epochs: Passes over the training images.
        eps: Added to the denominator; adam and rmsprop only.
        gamma: Decay of the squared gradient's average; rmsprop only.
        image_shape: Channels, height, width of the network's input, in pixels.
        kv_store: Weight synchronization between machines in distributed training; without effect on one machine.
        learning_rate: Initial learning rate.
        lr_scheduler_factor: What the learning rate is multiplied with at each step.
        lr_scheduler_step: Epochs after which the learning rate is multiplied.
        mini_batch_size: Images per step and machine.
        momentum: sgd and nag only.
        multi_label: Whether an image may have several labels.
        num_layers: Depth of the ResNet: 20 to 110 for small images, 18 to 200 for large ones.
        optimizer: sgd, adam, rmsprop or nag.
        precision_dtype: float32, or float16 for mixed precision.
        resize: Shortest side, in pixels, to which images are resized before cropping. Required for image files.
        top_k: Report top-k accuracy too.
        use_pretrained_model: Start from pretrained weights; only the last layer is new.
        use_weighted_loss: Weight the loss by class frequency; with `multi_label` only.
        weight_decay: L2 coefficient; sgd and nag only.

    Raises:
        HyperparameterError: With every violation of `RULES` and of the rules between fields.
    """

    num_classes: int
    num_training_samples: int
    augmentation_type: str | None = None
    beta_1: float = 0.9
    beta_2: float = 0.999
    checkpoint_frequency: int | None = None
    early_stopping: bool = False
    early_stopping_min_epochs: int = 10
    early_stopping_patience: int = 5
    early_stopping_tolerance: float = 0.0
    epochs: int = 30
    eps: float = 1e-8
    gamma: float = 0.9
    image_shape: tuple[int, ...] = (3, 224, 224)
    kv_store: str | None = None
    learning_rate: float = 0.1
    lr_scheduler_factor: float = 0.1
    lr_scheduler_step: tuple[int, ...] | None = field(default=None)
    mini_batch_size: int = 32
    momentum: float = 0.9
    multi_label: bool = False
    num_layers: int = 152
    optimizer: Optimizer = "sgd"
    precision_dtype: str = "float32"
    resize: int | None = None
    top_k: int | None = None
    use_pretrained_model: bool = False
    use_weighted_loss: bool = False
    weight_decay: float = 0.0001

    def __post_init__(self) -> None:
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        if problems := find_problems(values):
            raise HyperparameterError.from_problems(problems)

    @classmethod
    def from_strings(cls, values: Mapping[str, object]) -> Self:
        """Read the form in which SageMaker passes hyperparameters.

        Names that start with an underscore (the service's own, such as ``_tuning_objective_metric``) are passed over.

        Args:
            values: Name to text; numbers, booleans and lists are taken as well.

        Raises:
            HyperparameterError: With every unknown name, unreadable value and broken rule.
        """
        typed, problems = parse_strings(values)
        problems += [f"{name}: is required and missing" for name in required_names() if name not in values]
        problems += find_problems(defaults() | typed)
        if problems:
            raise HyperparameterError.from_problems(problems)
        return cls(**typed)

    def to_strings(self) -> dict[str, str]:
        """The form that SageMaker's API takes: every hyperparameter that is set, as text, sorted by name."""
        values = ((item.name, getattr(self, item.name)) for item in fields(self))
        return {name: format_value(name, value) for name, value in sorted(values) if value is not None}

    def active(self) -> dict[str, str]:
        """`to_strings` without what the chosen optimizer ignores."""
        return {name: text for name, text in self.to_strings().items() if is_active(name, self.optimizer)}

    def warnings(self) -> list[str]:
        """What the algorithm accepts but hardly anybody wants, one sentence each."""
        found = []
        height = self.image_shape[1]
        if self.num_layers in SMALL_IMAGE_LAYERS and height > 64:
            found.append(
                f"num_layers: {self.num_layers} is meant for small images (about 28x28), these are {height} pixels "
                f"high; AWS suggests {', '.join(map(str, LARGE_IMAGE_LAYERS))} for large ones"
            )
        if self.num_layers in LARGE_IMAGE_LAYERS and height <= 28:
            found.append(
                f"num_layers: {self.num_layers} is meant for large images, these are {height} pixels high; "
                f"AWS suggests {', '.join(map(str, SMALL_IMAGE_LAYERS))} for small ones"
            )
        late = [step for step in self.lr_scheduler_step or () if step >= self.epochs]
        if late:
            found.append(f"lr_scheduler_step: {late} is never reached in {self.epochs} epochs")
        if self.early_stopping and self.early_stopping_min_epochs >= self.epochs:
            found.append(
                f"early_stopping: never acts, early_stopping_min_epochs is {self.early_stopping_min_epochs} "
                f"and epochs {self.epochs}"
            )
        return found


def required_names() -> tuple[str, ...]:
    """The hyperparameters without a default."""
    return ("num_classes", "num_training_samples")


def defaults() -> dict[str, Any]:
    """The algorithm's default for every hyperparameter that has one (``None``: not set)."""
    return {item.name: item.default for item in fields(Hyperparameters) if item.name not in required_names()}


def find_problems(values: Mapping[str, Any]) -> list[str]:
    """Check typed values against `RULES` and the rules between hyperparameters.

    Args:
        values: Some or all hyperparameters; rules that need a missing one are passed over.

    Returns:
        One sentence for each violation.
    """
    problems = []
    sound = {}
    for name, value in values.items():
        optional = value is None and name not in required_names() and defaults().get(name, 0) is None
        if optional or RULES[name].accepts(value):
            sound[name] = value
        else:
            problems.append(f"{name}: {value!r} is not accepted; it must be {RULES[name].describe()}")
    return problems + _problems_between(sound)


def _problems_between(values: Mapping[str, Any]) -> list[str]:
    """The rules that tie hyperparameters to each other; ``values`` are sound one by one, and some may be missing."""
    given = {name: value for name, value in values.items() if value is not None}
    shape = given.get("image_shape", ())
    problems = []
    if given.get("use_pretrained_model") and shape not in ((), (3, 224, 224)):
        problems.append(
            f"image_shape: pretrained networks take 3,224,224 only, got {','.join(map(str, shape))}; "
            "set use_pretrained_model to 0 or prepare the data at 224x224"
        )
    if given.get("use_pretrained_model") and given.get("num_layers") in SMALL_IMAGE_LAYERS:
        problems.append(
            f"num_layers: there is no pretrained network of {given['num_layers']} layers; "
            f"choose one of {', '.join(map(str, LARGE_IMAGE_LAYERS))} or set use_pretrained_model to 0"
        )
    if given.get("use_weighted_loss") and not given.get("multi_label"):
        problems.append("use_weighted_loss: works with multi_label 1 only; set multi_label to 1 or leave it out")
    if _exceeds(given, "checkpoint_frequency", "epochs"):
        problems.append(
            f"checkpoint_frequency: {given['checkpoint_frequency']} is more than the {given['epochs']} epochs, "
            "nothing would ever be saved; choose at most epochs"
        )
    if shape and given.get("resize", math.inf) < max(shape[1:]):
        problems.append(
            f"resize: {given['resize']} pixels is smaller than image_shape {','.join(map(str, shape))}, "
            f"training would fail; choose at least {max(shape[1:])}"
        )
    if _exceeds(given, "mini_batch_size", "num_training_samples"):
        problems.append(
            f"mini_batch_size: {given['mini_batch_size']} is more than the {given['num_training_samples']} "
            "training images, no step would ever be made; choose a smaller one"
        )
    if _exceeds(given, "top_k", "num_classes"):
        problems.append(f"top_k: {given['top_k']} is more than the {given['num_classes']} classes; choose fewer")
    return problems


def _exceeds(given: Mapping[str, Any], name: str, limit: str) -> bool:
    return name in given and limit in given and bool(given[name] > given[limit])
