"""AWS's table of the Image Classification (MXNet) algorithm's hyperparameters: what each of them may be.

Every row (Amazon SageMaker developer guide, "Image Classification Hyperparameters") is a `Rule` in ``RULES``. The
service passes every value as text; `parse_value` and `format_value` lead from that form to Python's and back. What the
values mean, their defaults and the rules between them stand in `kfp_image_tuning.search.hyperparameters`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from kfp_image_tuning.core.errors import HyperparameterError
from kfp_image_tuning.core.object_forms import hint_at_nearest

Optimizer = Literal["sgd", "adam", "rmsprop", "nag"]
Value = int | float | str | bool | tuple[int, ...] | None
"""What a hyperparameter may hold in typed form; `None` is "not set"."""

OPTIMIZERS: tuple[Optimizer, ...] = ("sgd", "adam", "rmsprop", "nag")
LARGE_IMAGE_LAYERS = (18, 34, 50, 101, 152, 200)
SMALL_IMAGE_LAYERS = (20, 32, 44, 56, 110)

USED_BY_OPTIMIZER: Mapping[str, tuple[Optimizer, ...]] = {
    "momentum": ("sgd", "nag"),
    "weight_decay": ("sgd", "nag"),
    "beta_1": ("adam",),
    "beta_2": ("adam",),
    "eps": ("adam", "rmsprop"),
    "gamma": ("rmsprop",),
}
"""Optimizer-specific hyperparameters (same table); every other one is used with every optimizer."""


def is_active(name: str, optimizer: str) -> bool:
    """Whether hyperparameter ``name`` has an effect when training with ``optimizer``."""
    return optimizer in USED_BY_OPTIMIZER.get(name, OPTIMIZERS)


@dataclass(frozen=True)
class Rule:
    """What the algorithm accepts for one hyperparameter.

    Attributes:
        kind: How the string form is read.
        minimum: Smallest accepted value (``None``: no lower bound).
        maximum: Largest accepted value (``None``: no upper bound).
        choices: The accepted values, for ``kind="choice"`` and for integers from a fixed set.
    """

    kind: Literal["integer", "float", "choice", "boolean", "flag", "shape", "epochs"]
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str | int, ...] = ()

    def describe(self) -> str:
        """The accepted values in words, for error messages and help texts."""
        if self.choices:
            return "one of " + ", ".join(str(choice) for choice in self.choices)
        if self.kind == "boolean":
            return "True or False"
        if self.kind == "flag":
            return "0 or 1"
        if self.kind == "shape":
            return 'three positive integers "channels, height, width"'
        if self.kind == "epochs":
            return 'increasing epoch numbers from 1, such as "10, 20"'
        noun = "an integer" if self.kind == "integer" else "a number"
        if self.minimum is not None and self.maximum is not None:
            return f"{noun} from {self.minimum:g} to {self.maximum:g}"
        return f"{noun} of at least {self.minimum:g}"

    def parse(self, text: str) -> Value:
        """Read the string form that SageMaker passes.

        Raises:
            ValueError: If the text does not have the form of this kind.
        """
        text = text.strip()
        if self.kind == "boolean":
            return {"true": True, "false": False}[text.lower()]
        if self.kind == "flag":
            return {"1": True, "0": False, "true": True, "false": False}[text.lower()]
        if self.kind in ("shape", "epochs"):
            return tuple(int(part) for part in text.strip("()[]").split(",") if part.strip())
        if self.kind == "integer" or (self.choices and isinstance(self.choices[0], int)):
            number = float(text)
            if not number.is_integer():
                raise ValueError(text)
            return int(number)
        if self.kind == "float":
            return float(text)
        return text

    def accepts(self, value: Value) -> bool:
        """Whether the algorithm accepts ``value`` (in typed form) on its own."""
        if self.choices:
            return value in self.choices and not isinstance(value, bool)
        if self.kind in ("boolean", "flag"):
            return isinstance(value, bool)
        if self.kind in ("shape", "epochs"):
            if not isinstance(value, tuple) or not all(isinstance(part, int) and part > 0 for part in value):
                return False
            return len(value) == 3 if self.kind == "shape" else list(value) == sorted(set(value))
        if isinstance(value, bool) or not isinstance(value, int if self.kind == "integer" else (int, float)):
            return False
        above = self.minimum is None or value >= self.minimum
        return above and (self.maximum is None or value <= self.maximum) and math.isfinite(value)


_UNIT = Rule("float", 0.0, 1.0)
_POSITIVE = Rule("integer", 1)

RULES: Mapping[str, Rule] = {
    "num_classes": _POSITIVE,
    "num_training_samples": _POSITIVE,
    "augmentation_type": Rule("choice", choices=("crop", "crop_color", "crop_color_transform")),
    "beta_1": _UNIT,
    "beta_2": _UNIT,
    "checkpoint_frequency": _POSITIVE,
    "early_stopping": Rule("boolean"),
    "early_stopping_min_epochs": _POSITIVE,
    "early_stopping_patience": _POSITIVE,
    "early_stopping_tolerance": _UNIT,
    "epochs": _POSITIVE,
    "eps": _UNIT,
    "gamma": _UNIT,
    "image_shape": Rule("shape"),
    "kv_store": Rule("choice", choices=("dist_sync", "dist_async")),
    "learning_rate": _UNIT,
    "lr_scheduler_factor": _UNIT,
    "lr_scheduler_step": Rule("epochs"),
    "mini_batch_size": _POSITIVE,
    "momentum": _UNIT,
    "multi_label": Rule("flag"),
    "num_layers": Rule("integer", choices=(*SMALL_IMAGE_LAYERS, *LARGE_IMAGE_LAYERS)),
    "optimizer": Rule("choice", choices=OPTIMIZERS),
    "precision_dtype": Rule("choice", choices=("float32", "float16")),
    "resize": _POSITIVE,
    "top_k": Rule("integer", 2),
    "use_pretrained_model": Rule("flag"),
    "use_weighted_loss": Rule("flag"),
    "weight_decay": _UNIT,
}
"""AWS's table, row by row: the values that the algorithm accepts."""


def parse_value(name: str, value: object) -> Value:
    """Bring one hyperparameter into its typed form.

    Args:
        name: A name of `RULES`.
        value: Text as SageMaker passes it, or a JSON value.

    Raises:
        HyperparameterError: If the name is unknown or the value cannot be read as the rule's kind.
    """
    if name not in RULES:
        raise HyperparameterError(
            f"{name}: is not a hyperparameter of the image classification algorithm{hint_at_nearest(name, RULES)}"
        )
    if value is None:
        return None
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    try:
        return RULES[name].parse(text)
    except (ValueError, KeyError, OverflowError):
        raise HyperparameterError(f"{name}: {value!r} cannot be read; accepted is {RULES[name].describe()}") from None


def format_value(name: str, value: Value) -> str:
    """The text that SageMaker's API takes for a typed value."""
    if RULES[name].kind == "flag":
        return "1" if value else "0"
    if isinstance(value, tuple):
        return ",".join(str(part) for part in value)
    return str(value)


def parse_strings(values: Mapping[str, object]) -> tuple[dict[str, Any], list[str]]:
    """Bring many hyperparameters into their typed form.

    Returns:
        The typed values of what could be read, and a sentence for each that could not.
    """
    typed: dict[str, Any] = {}
    problems: list[str] = []
    for name, value in values.items():
        if name.startswith("_"):
            continue
        try:
            typed[name] = parse_value(name, value)
        except HyperparameterError as error:
            problems += error.problems
    return typed, problems
