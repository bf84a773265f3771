"""The search space: which hyperparameters are tuned, over which ranges, with which optimizer.

AWS's documented ranges ("Tune an Image Classification Model", Amazon SageMaker developer guide) are the default:

    beta_1, beta_2    1e-6 to 0.999    adam               learning_rate    1e-6 to 0.5
    eps               1e-8 to 1.0      adam, rmsprop      mini_batch_size  8 to 512
    gamma             1e-8 to 0.999    rmsprop            optimizer        sgd, adam, rmsprop, nag
    momentum          0.0 to 0.999     sgd, nag
    weight_decay      0.0 to 0.999     sgd, nag

A user narrows, fixes or extends them with one object, such as
``{"learning_rate": {"min": 1e-4, "max": 0.1}, "optimizer": ["sgd", "adam"], "momentum": 0.9}``. Hyperparameters that
only some optimizers use are active only with those: `SearchSpace.branches` gives one flat space for each optimizer.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal, Self, get_args

from kfp_image_tuning.core.errors import HyperparameterError, SearchSpaceError
from kfp_image_tuning.search.hyperparameter_table import RULES, Optimizer, Value, format_value, is_active, parse_value
from kfp_image_tuning.search.hyperparameters import defaults, find_problems
from kfp_image_tuning.search.ranges import CategoricalRange, ContinuousRange, IntegerRange, Range, range_from_dict

Preset = Literal["documented", "practical"]

DOCUMENTED_RANGES: Mapping[str, Range] = MappingProxyType(
    {
        "beta_1": ContinuousRange(1e-6, 0.999, "reverse_logarithmic"),
        "beta_2": ContinuousRange(1e-6, 0.999, "reverse_logarithmic"),
        "eps": ContinuousRange(1e-8, 1.0, "logarithmic"),
        "gamma": ContinuousRange(1e-8, 0.999, "reverse_logarithmic"),
        "learning_rate": ContinuousRange(1e-6, 0.5, "logarithmic"),
        "mini_batch_size": IntegerRange(8, 512, "logarithmic"),
        "momentum": ContinuousRange(0.0, 0.999, "reverse_logarithmic"),
        "optimizer": CategoricalRange(("sgd", "adam", "rmsprop", "nag")),
        "weight_decay": ContinuousRange(0.0, 0.999, "logarithmic_from_zero"),
    }
)
"""AWS's bounds, exactly. AWS names no scaling; these defaults are ours: decay rates act through their distance to 1,
step sizes and batch sizes through their ratio, and weight decay through its ratio although its range starts at 0."""


@dataclass(frozen=True)
class Narrowing:
    """One range of the ``practical`` preset and why it is narrower than AWS's."""

    range: Range
    reason: str


PRACTICAL_NARROWINGS: Mapping[str, Narrowing] = MappingProxyType(
    {
        "beta_1": Narrowing(
            ContinuousRange(0.5, 0.99, "reverse_logarithmic"),
            "below 0.5 the first moment hardly averages, above 0.99 it lags behind by more than a hundred steps",
        ),
        "beta_2": Narrowing(
            ContinuousRange(0.9, 0.999, "reverse_logarithmic"),
            "below 0.9 the second moment follows single batches and steps become erratic",
        ),
        "eps": Narrowing(
            ContinuousRange(1e-8, 0.1, "logarithmic"),
            "towards 1.0 the denominator no longer adapts to the gradient",
        ),
        "gamma": Narrowing(
            ContinuousRange(0.5, 0.999, "reverse_logarithmic"),
            "below 0.5 the average follows single batches and steps become erratic",
        ),
        "learning_rate": Narrowing(
            ContinuousRange(1e-5, 0.5, "logarithmic"),
            "below 1e-5 the weights hardly move within any ordinary number of epochs",
        ),
        "momentum": Narrowing(
            ContinuousRange(0.1, 0.99, "reverse_logarithmic"),
            "a minimum above 0 makes logarithmic scaling legal on every engine and acts the same; "
            "above 0.99 a gradient is felt for over a hundred steps and training swings",
        ),
        "weight_decay": Narrowing(
            ContinuousRange(1e-6, 0.01, "logarithmic"),
            "a minimum above 0 makes logarithmic scaling legal on every engine, and 1e-6 acts like none; "
            "above 0.01 the weights are pulled to 0 faster than they learn",
        ),
    }
)
"""The ``practical`` preset, where it differs from the documented ranges."""


def preset_ranges(preset: Preset) -> dict[str, Range]:
    """The ranges of a preset, all of them inside AWS's documented ones."""
    ranges = dict(DOCUMENTED_RANGES)
    if preset == "practical":
        ranges |= {name: narrowing.range for name, narrowing in PRACTICAL_NARROWINGS.items()}
    return ranges


@dataclass(frozen=True)
class SearchSpace:
    """Tuned ranges and fixed values.

    Attributes:
        ranges: Range of each tuned hyperparameter.
        fixed: Typed value of each hyperparameter that all trials share.
        preset: The preset that the space started from.
        warnings: What is allowed but unusual, one sentence each; not part of the space's identity.
        own_ranges: Hyperparameters whose range the user gave; not part of the space's identity.

    Raises:
        SearchSpaceError: With every range that reaches outside what the algorithm accepts.
    """

    ranges: Mapping[str, Range] = field(default_factory=lambda: preset_ranges("documented"))
    fixed: Mapping[str, Value] = field(default_factory=dict)
    preset: Preset = "documented"
    warnings: tuple[str, ...] = field(default=(), compare=False)
    own_ranges: frozenset[str] = field(default=frozenset(), compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ranges", dict(sorted(self.ranges.items())))
        object.__setattr__(self, "fixed", dict(sorted(self.fixed.items())))
        problems = [
            f"{name}: is both tuned and fixed to {self.fixed[name]!r}" for name in self.ranges if name in self.fixed
        ]
        for name, values in self.ranges.items():
            problems += _range_problems(name, values)
        problems += find_problems(self.fixed)
        if problems:
            raise SearchSpaceError.from_problems(problems)

    @classmethod
    def customized(cls, changes: Mapping[str, Any] | None = None, preset: Preset = "documented") -> Self:
        """Start from a preset and apply a user's changes.

        Args:
            changes: Hyperparameter name to one of: ``{"min": …, "max": …, "scaling": …}`` (any of the three; what is
                left out stays), a list of choices, a single value (fixed), or null (not tuned: the algorithm's
                default).
            preset: Where to start from.

        Raises:
            SearchSpaceError: With every change that cannot be applied.
        """
        if preset not in get_args(Preset):
            raise SearchSpaceError(f"preset: is one of {', '.join(get_args(Preset))}, got {preset!r}")
        ranges = preset_ranges(preset)
        fixed: dict[str, Value] = {}
        problems: list[str] = []
        warnings: list[str] = []
        for name, change in (changes or {}).items():
            try:
                value = _read_change(name, change, ranges.get(name))
            except (SearchSpaceError, HyperparameterError) as error:
                problems += [p if p.startswith(f"{name}:") else f"{name}: {p}" for p in error.problems]
                continue
            ranges.pop(name, None)
            if isinstance(value, Range):
                ranges[name] = value
                warnings += _range_warnings(name, value)
            elif value is not None:
                fixed[name] = value
                warnings += _fixed_warnings(name, value)
        for name in ranges:
            problems += _range_problems(name, ranges[name])
        problems += find_problems(fixed)
        if problems:
            raise SearchSpaceError.from_problems(problems)
        space = cls(ranges, fixed, preset, tuple(warnings), frozenset(changes or ()) & frozenset(ranges))
        inactive = [name for name in space.ranges if not any(is_active(name, o) for o in space.optimizers)]
        ignorers = " and ".join(space.optimizers)
        unused = tuple(
            f"{name}: is not tuned, since {ignorers} {'ignore' if len(space.optimizers) > 1 else 'ignores'} it"
            for name in inactive
            if name in (changes or {})
        )
        kept = {name: values for name, values in space.ranges.items() if name not in inactive}
        return replace(space, ranges=kept, warnings=space.warnings + unused)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read the exact JSON form that `to_dict` wrote.

        Raises:
            SearchSpaceError: If a range or value cannot be read.
        """
        ranges = {name: range_from_dict(entry) for name, entry in document["ranges"].items()}
        fixed = {name: parse_value(name, value) for name, value in document["fixed"].items()}
        return cls(ranges, fixed, document["preset"])

    def to_dict(self) -> dict[str, Any]:
        """The JSON form; reading it again gives an equal space."""
        return {
            "preset": self.preset,
            "ranges": {name: values.to_dict() for name, values in self.ranges.items()},
            "fixed": {name: list(value) if isinstance(value, tuple) else value for name, value in self.fixed.items()},
        }

    @property
    def optimizers(self) -> tuple[Optimizer, ...]:
        """The optimizers that trials may use."""
        choice = self.ranges.get("optimizer")
        if isinstance(choice, CategoricalRange):
            return tuple(choice.values)  # type: ignore[arg-type]  # _range_problems has checked them
        return (self.fixed.get("optimizer", defaults()["optimizer"]),)  # type: ignore[return-value]

    def active_ranges(self, optimizer: str) -> dict[str, Range]:
        """The ranges that matter with ``optimizer``, itself left out."""
        return {name: r for name, r in self.ranges.items() if name != "optimizer" and is_active(name, optimizer)}

    def branches(self) -> Iterator["SearchSpace"]:
        """One flat space for each optimizer, with only the hyperparameters that this optimizer uses."""
        for optimizer in self.optimizers:
            fixed = {name: value for name, value in self.fixed.items() if is_active(name, optimizer)}
            yield SearchSpace(self.active_ranges(optimizer), fixed | {"optimizer": optimizer}, self.preset)

    def fix(self, values: Mapping[str, Value]) -> "SearchSpace":
        """The same space with more fixed values; what the user tunes or fixes already stays."""
        added = {name: value for name, value in values.items() if name not in self.ranges and name not in self.fixed}
        return replace(self, fixed={**self.fixed, **added})

    def narrow_to_training_images(self, count: int) -> "SearchSpace":
        """The same space without mini-batches larger than the training set, on which no step could be made."""
        sizes = self.ranges.get("mini_batch_size")
        if not isinstance(sizes, IntegerRange) or sizes.maximum <= count:
            return self
        if sizes.minimum >= count:
            raise SearchSpaceError(
                f"mini_batch_size: the range {sizes.minimum} to {sizes.maximum} does not fit {count} training images; "
                "prepare more images or give a smaller range"
            )
        warning = (
            f"mini_batch_size: the maximum is lowered from {sizes.maximum} to {count}, the number of training images"
        )
        narrowed = {**self.ranges, "mini_batch_size": replace(sizes, maximum=count)}
        return replace(self, ranges=narrowed, warnings=(*self.warnings, warning))

    def default_values(self, optimizer: str) -> dict[str, Any]:
        """The algorithm's defaults for what is tuned with ``optimizer``, moved into the range if they are outside."""
        values: dict[str, Any] = {}
        for name, values_range in self.active_ranges(optimizer).items():
            default = defaults().get(name)
            if isinstance(values_range, CategoricalRange):
                values[name] = default if default in values_range.values else values_range.values[0]
            else:
                kind = int if isinstance(values_range, IntegerRange) else float
                middle = values_range.from_unit(0.5) if default is None else default
                values[name] = kind(min(max(middle, values_range.minimum), values_range.maximum))
        return values

    def explain(self) -> list[str]:
        """The space in lines for a reader: every range, who uses it, and every narrowing with its reason."""
        lines = []
        for name, values in self.ranges.items():
            users = [optimizer for optimizer in self.optimizers if is_active(name, optimizer)]
            scope = "" if len(users) == len(self.optimizers) else f"  (with {', '.join(users)})"
            lines.append(f"{name:<16} {_describe(values)}{scope}")
            narrowing = PRACTICAL_NARROWINGS.get(name)
            if self.preset == "practical" and narrowing and narrowing.range == values:
                lines.append(f"{'':<16} documented: {_describe(DOCUMENTED_RANGES[name])}; {narrowing.reason}")
        lines += [f"{name:<16} fixed: {format_value(name, value)}" for name, value in self.fixed.items()]
        return lines


def _describe(values: Range) -> str:
    if isinstance(values, CategoricalRange):
        return "one of " + ", ".join(map(str, values.values))
    return f"{values.minimum:g} to {values.maximum:g}, {values.scaling.replace('_', '-')}"


def _read_change(name: str, change: Any, current: Range | None) -> Range | Value:
    """One entry of the user's object: a new range, a fixed value, or None for the algorithm's default."""
    if name not in RULES:
        parse_value(name, None if change is None else "")
    if isinstance(change, Mapping):
        return _read_range(name, change, current)
    if isinstance(change, list | tuple) and name not in ("image_shape", "lr_scheduler_step"):
        values = tuple(parse_value(name, value) for value in change)
        return values[0] if len(values) == 1 else CategoricalRange(values)  # type: ignore[arg-type]
    return parse_value(name, change)


def _read_range(name: str, change: Mapping[str, Any], current: Range | None) -> Range:
    unknown = sorted(set(change) - {"min", "max", "scaling"})
    if unknown:
        raise SearchSpaceError(f'a range has the fields "min", "max" and "scaling", got {", ".join(unknown)}')
    if isinstance(current, CategoricalRange) or RULES[name].kind not in ("integer", "float") or RULES[name].choices:
        raise SearchSpaceError(f"takes a list of choices, not min and max; accepted is {RULES[name].describe()}")
    bounds = {}
    for key, attribute in (("min", "minimum"), ("max", "maximum")):
        if key in change:
            bounds[key] = parse_value(name, change[key])
        elif current is None:
            raise SearchSpaceError(
                f'has no documented range, so both "min" and "max" must be given, got {dict(change)}'
            )
        else:
            bounds[key] = getattr(current, attribute)
    scaling = change.get("scaling") or _default_scaling(name, bounds, current)
    kind = IntegerRange if RULES[name].kind == "integer" else ContinuousRange
    return kind(bounds["min"], bounds["max"], scaling)  # type: ignore[arg-type]


def _default_scaling(name: str, bounds: Mapping[str, Any], current: Range | None) -> str:
    """The preset's scaling where the new bounds allow it, else the nearest that is legal."""
    scaling = "linear" if current is None else current.scaling  # type: ignore[union-attr]
    if scaling == "logarithmic_from_zero" and bounds["min"] > 0:
        return "logarithmic"
    if scaling == "logarithmic" and bounds["min"] <= 0:
        return "logarithmic_from_zero" if RULES[name].kind == "float" and bounds["min"] == 0 else "linear"
    if scaling == "reverse_logarithmic" and bounds["max"] >= 1:
        return "linear"
    return scaling


def _range_problems(name: str, values: Range) -> list[str]:
    """What of a range is outside what the algorithm accepts."""
    if name not in RULES:
        return [f"{name}: is not a hyperparameter of the image classification algorithm"]
    ends = values.values if isinstance(values, CategoricalRange) else (values.minimum, values.maximum)
    refused = [end for end in ends if not RULES[name].accepts(end)]
    if not refused:
        return []
    documented = f"; AWS recommends {_describe(DOCUMENTED_RANGES[name])}" if name in DOCUMENTED_RANGES else ""
    listed = ", ".join(map(str, refused))
    return [f"{name}: {listed} is not accepted by the algorithm, which takes {RULES[name].describe()}{documented}"]


def _fixed_warnings(name: str, value: Value) -> list[str]:
    """Whether a fixed value is outside AWS's recommendation."""
    documented = DOCUMENTED_RANGES.get(name)
    if documented is None or documented.contains(value):
        return []
    return [f"{name}: {value} is outside the range that AWS recommends ({_describe(documented)})"]


def _range_warnings(name: str, values: Range) -> list[str]:
    """What of a range is outside AWS's recommendation."""
    documented = DOCUMENTED_RANGES.get(name)
    if documented is None:
        return [
            f"{name}: is not among the hyperparameters that AWS documents as tunable; SageMaker would refuse to tune it"
        ]
    ends = values.values if isinstance(values, CategoricalRange) else (values.minimum, values.maximum)
    outside = [end for end in ends if not documented.contains(end)]
    if not outside:
        return []
    listed = ", ".join(map(str, outside))
    return [
        f"{name}: {listed} is outside the range that AWS recommends ({_describe(documented)}); "
        f"the algorithm accepts {RULES[name].describe()}"
    ]
