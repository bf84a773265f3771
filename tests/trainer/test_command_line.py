"""The trainer as a program: its arguments."""

from pathlib import Path

import pytest

from kfp_image_tuning.dataset.image_codec import encode_image
from kfp_image_tuning.model.model_files import load_model
from kfp_image_tuning.preparation.preparation import prepare_dataset
from kfp_image_tuning.search.hyperparameter_table import RULES
from kfp_image_tuning.trainer.__main__ import choose_threads
from kfp_image_tuning.trainer.command_line import main
from tests.trainer.digits import digits, training_digits, validation_digits, write_images
from tests.trainer.programs import accuracies, run


def arguments(records: Path, model: Path) -> list[str | Path]:
    given = {
        "--train": records / "train",
        "--validation": records / "validation" / "validation.rec",
        "--hyperparameters": records / "hyperparameters.json",
        "--cache": records / "cache",
        "--model-dir": model,
    }
    return [part for pair in given.items() for part in pair]


def test_record_files_become_a_model(records: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    done = run(*arguments(records, model), "--set", "epochs=3", "--seed", "1")
    assert done.returncode == 0, done.stderr
    assert len(accuracies(done.stdout)) == 3, "--set goes before the file"
    classifier = load_model(model)
    assert classifier.document.validation_accuracy == pytest.approx(max(accuracies(done.stdout)), abs=1e-6)
    assert classifier.classes == tuple("0123456789")


def test_images_with_their_lists_are_resized_and_cropped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = {"train": training_digits(), "validation": validation_digits()}
    lists = {name: write_images(tmp_path / name, images) for name, images in data.items()}
    given: list[str | Path] = [
        part for name, path in lists.items() for part in (f"--{name}", tmp_path / name, f"--{name}-lst", path)
    ]
    settings = [
        "num_classes=10",
        "num_training_samples=320",
        "num_layers=20",
        "image_shape=1,8,8",
        "learning_rate=0.05",
    ]
    given += [part for setting in settings for part in ("--set", setting)]
    given += ["--cache", tmp_path / "cache", "--model-dir", tmp_path / "model"]
    assert main([str(part) for part in given]) == 2
    assert "resize: is required for images with a list file" in capsys.readouterr().err
    assert main([*map(str, given), "--set", "resize=10", "--set", "epochs=3"]) == 0
    assert max(accuracies(capsys.readouterr().out)) > 0.6
    assert load_model(tmp_path / "model").document.hyperparameters["resize"] == "10"


def test_a_prepared_data_set_says_what_the_trainer_needs_to_know(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = digits().part(0, 150)
    for number, (image, label) in enumerate(zip(data.images, data.labels, strict=True)):
        path = tmp_path / "images" / f"digit {label}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_image(image, "png"))
    dataset = prepare_dataset(str(tmp_path / "images"), tmp_path / "dataset", progress=lambda line: None)
    given = f"--dataset {tmp_path}/dataset --cache {tmp_path}/cache --model-dir {tmp_path}/model"
    assert main([*given.split(), "--set", "num_layers=20", "--set", "epochs=1"]) == 0
    assert len(accuracies(capsys.readouterr().out)) == 1
    document = load_model(tmp_path / "model").document
    assert document.classes == dataset.classes == tuple(f"digit {number}" for number in range(10))
    assert document.image_shape == dataset.image_shape
    assert document.hyperparameters["num_training_samples"] == str(dataset.split("train").images)


WRONG: dict[str, tuple[str, str, int]] = {
    "no data": ("", "--train and --validation: missing; give --dataset DIR", 1),
    "path that is not there": ("--train x.rec --validation x.rec", "x.rec: does not exist", 1),
    "no assignment": ("--dataset {records}/train --set epochs", "--set epochs: must have the form NAME=VALUE", 2),
    "folder without records": ("--dataset {records}", "holds no .rec file and no dataset.json", 1),
    "misspelt name": ("--dataset {records}/train --set epoch=3", "did you mean epochs?", 2),
    "missing file": ("--dataset {records}/train --hyperparameters x.json", "x.json: cannot be read (No such file", 2),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_are_told_without_a_traceback(records: Path, tmp_path: Path, case: str) -> None:
    given, expected, status = WRONG[case]
    done = run(*given.format(records=records).split(), "--model-dir", tmp_path)
    assert done.returncode == status
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_help_teaches_by_examples_and_names_every_hyperparameter() -> None:
    done = run("--help")
    assert done.returncode == 0
    for expected in ("examples:", "--hyperparameters FILE", "torchrun", "--train-lst", "export --format mxnet"):
        assert expected in done.stdout
    for name in RULES:
        assert f"\n  {name} " in done.stdout
    assert "momentum                  a number from 0 to 1; default 0.9; sgd, nag only" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120


@pytest.mark.parametrize(
    ("given", "environment", "cores", "expected"),
    [
        ([], {}, 4, 4),
        ([], {"OMP_NUM_THREADS": "2"}, 4, 2),
        (["--threads", "3"], {"OMP_NUM_THREADS": "2"}, 4, 3),
        (["--threads=3"], {}, 4, 3),
        ([], {"LOCAL_WORLD_SIZE": "2"}, 4, 2),
        ([], {"LOCAL_WORLD_SIZE": "8"}, 4, 1),
    ],
)
def test_threads_are_those_of_the_pod(given: list[str], environment: dict[str, str], cores: int, expected: int) -> None:
    assert choose_threads(given, environment, cores) == expected
