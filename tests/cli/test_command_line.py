"""The command line: quick to answer, clear when it refuses, importing no more than a command needs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kfp_image_tuning.cli.command_line import build_parser, main
from kfp_image_tuning.cli.pipeline_options import given_options, to_parameters
from kfp_image_tuning.cli.search_settings import settings_from
from kfp_image_tuning.steps.tuning_settings import TuningSettings

COMMANDS = ("run", "plan", "prepare", "evaluate", "report", "compile", "demo")
HEAVY = ("torch", "kfp", "optuna", "cv2", "numpy", "yaml", "PIL", "importlib.metadata", "google")


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_imports_nothing_heavy(command: str) -> None:
    program = (
        "import sys\n"
        "from kfp_image_tuning.cli.command_line import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit as end:\n    assert not end.code\n"
        f"print('LOADED', [name for name in {HEAVY} if name in sys.modules], file=sys.stderr)\n"
    )
    arguments = [command] if command else []
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments, "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "LOADED []" in done.stderr
    assert "usage: kfp-image-tuning" in done.stdout


def test_version_is_the_distributions(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith("kfp-image-tuning 0.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["runn"], "did you mean run?"),
        (["--versoin"], "did you mean --version?"),
        (["run", "--ouput", "x"], "--ouput: there is no such option; did you mean --output?"),
        (
            ["run", "--data", "x", "--output", "y", "--trial=3"],
            "--trial: there is no such option; did you mean --max-trials?",
        ),
        (["plan", "--strategy", "bayes"], "did you mean bayesian?"),
        (["run"], "--output"),
        (["run", "--output", "x"], "--data is needed"),
        (["run", "--data", "x", "--output", "y", "--max-trials", "0"], "at least 1, got 0"),
        (["run", "--data", "x", "--output", "y", "--max-seconds", "soon"], "is not a duration"),
        (["run", "--data", "x", "--output", "y", "--target-accuracy", "97"], "97%"),
        (["run", "--data", "x", "--output", "y", "--engine", "vizier"], "is not one of local, katib, sagemaker"),
        (["run", "--data", "x", "--output", "y", "--search-space", "none.json"], "none.json: cannot be read"),
        (["run", "--data", "x", "--output", "y", "--search-space", "{bad"], "is not valid JSON"),
        (["run", "--data", "x", "--output", "y", "--search-space", '{"a": NaN'], "is not valid JSON"),
        (["prepare", "--data", "x", "--output", "y", "--image-shape", "224"], "is not an image shape"),
        (["prepare", "--data", "x", "--output", "y", "--max-invalid-images", "few"], "is not a number of images"),
        (["plan", "--patience", "2"], "at least 3, got 2"),
        (["compile"], "--output"),
    ],
)
def test_wrong_command_ends_with_2_and_a_hint(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert "--help" in error
    assert len(error.splitlines()) == 2


def test_every_option_gives_the_parameter_that_it_is_named_for(tmp_path: Path) -> None:
    space = tmp_path / "space.yaml"
    space.write_text(yaml.safe_dump({"optimizer": ["sgd", "adam"], "momentum": 0.9}), encoding="utf-8")
    typed = f"""run --data images --output x --search-space {space} --preset practical --strategy hyperband
        --search-mode flat --max-trials 9 --parallel-trials 3 --epochs 4 --max-seconds 1h30m --target-accuracy 97%
        --patience 5 --max-failed-trials 0 --seed 7 --no-stop-bad-trials --image-shape 3,32,32 --shards 2
        --max-invalid-images 5% --min-accuracy 0.9 --validation-fraction 0.2 --test-fraction 0.3 --baseline old.json
        --encoding jpeg --quality 80 --training-margin 10% --classes a,b --initial-model model"""
    arguments = build_parser().parse_args(typed.split())
    options = given_options(arguments)
    assert to_parameters(options) == {
        "data_images": "images",
        "data_image_shape": "3,32,32",
        "data_validation_fraction": 0.2,
        "data_test_fraction": 0.3,
        "data_shards": 2,
        "data_max_invalid_images": "5%",
        "data_seed": 7,
        "data_encoding": "jpeg",
        "data_quality": 80,
        "data_training_margin": 0.1,
        "data_classes": "a,b",
        "tune_search_space": {"optimizer": ["sgd", "adam"], "momentum": 0.9},
        "tune_preset": "practical",
        "tune_strategy": "hyperband",
        "tune_search_mode": "flat",
        "tune_epochs": 4,
        "tune_stop_bad_trials": False,
        "tune_seed": 7,
        "tune_initial_model": "model",
        "tune_max_trials": 9,
        "tune_parallel_trials": 3,
        "tune_max_seconds": 5400.0,
        "tune_target_accuracy": 0.97,
        "tune_patience": 5,
        "tune_max_failed_trials": 0,
        "eval_min_accuracy": 0.9,
        "eval_baseline": "old.json",
    }
    assert settings_from(options) == TuningSettings(
        search_space={"optimizer": ["sgd", "adam"], "momentum": 0.9},
        preset="practical",
        strategy="hyperband",
        search_mode="flat",
        max_trials=9,
        parallel_trials=3,
        epochs=4,
        max_seconds=5400.0,
        target_accuracy=0.97,
        patience=5,
        max_failed_trials=0,
        stop_bad_trials=False,
        seed=7,
        initial_model="model",
    )


def test_no_option_leaves_the_pipelines_defaults() -> None:
    options = given_options(build_parser().parse_args(["run", "--data", "images", "--output", "x"]))
    assert options == {"data": "images"}
    assert settings_from(options) == TuningSettings()


@pytest.mark.parametrize("preset", ["documented", "practical"])
def test_plan_without_images_explains_the_space_and_what_is_missing(
    preset: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "--preset", preset, "--search-space", '{"learning_rate": {"max": 0.9}}']) == 0
    output = capsys.readouterr().out
    assert "learning_rate" in output
    assert "Warning: learning_rate: 0.9 is outside" in output
    assert "kfp-image-tuning prepare" in output
    assert ("weights hardly move" in output) is False, "a range of the user's own is not a narrowing of the preset's"
    assert ("gradient is felt" in output) is (preset == "practical")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report", "--run", "nowhere"], "no result.json"),
        (["run", "--resume", "--output", "nowhere"], "no run to continue with"),
        (["evaluate", "--model", ".", "--dataset", ".", "--output", "out"], "holds no dataset.json"),
    ],
)
def test_failure_is_a_message_and_exit_code_1(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("Error [")
    assert message in error


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["plan", "--search-space", '{"learning_rat": 1}'], "search-space"),
        (["plan", "--search-space", '{"momentum": 7}'], "search-space"),
        (["plan", "--data", "nowhere"], "parameters"),
        (["prepare", "--data", "nowhere", "--output", "out"], "parameters"),
        (["evaluate", "--model", ".", "--dataset", "nowhere", "--output", "out"], "parameters"),
        (["evaluate", "--model", ".", "--dataset", ".", "--output", "out", "--baseline", "nowhere"], "parameters"),
        (["run", "--data", ".", "--output", "out", "--search-space", '{"momentun": 0.9}'], "parameters"),
        (["plan", "--gpus", "2"], "parameters"),
        (["plan", "--engine", "katib", "--data", "pvc://a/b", "--katib-options", '{"pod": {}}'], "engine-options"),
        (["compile", "--image", "no image", "--output", "x.yaml"], "compilation"),
    ],
)
def test_wrong_values_end_with_2_and_a_code(
    arguments: list[str], code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith(f"Error [{code}]: ")


def test_reader_that_stops_reading_causes_no_traceback() -> None:
    done = subprocess.run(
        f"{sys.executable} -m kfp_image_tuning.cli.command_line plan --preset practical | head -n 1",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert done.stdout.startswith("Search space")
    assert done.stderr == ""


def test_prepared_images_are_described(digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "dataset"
    assert (
        main(["prepare", "--data", str(digits), "--output", str(target), "--test-fraction", "0.2", "--shards", "2"])
        == 0
    )
    assert "kfp-image-tuning plan --data" in capsys.readouterr().out
    document = json.loads((target / "dataset.json").read_text(encoding="utf-8"))
    assert document["fractions"] == {"train": 0.7, "validation": 0.1, "test": 0.2}
    assert len(document["splits"]["train"]["shards"]) == 2
