"""The command that repeats a search says everything that was asked, and no secret."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kfp_image_tuning.cli.command_line import build_parser
from kfp_image_tuning.cli.pipeline_options import given_options, image_options
from kfp_image_tuning.cli.search_settings import settings_from
from kfp_image_tuning.dataset.document import Dataset, PreparationSettings
from kfp_image_tuning.options.declared import (
    AccountOptions,
    GateOptions,
    ImageOptions,
    KatibPlaceOptions,
    LocalOptions,
    TransformOptions,
)
from kfp_image_tuning.preparation.sources.reading import Reading
from kfp_image_tuning.steps.reproduction import evaluated_command, search_command
from kfp_image_tuning.steps.tuning_settings import TuningSettings

FRACTIONS = {"train": 0.5, "validation": 1 / 3, "test": 1 / 6}
ASKED = PreparationSettings(
    max_invalid_images="12.5%",
    encoding="jpeg",
    quality=60,
    training_margin=0.0,
    reading=Reading(
        class_names=("-1", "O'Neil", "zwölf"),
        splits=(("train", "fold 1"), ("test", "fold2")),
        label_separator="; ",
        merge=(("puppy", "dog"),),
        allow_empty_classes=True,
    ).to_options(),
)


def options_of(line: str) -> dict[str, Any]:
    """What the command line understands of a command."""
    program, *words = shlex.split(line.removesuffix(" &&"))
    assert program == "kfp-image-tuning"
    return given_options(build_parser().parse_args(words))


@pytest.fixture
def dataset(prepared_digits: Path) -> Dataset:
    return replace(Dataset.load(prepared_digits), fractions=FRACTIONS, settings=ASKED, seed=3)


@pytest.mark.parametrize(
    "settings",
    [
        TuningSettings(),
        TuningSettings(preset="practical", strategy="random", max_trials=7, epochs=3, max_seconds=1.5, seed=4),
        TuningSettings(search_space={"optimizer": ["sgd", "adam"], "momentum": 0.9, "mini_batch_size": 16.0}),
        TuningSettings(stop_bad_trials=False, max_failed_trials=0, target_accuracy=0.9, parallel_trials=1, patience=5),
        TuningSettings(search_mode="flat", initial_model="/models/it's mine", max_seconds=86_400.0),
    ],
)
def test_everything_that_was_asked_is_said(settings: TuningSettings, dataset: Dataset) -> None:
    wanted = ImageOptions(
        images=dataset.source.uri,
        image_shape="3,8,8",
        validation_fraction=1 / 3,
        test_fraction=1 / 6,
        max_invalid_images="12.5%",
        seed=3,
        encoding="jpeg",
        quality=60,
        training_margin=0.0,
        class_names="-1,O'Neil,zwölf",
        splits="train=fold 1,test=fold2",
        label_separator="; ",
        merge="puppy=dog",
        allow_empty_classes=True,
    )
    prepare, run = search_command(dataset, settings, LocalOptions(prior="none")).splitlines()
    assert image_options(options_of(prepare)) == wanted
    options = options_of(run)
    assert settings_from(options) == replace(settings, search_space=options.get("search_space", {}))
    assert settings_from(options).to_space() == settings.to_space()
    assert options["prior"] == "none"
    together = options_of(search_command(dataset, replace(settings, seed=3), LocalOptions()))
    assert image_options(together) == wanted
    assert settings_from(together) == replace(settings_from(options), seed=3)


def test_what_is_usual_is_not_said(prepared_digits: Path) -> None:
    dataset = Dataset.load(prepared_digits)
    command = search_command(dataset, TuningSettings(), LocalOptions())
    assert set(options_of(command)) == {"data", "image_shape"}
    assert evaluated_command(command, GateOptions(), TransformOptions()) == command
    assert evaluated_command("", GateOptions(min_accuracy=0.5)) == ""


def test_what_was_asked_of_the_model_is_said(prepared_digits: Path) -> None:
    command = search_command(Dataset.load(prepared_digits), TuningSettings(), LocalOptions())
    gate = GateOptions(min_accuracy=0.95, baseline="/old models/evaluation.json")
    options = options_of(evaluated_command(command, gate, TransformOptions(mode="offline")))
    assert (options["min_accuracy"], options["baseline"]) == (0.95, "/old models/evaluation.json")
    assert options["evaluate"] == "offline"


KATIB = {
    "endpoint_url": "https://user:hunter2@store:9000",
    "credentials_secret": "team-store",
    "pods": {
        "package": "kfp-image-tuning @ https://robot:hunter2@index/kfp.whl",
        "packages_index": "https://robot:hunter2@index/simple",
        "env": {"STORE_PASSWORD": "hunter2", "API_TOKEN": "hunter2", "LANG": "C"},
    },
}


@pytest.mark.parametrize(
    ("engine", "own", "kept"),
    [
        ("local", LocalOptions(), {}),
        (
            "katib",
            KatibPlaceOptions(storage="s3://key:hunter2@team/x", katib_options=KATIB),
            {"credentials_secret": "team-store", "endpoint_url": "https://store:9000"},
        ),
        (
            "sagemaker",
            AccountOptions(
                role="arn", bucket="b", sagemaker_options={"env": {"AWS_SECRET_ACCESS_KEY": "hunter2"}, "spot": True}
            ),
            {"env": {}, "spot": True},
        ),
    ],
)
def test_no_secret_is_said(
    engine: str, own: LocalOptions | KatibPlaceOptions | AccountOptions, kept: dict[str, Any], prepared_digits: Path
) -> None:
    settings = TuningSettings(initial_model="https://host/model.tar.gz?signature=hunter2")
    command = search_command(Dataset.load(prepared_digits), settings, own, engine=engine)
    command = evaluated_command(command, GateOptions(baseline="https://me:hunter2@host/evaluation.json"))
    assert "hunter2" not in command
    options = options_of(command)
    assert options["initial_model"] == "https://host/model.tar.gz"
    assert options.get(f"{engine}_options", {}).items() >= kept.items()
