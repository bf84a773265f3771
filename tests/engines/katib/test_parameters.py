"""Hyperparameters in Katib's form and back."""

import json
import math

import pytest

from kfp_image_tuning.core.errors import HyperparameterError
from kfp_image_tuning.engines.katib.request.algorithms import ALGORITHMS
from kfp_image_tuning.engines.katib.request.parameters import choose_parameters, decode_trial, encode_trial
from kfp_image_tuning.search.ranges import CategoricalRange, ContinuousRange, IntegerRange
from kfp_image_tuning.search.search_space import DOCUMENTED_RANGES

NUMBERS: dict[str, ContinuousRange | IntegerRange] = {
    "linear": ContinuousRange(0.0, 0.9),
    "logarithmic": ContinuousRange(1e-6, 0.5, "logarithmic"),
    "reverse": ContinuousRange(0.0, 0.999, "reverse_logarithmic"),
    "from_zero": ContinuousRange(0.0, 0.999, "logarithmic_from_zero"),
    "count": IntegerRange(8, 512, "logarithmic"),
}
ENCODINGS = {
    "random": {"linear": "value", "logarithmic": "value", "reverse": "position", "count": "value"},
    "multivariate-tpe": {"linear": "value", "logarithmic": "value", "from_zero": "position", "count": "value"},
    "sobol": {"linear": "value", "logarithmic": "position", "reverse": "position", "count": "position"},
    "bayesianoptimization": {"linear": "decade", "logarithmic": "value", "from_zero": "decade", "count": "decade"},
}


@pytest.mark.parametrize(
    ("algorithm", "scaling"), [(name, scaling) for name, table in ENCODINGS.items() for scaling in table]
)
def test_what_katib_cannot_scale_is_tuned_by_its_position(algorithm: str, scaling: str) -> None:
    (parameter,) = choose_parameters(algorithm, {"momentum": NUMBERS[scaling]})
    assert parameter.encoding == ENCODINGS[algorithm][scaling]
    assert (parameter.parameter_name == "momentum") == (parameter.encoding == "value")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_is_tuned_covers_every_documented_range_from_end_to_end(algorithm: str) -> None:
    for parameter in choose_parameters(algorithm, DOCUMENTED_RANGES, grid_steps=3):
        space = parameter.to_katib()["feasibleSpace"]
        values = [parameter.decode(text) for text in space.get("list") or (space["min"], space["max"])]
        documented = DOCUMENTED_RANGES[parameter.name]
        assert all(documented.contains(value) for value in values)
        if "min" in space:
            assert not isinstance(documented, CategoricalRange)
            assert values == pytest.approx([documented.minimum, documented.maximum], rel=1e-9)
            # Python's floats, whole and other, are read by Katib's Go and Python alike.
            assert math.isfinite(float(space["min"]))


@pytest.mark.parametrize("algorithm", ["sobol", "bayesianoptimization"])
def test_half_of_the_way_is_half_of_the_range_in_its_own_scaling(algorithm: str) -> None:
    (parameter,) = choose_parameters(algorithm, {"momentum": NUMBERS["reverse"]})
    half = {"sobol": "0.5", "bayesianoptimization": str(10**0.5)}[algorithm]
    assert parameter.decode(half) == pytest.approx(1 - math.sqrt(0.001))


def test_values_a_hair_outside_are_brought_back() -> None:
    rate, size = choose_parameters(
        "tpe", {"learning_rate": NUMBERS["logarithmic"], "mini_batch_size": NUMBERS["count"]}
    )
    assert rate.decode("0.5000000001") == 0.5
    assert (size.decode("32.0"), size.decode("513")) == (32, 512)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_trial_reads_what_katib_put_into_its_template(algorithm: str) -> None:
    parameters = choose_parameters(algorithm, DOCUMENTED_RANGES, grid_steps=2)
    text = encode_trial(parameters, {"num_layers": 20, "lr_scheduler_step": (2, 4), "resize": None})
    # Katib replaces in the JSON of the whole template, where this text stands escaped.
    template = json.dumps({"value": text})
    expected = {"num_layers": "20", "lr_scheduler_step": "2,4"}
    for parameter in parameters:
        space = parameter.to_katib()["feasibleSpace"]
        assigned = space["list"][-1] if "list" in space else space["max"]
        template = template.replace(f"${{trialParameters.{parameter.parameter_name}}}", assigned)
        expected[parameter.name] = str(parameter.decode(assigned))
    assert decode_trial(json.loads(template)["value"]) == expected


@pytest.mark.parametrize("text", ["", "{}", '{"fixed": {}, "tuned": {"eps": {}}}', '{"fixed": 1, "tuned": {}}'])
def test_a_damaged_trial_is_refused_in_our_words(text: str) -> None:
    with pytest.raises(HyperparameterError, match="cannot be read"):
        decode_trial(text)
