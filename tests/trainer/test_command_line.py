"""The trainer as a program: its arguments, several processes, the export, and SageMaker's container contract."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kfp_image_tuning.components.data_preparation.preparation import prepare_dataset
from kfp_image_tuning.dataset.image_codec import encode_image
from kfp_image_tuning.trainer import sagemaker_container
from kfp_image_tuning.trainer.__main__ import choose_threads
from kfp_image_tuning.trainer.command_line import main
from kfp_image_tuning.trainer.model_files import load_model
from kfp_image_tuning.trainer.mxnet_format import read_mxnet_model
from tests.trainer.digits import digits, training_digits, validation_digits, write_records

HYPERPARAMETERS = {
    "num_classes": "10",
    "num_training_samples": "320",
    "num_layers": "20",
    "image_shape": "1,8,8",
    "epochs": "2",
    "learning_rate": "0.05",
}


TRAINER = "kfp_image_tuning.trainer"


def run(*arguments: str | Path, module: str = TRAINER, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *module.split(), *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("records")
    write_records(directory / "train" / "a.rec", training_digits().part(0, 200))
    write_records(directory / "train" / "b.rec", training_digits().part(200, 320))
    write_records(directory / "validation" / "validation.rec", validation_digits())
    (directory / "hyperparameters.json").write_text(json.dumps(HYPERPARAMETERS))
    return directory


def arguments(records: Path, model: Path) -> list[str | Path]:
    given = {
        "--train": records / "train",
        "--validation": records / "validation" / "validation.rec",
        "--hyperparameters": records / "hyperparameters.json",
        "--cache": records / "cache",
        "--model-dir": model,
    }
    return [part for pair in given.items() for part in pair]


def accuracies(log: str) -> list[float]:
    return [float(found) for found in re.findall(r"Epoch\[\d+\] Validation-accuracy=([0-9.]+)", log)]


def test_record_files_become_a_model_and_its_export(records: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    done = run(*arguments(records, model), "--set", "epochs=3", "--seed", "1")
    assert done.returncode == 0, done.stderr
    assert len(accuracies(done.stdout)) == 3, "--set goes before the file"
    classifier = load_model(model)
    assert classifier.document.validation_accuracy == pytest.approx(max(accuracies(done.stdout)), abs=1e-6)
    assert classifier.classes == tuple("0123456789")

    exported = run("export", "--format", "mxnet", "--model-dir", model, "--output", tmp_path / "exported")
    assert exported.returncode == 0, exported.stderr
    assert len(exported.stdout.splitlines()) == 3
    assert read_mxnet_model(tmp_path / "exported").num_layers == 20


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


def test_two_processes_train_one_model(records: Path, tmp_path: Path) -> None:
    torchrun = "torch.distributed.run --nproc-per-node 2 --rdzv-backend c10d --rdzv-endpoint 127.0.0.1:0 --module"
    done = run(TRAINER, *arguments(records, tmp_path), "--set", "epochs=3", module=torchrun)
    assert done.returncode == 0, done.stderr
    found = accuracies(done.stdout)
    assert len(found) == 3, "only the first process writes"
    assert max(found) > 0.6
    # What was measured by both together holds for the model that the first one saved.
    classifier = load_model(tmp_path)
    validation = validation_digits()
    right = classifier.predict(validation.images).argmax(axis=1) == validation.labels
    assert right.mean() == pytest.approx(max(found), abs=1e-6)


WRONG: dict[str, tuple[str, str]] = {
    "no data": ("", "--train and --validation: missing; give --dataset DIR"),
    "path that is not there": ("--train x.rec --validation x.rec", "x.rec: does not exist"),
    "no assignment": ("--dataset {records}/train --set epochs", "--set epochs: must have the form NAME=VALUE"),
    "folder without records": ("--dataset {records}", "holds no .rec file and no dataset.json"),
    "misspelt name": ("--dataset {records}/train --set epoch=3", "did you mean epochs?"),
    "missing file": ("--dataset {records}/train --hyperparameters x.json", "x.json: cannot be read (No such file"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_are_told_without_a_traceback(records: Path, tmp_path: Path, case: str) -> None:
    given, expected = WRONG[case]
    done = run(*given.format(records=records).split(), "--model-dir", tmp_path)
    assert done.returncode == 1
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_help_teaches_by_examples() -> None:
    done = run("--help")
    assert done.returncode == 0
    for expected in ("examples:", "--hyperparameters FILE", "torchrun", "--initial-model", "export --format mxnet"):
        assert expected in done.stdout


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


def contract(root: Path, records: Path, **changes: Any) -> Path:
    """Lay out what SageMaker mounts."""
    (root / "input" / "config").mkdir(parents=True)
    values = {
        **HYPERPARAMETERS,
        "epochs": "1",
        "sagemaker_region": '"eu-west-1"',
        "_tuning_objective_metric": "x",
        **changes,
    }
    (root / "input" / "config" / "hyperparameters.json").write_text(json.dumps(values))
    for channel in ("train", "validation"):
        (root / "input" / "data").mkdir(exist_ok=True)
        (root / "input" / "data" / channel).symlink_to(records / channel)
    return root


def test_the_container_trains_by_sagemakers_contract(
    records: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root = contract(tmp_path / "ml", records, optimizer='"sgd"')
    # Without arguments, as in a container whose entry point is the trainer: the mounted files are found.
    done = run(SAGEMAKER_BASE_DIR=str(root))
    assert done.returncode == 0, done.stderr
    assert len(accuracies(done.stdout)) == 1
    assert load_model(root / "model").image_shape == (1, 8, 8)
    assert not (root / "output" / "failure").exists()

    # The model channel: another training goes on from there.
    further = contract(tmp_path / "further", records)
    (further / "input" / "data" / "model").symlink_to(root / "model")
    assert sagemaker_container.train_in(further) == 0
    assert "Continuing from the model in" in capfd.readouterr().out


def test_a_failing_container_leaves_its_reason(records: Path, tmp_path: Path) -> None:
    root = contract(tmp_path, records, epochs="0", learning_rate="7")
    done = run("train", SAGEMAKER_BASE_DIR=str(root))
    assert done.returncode == 1
    reason = (root / "output" / "failure").read_text()
    assert "epochs: 0 is not accepted" in reason
    assert "learning_rate: 7.0 is not accepted" in reason
    assert "Traceback" not in done.stderr


def test_a_channel_without_records_is_told(records: Path, tmp_path: Path) -> None:
    root = contract(tmp_path, records)
    (root / "input" / "data" / "train").unlink()
    assert sagemaker_container.train_in(root) == 1
    assert "holds no .rec file; the channel train needs RecordIO" in (root / "output" / "failure").read_text()


def test_several_machines_start_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    command = sagemaker_container.launch_command(["algo-1", "algo-2"], "algo-2")
    assert command is not None
    assert command[:3] == [sys.executable, "-m", "torch.distributed.run"]
    assert {"--nnodes=2", "--node-rank=1", "--master-addr=algo-1"} <= set(command)
    monkeypatch.setenv("RANK", "1")
    assert sagemaker_container.launch_command(["algo-1", "algo-2"], "algo-2") is None
