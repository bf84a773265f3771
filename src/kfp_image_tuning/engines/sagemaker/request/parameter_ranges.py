"""Ranges of the search space in SageMaker's form: bounds as exact text, scaling by SageMaker's rules of legality."""

from collections.abc import Mapping
from typing import Any

from kfp_image_tuning.search.ranges import CategoricalRange, ContinuousRange, Range

SCALING_TYPES = {
    "linear": "Linear",
    "logarithmic": "Logarithmic",
    "reverse_logarithmic": "ReverseLogarithmic",
    # SageMaker's logarithmic scaling needs a minimum above 0, and the reverse one would favour the far end.
    "logarithmic_from_zero": "Linear",
}


def parameter_ranges(ranges: Mapping[str, Range]) -> dict[str, list[dict[str, Any]]]:
    """Ranges in the form of ``ParameterRanges`` and ``HyperParameterRanges``; kinds without a range are left out."""
    integers: list[dict[str, Any]] = []
    continuous: list[dict[str, Any]] = []
    categorical: list[dict[str, Any]] = []
    for name, values in sorted(ranges.items()):
        if isinstance(values, CategoricalRange):
            categorical.append({"Name": name, "Values": [str(value) for value in values.values]})
            continue
        entry = {
            "Name": name,
            "MinValue": exact_text(values.minimum),
            "MaxValue": exact_text(values.maximum),
            "ScalingType": SCALING_TYPES[values.scaling],
        }
        (continuous if isinstance(values, ContinuousRange) else integers).append(entry)
    kinds = {
        "IntegerParameterRanges": integers,
        "ContinuousParameterRanges": continuous,
        "CategoricalParameterRanges": categorical,
    }
    return {kind: entries for kind, entries in kinds.items() if entries}


def exact_text(number: float) -> str:
    """The shortest text that reads back as exactly this number, with plain exponents: ``1e-6``, ``0.999``, ``512``."""
    text = repr(number)
    mantissa, mark, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if mark else text


def scaling_notes(ranges: Mapping[str, Range]) -> list[str]:
    """What SageMaker searches differently from what the space asks for, one sentence each."""
    notes = []
    for name, values in sorted(ranges.items()):
        if not isinstance(values, CategoricalRange) and values.scaling == "logarithmic_from_zero":
            notes.append(
                f"{name}: starts at 0, where SageMaker knows no logarithmic scaling, and is searched linearly, so that "
                f"small values are hardly ever tried; give a minimum above 0 or use the preset practical"
            )
        if isinstance(values, CategoricalRange) and name != "optimizer":
            notes.append(
                f"{name}: is given as a list of choices; AWS documents choices for optimizer alone, so the service "
                "may refuse the tuning job (nothing is spent then)"
            )
    return notes
