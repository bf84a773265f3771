"""Hyperparameters in Katib's form, and Katib's assignments back in ours.

Katib knows two scalings, uniform and logUniform, and most of its algorithms know only one. Where a range's scaling is
another one, the Experiment tunes not the value but its *position* in the range, and the trial turns that into the value
with the range's own ``from_unit``. So every algorithm searches every range with the scaling that it has on this
machine, and no algorithm ever meets a minimum of 0 that it cannot bear.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from kfp_image_tuning.core.errors import HyperparameterError
from kfp_image_tuning.engines.katib.request.algorithms import ALGORITHMS, Prior
from kfp_image_tuning.search.grid import cut_into_steps
from kfp_image_tuning.search.hyperparameter_table import Value, format_value, parse_value
from kfp_image_tuning.search.ranges import CategoricalRange, IntegerRange, Range, range_from_dict

Encoding = Literal["value", "position", "decade"]
"""What Katib tunes: the value itself; its position in the range, 0 to 1; or 10 to the power of that position, 1 to 10,
for an algorithm that treats every number logarithmically."""

PRIORS: Mapping[str, Prior] = {"linear": "uniform", "logarithmic": "log_uniform"}
"""The scalings that Katib has a name for."""
DISTRIBUTIONS: Mapping[Prior, str] = {"uniform": "uniform", "log_uniform": "logUniform"}


@dataclass(frozen=True)
class TunedParameter:
    """One parameter of an Experiment.

    Attributes:
        name: The hyperparameter.
        range: Its range.
        encoding: What Katib tunes of it.
        steps: For a grid, the values out of the range that are tried; empty: all of it.
    """

    name: str
    range: Range
    encoding: Encoding = "value"
    steps: tuple[Value, ...] = ()

    @property
    def parameter_name(self) -> str:
        """Katib's name for it; says so where it is not the value."""
        return self.name if self.encoding == "value" else f"{self.name}_{self.encoding}"

    @property
    def description(self) -> str:
        """For the reader of an Experiment."""
        if self.encoding == "value":
            return f"the hyperparameter {self.name}"
        assert not isinstance(self.range, CategoricalRange)
        bounds = f"{self.range.minimum:g} to {self.range.maximum:g}, {self.range.scaling.replace('_', '-')}"
        form = "position" if self.encoding == "position" else "10 to the power of the position"
        return f"{form} of {self.name} in its range ({bounds})"

    def to_katib(self) -> dict[str, Any]:
        """The entry of ``spec.parameters``; every number in it is text."""
        space: dict[str, Any]
        if isinstance(self.range, CategoricalRange):
            kind, space = "categorical", {"list": [format_value(self.name, value) for value in self.range.values]}
        elif self.steps:
            kind, space = "discrete", {"list": [format_value(self.name, value) for value in self.steps]}
        elif self.encoding == "value":
            kind = "int" if isinstance(self.range, IntegerRange) else "double"
            distribution = DISTRIBUTIONS[PRIORS[self.range.scaling]]
            space = {"min": str(self.range.minimum), "max": str(self.range.maximum), "distribution": distribution}
        elif self.encoding == "position":
            kind, space = "double", {"min": "0", "max": "1", "distribution": "uniform"}
        else:
            kind, space = "double", {"min": "1", "max": "10", "distribution": "logUniform"}
        return {"name": self.parameter_name, "parameterType": kind, "feasibleSpace": space}

    def to_template(self) -> dict[str, Any]:
        """What the trial is told, with Katib's placeholder in it; `decode_trial` reads it."""
        entry: dict[str, Any] = {self.encoding: f"${{trialParameters.{self.parameter_name}}}"}
        return entry if isinstance(self.range, CategoricalRange) else entry | {"range": self.range.to_dict()}

    def decode(self, text: str) -> Value:
        """The hyperparameter's value for what Katib assigned.

        Raises:
            HyperparameterError: If it cannot be read.
        """
        return _decode(self.name, self.encoding, text, self.range)


def choose_parameters(algorithm: str, ranges: Mapping[str, Range], grid_steps: int = 0) -> tuple[TunedParameter, ...]:
    """Parameters that an algorithm can take, for ranges.

    Args:
        algorithm: A name of `ALGORITHMS`.
        ranges: Range of each hyperparameter.
        grid_steps: With a grid, the steps that each range is cut into.
    """
    return tuple(_choose(algorithm, name, values, grid_steps) for name, values in sorted(ranges.items()))


def _choose(algorithm: str, name: str, values: Range, grid_steps: int) -> TunedParameter:
    if isinstance(values, CategoricalRange):
        return TunedParameter(name, values)
    rule = ALGORITHMS[algorithm]
    priors = rule.integer_priors if isinstance(values, IntegerRange) else rule.real_priors
    if priors == ("list",):
        return TunedParameter(name, values, steps=cut_into_steps(values, grid_steps))
    if PRIORS.get(values.scaling) in priors:
        return TunedParameter(name, values)
    # Encoded values are real numbers, whatever the range holds.
    return TunedParameter(name, values, "position" if "uniform" in rule.real_priors else "decade")


def count_combinations(parameters: Iterable[TunedParameter]) -> int:
    """Trials of a whole grid."""
    return math.prod(
        len(parameter.range.values) if isinstance(parameter.range, CategoricalRange) else len(parameter.steps)
        for parameter in parameters
    )


def encode_trial(parameters: Sequence[TunedParameter], fixed: Mapping[str, Value]) -> str:
    """All hyperparameters of a trial as one line of JSON, with Katib's placeholders in it.

    Katib puts values in as plain text: numbers and names, which mean nothing to JSON.
    """
    document = {
        "fixed": {name: format_value(name, value) for name, value in sorted(fixed.items()) if value is not None},
        "tuned": {parameter.name: parameter.to_template() for parameter in parameters},
    }
    return json.dumps(document, separators=(",", ":"))


def decode_trial(text: str) -> dict[str, str]:
    """The hyperparameters of a trial in the form that the trainer takes, from `encode_trial`'s form.

    Raises:
        HyperparameterError: If it cannot be read.
    """
    try:
        document = json.loads(text)
        values = dict(document["fixed"])
        for name, entry in document["tuned"].items():
            encoding = next(encoding for encoding in get_args(Encoding) if encoding in entry)
            known = range_from_dict(entry["range"]) if "range" in entry else None
            values[name] = format_value(name, _decode(name, encoding, entry[encoding], known))
    except (ValueError, KeyError, TypeError, StopIteration) as error:
        raise HyperparameterError(f"the trial's hyperparameters cannot be read ({error!r}): {text[:200]}") from None
    return values


def _decode(name: str, encoding: Encoding, text: str, values: Range | None) -> Value:
    if values is None or isinstance(values, CategoricalRange):
        return parse_value(name, text)
    try:
        number = float(text)
    except ValueError:
        raise HyperparameterError(f"{name}: Katib assigned {text!r}, a number is needed") from None
    if encoding == "position":
        return values.from_unit(min(max(number, 0.0), 1.0))
    if encoding == "decade":
        return values.from_unit(math.log10(min(max(number, 1.0), 10.0)))
    # Katib's services round on their own, a last digit beyond the bound included.
    number = min(max(number, values.minimum), values.maximum)
    return round(number) if isinstance(values, IntegerRange) else number
