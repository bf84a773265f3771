"""The built-in algorithm's contract."""

from dataclasses import fields

import pytest

from kfp_image_tuning.core.errors import HyperparameterError
from kfp_image_tuning.search.hyperparameter_table import RULES, USED_BY_OPTIMIZER, is_active
from kfp_image_tuning.search.hyperparameters import Hyperparameters

REQUIRED = {"num_classes": "10", "num_training_samples": "4000"}


def test_the_table_has_all_of_its_rows() -> None:
    assert len(RULES) == 29
    assert {item.name for item in fields(Hyperparameters)} == set(RULES)


def test_string_form_round_trip() -> None:
    given = REQUIRED | {
        "augmentation_type": "crop_color", "early_stopping": "True", "image_shape": "3, 32, 32",
        "lr_scheduler_step": "10, 20", "multi_label": "1", "num_layers": "20", "optimizer": "rmsprop",
        "precision_dtype": "float16", "top_k": "5", "use_weighted_loss": "1", "eps": "1e-6",
        "_tuning_objective_metric": "validation:accuracy",
    }  # fmt: skip
    values = Hyperparameters.from_strings(given)
    assert values.lr_scheduler_step == (10, 20)
    assert values.image_shape == (3, 32, 32)
    assert values.early_stopping is True
    assert values.eps == 1e-6
    assert Hyperparameters.from_strings(values.to_strings()) == values


def test_defaults_are_those_of_the_table() -> None:
    values = Hyperparameters.from_strings(REQUIRED)
    expected = {"epochs": 30, "learning_rate": 0.1, "mini_batch_size": 32, "num_layers": 152, "momentum": 0.9}
    assert {name: getattr(values, name) for name in expected} == expected
    assert "augmentation_type" not in values.to_strings(), "what is not set is not sent"


REFUSED = [
    ("missing", {"num_classes": "10"}, "num_training_samples: is required and missing"),
    ("unknown", REQUIRED | {"optimiser": "sgd"}, "did you mean optimizer"),
    ("unreadable", REQUIRED | {"epochs": "many"}, "'many' cannot be read; accepted is an integer of at least 1"),
    ("not whole", REQUIRED | {"epochs": "2.5"}, "epochs"),
    (
        "above the range",
        REQUIRED | {"momentum": "1.5"},
        "momentum: 1.5 is not accepted; it must be a number from 0 to 1",
    ),
    ("nan", REQUIRED | {"eps": "nan"}, "eps: nan is not accepted"),
    ("unknown depth", REQUIRED | {"num_layers": "19"}, "num_layers: 19 is not accepted"),
    ("two-part shape", REQUIRED | {"image_shape": "28,28"}, "image_shape"),
    ("steps in disorder", REQUIRED | {"lr_scheduler_step": "20,10"}, "lr_scheduler_step"),
    ("top 1", REQUIRED | {"top_k": "1"}, "top_k"),
    ("top 11 of 10", REQUIRED | {"top_k": "11"}, "more than the 10 classes"),
    ("pretrained at 28", REQUIRED | {"use_pretrained_model": "1", "image_shape": "3,28,28"}, "3,224,224 only"),
    (
        "pretrained small net",
        REQUIRED | {"use_pretrained_model": "1", "num_layers": "20"},
        "no pretrained network of 20",
    ),
    ("weighted single label", REQUIRED | {"use_weighted_loss": "1"}, "multi_label 1 only"),
    ("checkpoint after the end", REQUIRED | {"checkpoint_frequency": "5", "epochs": "3"}, "at most epochs"),
    ("resize below shape", REQUIRED | {"resize": "100"}, "choose at least 224"),
    ("batch above data", REQUIRED | {"mini_batch_size": "4001"}, "more than the 4000 training images"),
]


@pytest.mark.parametrize(("name", "given", "message"), REFUSED, ids=[case[0] for case in REFUSED])
def test_what_the_algorithm_would_refuse_is_refused(name: str, given: dict[str, str], message: str) -> None:
    with pytest.raises(HyperparameterError, match=message):
        Hyperparameters.from_strings(given)


def test_every_violation_is_reported_at_once() -> None:
    with pytest.raises(HyperparameterError) as caught:
        Hyperparameters.from_strings({"epochs": "0", "momentum": "-1", "colour": "red", "use_weighted_loss": "1"})
    assert len(caught.value.problems) == 6


def test_typed_values_are_checked_as_well() -> None:
    with pytest.raises(HyperparameterError, match="mini_batch_size"):
        Hyperparameters(num_classes=10, num_training_samples=100, mini_batch_size=512)


@pytest.mark.parametrize("name", sorted(USED_BY_OPTIMIZER))
def test_active_leaves_out_what_the_optimizer_ignores(name: str) -> None:
    for optimizer in ("sgd", "adam", "rmsprop", "nag"):
        values = Hyperparameters.from_strings(REQUIRED | {"optimizer": optimizer})
        assert (name in values.active()) == is_active(name, optimizer)


def test_unusual_choices_are_warned_of() -> None:
    values = Hyperparameters.from_strings(REQUIRED | {"image_shape": "3,28,28", "lr_scheduler_step": "40"})
    warnings = "\n".join(values.warnings())
    assert "152 is meant for large images" in warnings
    assert "never reached in 30 epochs" in warnings
