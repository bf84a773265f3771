"""A whole training on real digits: what it learns, prints, saves, repeats, resumes and how it ends."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from kfp_image_tuning.core.errors import TrainingError
from kfp_image_tuning.model.model_files import load_model
from kfp_image_tuning.trainer.reports import EpochReport, StepReport, TrainingResult
from kfp_image_tuning.trainer.training import train
from tests.trainer.digits import (
    CLASSES,
    Images,
    digits,
    make_hyperparameters,
    training_digits,
    validation_digits,
)


def run(directory: Path, *, training: Images | None = None, seed: int = 1, **options: Any) -> TrainingResult:
    settings = {name: options.pop(name) for name in ("on_epoch", "on_progress", "initial_model") if name in options}
    checkpoints = options.pop("checkpoint_directory", None)
    log = options.pop("log", lambda line: None)
    hyperparameters = make_hyperparameters(**options)
    return train(
        hyperparameters,
        training or training_digits(),
        validation_digits(),
        classes=[f"digit {number}" for number in range(hyperparameters.num_classes)],
        model_directory=directory / "model",
        seed=seed,
        log=log,
        checkpoint_directory=checkpoints,
        **settings,
    )


def weights(directory: Path) -> bytes:
    return (directory / "model" / "model.safetensors").read_bytes()


def without_times(result: TrainingResult) -> list[Any]:
    return [{**vars(report), "seconds": None} for report in result.history]


def test_digits_are_learned_and_the_best_epoch_is_what_is_saved(tmp_path: Path) -> None:
    result = run(tmp_path, training=training_digits(640), num_training_samples=640, epochs=4, lr_scheduler_step=(3,))
    assert result.outcome == "completed"
    assert result.best_validation_accuracy > 0.9
    best = max(result.history, key=lambda report: (report.validation_accuracy, -report.epoch))
    assert (result.best_epoch, result.best_validation_accuracy) == (best.epoch, best.validation_accuracy)

    classifier = load_model(tmp_path / "model")
    validation = validation_digits()
    predicted = classifier.predict(validation.images)
    assert (predicted.argmax(axis=1) == validation.labels).mean() == pytest.approx(best.validation_accuracy)
    assert classifier.document.epoch == best.epoch
    assert classifier.classes[3] == "digit 3"


@pytest.mark.parametrize("optimizer", ["sgd", "nag", "adam", "rmsprop"])
def test_every_optimizer_learns(tmp_path: Path, optimizer: str) -> None:
    rate = {"sgd": 0.05, "nag": 0.05, "adam": 0.005, "rmsprop": 0.001}[optimizer]
    result = run(tmp_path, optimizer=optimizer, learning_rate=rate, epochs=3)
    assert result.history[-1].train_accuracy > 0.6
    assert result.history[-1].train_loss < result.history[0].train_loss


def test_the_log_has_the_built_in_algorithms_lines(tmp_path: Path) -> None:
    lines: list[str] = []
    result = run(tmp_path, epochs=1, top_k=3, mini_batch_size=16, log=lines.append)
    (report,) = result.history
    expected = [
        r"Training on cpu in float32, 16 images a step",
        r"kv_store: device",
        r"Epoch\[0\] Batch \[20\]\tSpeed: [0-9.]+ samples/sec\taccuracy=0\.\d{6}",
        rf"Epoch\[0\] Train-accuracy={report.train_accuracy:.6f}",
        rf"Epoch\[0\] Train-top_k_accuracy_3={report.train_top_k_accuracy:.6f}",
        r"Epoch\[0\] Time cost=\d+\.\d{3}",
        rf"Epoch\[0\] Validation-accuracy={report.validation_accuracy:.6f}",
        rf"Epoch\[0\] Validation-top_k_accuracy_3={report.validation_top_k_accuracy:.6f}",
        rf"Storing the best model with validation accuracy: {report.validation_accuracy:.6f}",
        rf'Saved checkpoint to "{re.escape(str(tmp_path))}/model/model.safetensors"',
    ]
    assert len(lines) == len(expected)
    for line, pattern in zip(lines, expected, strict=True):
        assert re.fullmatch(pattern, line), line


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"augmentation_type": "crop_color_transform", "epochs": 1}
    training = digits(scale=2).part(0, 160)
    settings |= {"image_shape": (1, 12, 12), "num_training_samples": 160}
    runs = {name: tmp_path / name for name in ("first", "again", "other")}
    validation = digits(scale=2).part(1400, 1500)
    results: list[TrainingResult] = []
    for name, directory in runs.items():
        torch.manual_seed(len(results))
        hyperparameters = make_hyperparameters(**settings)
        seed = 2 if name == "other" else 1
        results.append(
            train(
                hyperparameters,
                training,
                validation,
                classes=CLASSES,
                model_directory=directory / "model",
                seed=seed,
                log=lambda line: None,
            )
        )
    assert without_times(results[0]) == without_times(results[1])
    assert weights(runs["first"]) == weights(runs["again"])
    assert weights(runs["first"]) != weights(runs["other"])


def test_nothing_is_left_behind_in_the_process(tmp_path: Path) -> None:
    torch.manual_seed(5)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    np.random.seed(5)
    numpy_state = np.random.get_state(legacy=False)["state"]["key"].copy()
    run(tmp_path, epochs=1, augmentation_type="crop")
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state(legacy=False)["state"]["key"] == numpy_state).all()
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()
    assert float(torch.tensor(1e-39) * 0.5) > 0, "numbers near zero count again"


@pytest.mark.parametrize("frequency", [None, 1])
def test_a_resumed_training_ends_with_the_same_bits(tmp_path: Path, frequency: int | None) -> None:
    settings: dict[str, Any] = {"epochs": 3, "augmentation_type": "crop", "optimizer": "adam", "learning_rate": 0.005}
    settings |= {"checkpoint_frequency": frequency, "lr_scheduler_step": (2,)}
    whole = run(tmp_path / "whole", **settings, checkpoint_directory=tmp_path / "whole" / "checkpoints")

    checkpoints = tmp_path / "checkpoints"
    stopped = run(tmp_path / "first", **settings, checkpoint_directory=checkpoints, on_epoch=lambda report: False)
    assert (stopped.outcome, len(stopped.history)) == ("stopped", 1)
    lines: list[str] = []
    resumed = run(tmp_path / "second", **settings, checkpoint_directory=checkpoints, log=lines.append)

    assert without_times(resumed) == without_times(whole)
    assert weights(tmp_path / "second") == weights(tmp_path / "whole")
    assert f"Resuming after epoch 0 from {checkpoints}" in lines
    kept = sorted(path.name for path in checkpoints.iterdir())
    assert kept == (["epoch-0002"] if frequency is None else ["epoch-0000", "epoch-0001", "epoch-0002"])
    assert load_model(checkpoints / kept[-1]).document.epoch == 2


@pytest.mark.slow
def test_a_killed_training_goes_on_where_it_was(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; import torch; torch.set_num_threads(1);"
        "from tests.trainer.test_training import run;"
        "run(Path(sys.argv[1]), epochs=3, checkpoint_directory=Path(sys.argv[1]) / 'checkpoints')"
    )
    root = Path(__file__).parents[2]
    killed = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "killed")], cwd=root)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "killed").glob("checkpoints/epoch-*")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()

    resumed = run(tmp_path / "killed", epochs=3, checkpoint_directory=tmp_path / "killed" / "checkpoints")
    whole = run(tmp_path / "whole", epochs=3)
    assert len(resumed.history) == 3
    assert without_times(resumed) == without_times(whole)
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")


def test_a_checkpoint_of_another_trial_is_refused(tmp_path: Path) -> None:
    run(tmp_path, epochs=1, checkpoint_directory=tmp_path / "checkpoints")
    with pytest.raises(TrainingError) as refused:
        run(tmp_path, epochs=1, learning_rate=0.1, seed=9, checkpoint_directory=tmp_path / "checkpoints")
    text = str(refused.value)
    assert "has learning_rate 0.05, this training 0.1" in text
    assert "has seed 1, this training 9" in text
    assert "choose another checkpoint folder" in text


def test_checkpoints_at_the_frequency_lie_beside_the_model(tmp_path: Path) -> None:
    run(tmp_path, epochs=3, checkpoint_frequency=2)
    assert [path.name for path in (tmp_path / "model" / "checkpoints").iterdir()] == ["epoch-0001"]
    assert not (tmp_path / "model" / "checkpoints" / "epoch-0001" / "best" / "checkpoints").exists()


def test_the_caller_stops_a_training_after_an_epoch(tmp_path: Path) -> None:
    reports: list[EpochReport] = []

    def refuse_third(report: EpochReport) -> bool:
        reports.append(report)
        return report.epoch < 1

    result = run(tmp_path, epochs=5, on_epoch=refuse_third)
    assert result.outcome == "stopped"
    assert result.history == tuple(reports)
    assert [report.epoch for report in reports] == [0, 1]
    assert (tmp_path / "model" / "model.json").exists()


def test_the_caller_stops_a_training_within_an_epoch(tmp_path: Path) -> None:
    reports: list[StepReport] = []

    def refuse(report: StepReport) -> bool:
        reports.append(report)
        return False

    result = run(tmp_path, mini_batch_size=16, on_progress=refuse)
    assert (result.outcome, result.best_epoch, result.best_validation_accuracy) == ("stopped", None, 0.0)
    (report,) = reports
    assert (report.epoch, report.steps) == (0, 20)
    assert 0 < report.step <= 20
    assert 0 <= report.train_accuracy <= 1
    assert report.train_loss > 0
    assert not (tmp_path / "model").exists()


def test_a_diverged_training_is_a_finished_one_and_says_so(tmp_path: Path) -> None:
    lines: list[str] = []
    # With gamma 1 and eps 0 the very first update divides by zero.
    result = run(tmp_path, optimizer="rmsprop", gamma=1.0, eps=0.0, log=lines.append)
    assert (result.outcome, result.best_epoch, result.best_validation_accuracy) == ("diverged", None, 0.0)
    assert result.history == ()
    assert "Epoch[0] Validation-accuracy=0.000000" in lines
    assert any("diverged" in line for line in lines)
    assert not any("nan" in line.lower().replace("training", "") for line in lines)


def test_a_training_that_diverges_later_keeps_its_best_epoch(tmp_path: Path) -> None:
    checkpoints = tmp_path / "checkpoints"
    first = run(tmp_path, epochs=3, checkpoint_directory=checkpoints, on_epoch=lambda report: False)
    best = weights(tmp_path)
    # The next update overflows.
    path = checkpoints / "epoch-0000" / "optimizer.safetensors"
    save_file({name: torch.full_like(value, 1e38) for name, value in load_file(path).items()}, path)
    lines: list[str] = []
    result = run(tmp_path, epochs=3, checkpoint_directory=checkpoints, log=lines.append)
    assert (result.outcome, result.best_epoch) == ("diverged", 0)
    assert result.history == first.history
    assert weights(tmp_path) == best
    assert "Training diverged" in lines[-1]
    assert lines[-1].endswith("the best model stays that of epoch 0")
    assert not any("Epoch[1] Validation" in line for line in lines)


def test_early_stopping_ends_a_training_that_no_longer_improves(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"early_stopping": True, "early_stopping_min_epochs": 2, "early_stopping_patience": 1}
    result = run(tmp_path, **settings, early_stopping_tolerance=1.0, epochs=9, learning_rate=0.0)
    assert (result.outcome, len(result.history)) == ("early_stopped", 2)


def test_the_learning_rate_drops_after_the_named_epochs(tmp_path: Path) -> None:
    result = run(tmp_path, epochs=3, lr_scheduler_step=(1, 2), lr_scheduler_factor=0.5)
    assert [report.learning_rate for report in result.history] == [0.05, 0.025, 0.0125]


@pytest.mark.parametrize("weighted", [False, True])
def test_several_labels_are_learned(tmp_path: Path, weighted: bool) -> None:
    def properties(data: Images) -> Images:
        # Each image has several of three properties.
        columns = [data.labels % 2 == 0, data.labels > 4, data.labels == 8]
        return Images(data.images, np.stack(columns, axis=1).astype(np.float32))

    result = train(
        make_hyperparameters(num_classes=3, multi_label=True, use_weighted_loss=weighted, epochs=3),
        properties(training_digits()),
        properties(validation_digits()),
        classes=("even", "large", "eight"),
        model_directory=tmp_path,
        seed=0,
        log=lambda line: None,
    )
    assert result.best_validation_accuracy > 0.8
    probabilities = load_model(tmp_path).predict(validation_digits().images)
    right = (probabilities > 0.5) == (properties(validation_digits()).labels > 0.5)
    assert right.mean() == pytest.approx(result.best_validation_accuracy)


def test_float16_trains_and_says_what_this_cpu_computes_in(tmp_path: Path) -> None:
    lines: list[str] = []
    result = run(tmp_path, precision_dtype="float16", epochs=3, log=lines.append)
    assert result.history[-1].train_accuracy > 0.6
    assert "bfloat16" in lines[0] or "float32, as this CPU" in lines[0]


def test_larger_images_are_cropped(tmp_path: Path) -> None:
    large = digits(scale=2)
    for augmentation in (None, "crop", "crop_color", "crop_color_transform"):
        result = train(
            make_hyperparameters(image_shape=(1, 14, 14), augmentation_type=augmentation, epochs=1),
            large.part(0, 64),
            large.part(64, 128),
            classes=CLASSES,
            model_directory=tmp_path,
            seed=0,
            log=lambda line: None,
        )
        assert result.outcome == "completed"
        assert load_model(tmp_path).image_shape == (1, 14, 14)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "images too small": ({"image_shape": (1, 16, 16)}, "stored as 1,8,8, from which image_shape 1,16,16 cannot be cut"),
    "other channels": ({"image_shape": (3, 8, 8)}, "stored as 1,8,8"),
    "labels above num_classes": ({"num_classes": 5}, "are between 0 and 9, num_classes 5 allows 0 to 4"),
    "one label each for multi_label": ({"multi_label": True}, "multi_label needs 10 numbers"),
    "batch larger than the images": (
        {"num_training_samples": 2000, "mini_batch_size": 1000},
        "a step takes 1000 images, there are 320",
    ),
    "pretrained without weights": (
        {"use_pretrained_model": True, "num_layers": 18, "image_shape": (3, 224, 224)},
        "use_pretrained_model: is 1, but no weights are given",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_trained_is_refused_in_clear_words(tmp_path: Path, case: str) -> None:
    changes, expected = REFUSED[case]
    training, validation = training_digits(), validation_digits()
    if "pretrained" in case:
        images = np.zeros((40, 224, 224, 3), np.uint8)
        training = validation = Images(images, np.zeros(40, np.int64))
    with pytest.raises(TrainingError, match=re.escape(expected)):
        train(
            make_hyperparameters(**changes),
            training,
            validation,
            classes=CLASSES[: changes.get("num_classes", 10)],
            model_directory=tmp_path,
            seed=0,
        )


def test_class_names_must_be_as_many_as_classes(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="2 names for num_classes 10"):
        train(
            make_hyperparameters(),
            training_digits(),
            validation_digits(),
            classes=("a", "b"),
            model_directory=tmp_path,
            seed=0,
        )
