"""The first step: all parameters of all steps, everything that is wrong at once, by the run form's names."""

import json
from pathlib import Path
from typing import Any

import pytest

from kfp_image_tuning.cli.command_line import main
from kfp_image_tuning.core.errors import ParameterError
from kfp_image_tuning.steps.preflight.launcher import launch
from kfp_image_tuning.steps.preflight.parameters import find_problems

GOOD: dict[str, dict[str, Any]] = {
    "local": {},
    "katib": {"tune_storage": "s3://bucket/images"},
    "sagemaker": {"tune_role": "arn:aws:iam::123456789012:role/tuning", "tune_bucket": "my-bucket"},
}


def problems(engine: str = "local", *, in_pod: bool = True, **values: Any) -> list[str]:
    given = {"data_images": "s3://bucket/images", **GOOD[engine], **values}
    return [str(problem) for problem in find_problems(engine, given, in_pod=in_pod)]


@pytest.mark.parametrize("engine", GOOD)
def test_defaults_are_fine(engine: str) -> None:
    assert problems(engine) == []


@pytest.mark.parametrize(
    ("engine", "name", "value", "told"),
    [
        ("local", "data_images", "", "is empty; give the folder"),
        ("local", "data_images", "  ", "nothing but blanks"),
        ("local", "data_images", " s3://bucket/images", "has blanks around it"),
        ("local", "data_images", "s3://my bucket/images", "is not an address"),
        ("local", "data_images", "photos", "is not an absolute path"),
        ("local", "data_images", "~/photos", "is not an absolute path"),
        ("local", "data_images", "s3://${BUCKET}/images", "shell variable"),
        ("local", "data_image_shape", "3x224x224", "is not an image shape"),
        ("local", "data_validation_fraction", 20, "did you mean 0.2?"),
        ("local", "data_shards", 0, "at least 1"),
        ("local", "data_max_invalid_images", "many", "is not a number of images"),
        ("local", "tune_search_space", {"lerning_rate": 0.1}, "lerning_rate"),
        ("local", "tune_preset", "best", "documented"),
        ("local", "tune_strategy", "genetic", "bayesian"),
        ("local", "tune_max_trials", 0, "at least 1"),
        ("local", "tune_target_accuracy", 97, "did you mean 0.97?"),
        ("local", "tune_work_directory", "/work/[[RunUUID]]", "write {run}"),
        ("local", "eval_min_accuracy", 95, "did you mean 0.95?"),
        ("local", "tune_initial_model", " ", "nothing but blanks"),
        ("sagemaker", "tune_initial_model", "/models/old", "is not in S3"),
        ("katib", "tune_initial_model", "models/old", "is not an absolute path"),
        ("local", "tune_prior", "off", "is not one of auto, none"),
        ("local", "data_cpu", "4 cores", "is not a number of processors; write 4"),
        ("local", "data_cpu", "", "write a number such as 4"),
        ("local", "data_cpu", "16Gi", "write 16"),
        ("local", "data_cpu", "64000", "write a number such as 4"),
        ("local", "tune_memory", "16gb", "is not an amount of memory; write 16Gi"),
        ("local", "tune_memory", "512 MB", "write 512Mi"),
        ("local", "tune_memory", "16", "is 16 bytes, in which nothing runs; write 16Gi"),
        ("local", "tune_memory", "", "write 16Gi, or 0"),
        ("local", "tune_accelerator", "A100", "is not a resource of a node"),
        ("local", "tune_accelerator", "nvidia.com/gpu", "tune_accelerator_count: is 0, so no nvidia.com/gpu"),
        ("local", "tune_accelerator_count", "1", "tune_accelerator is empty"),
        ("local", "tune_accelerator_count", "one", "is not a whole number"),
        ("katib", "eval_memory", "-1Gi", "eval_memory"),
        ("sagemaker", "eval_cpu", "1.5.2", "eval_cpu"),
        ("katib", "tune_data", " ", "nothing but blanks"),
        ("katib", "tune_storage", "https://host/folder", "is not a place that a pod can reach"),
        ("katib", "tune_katib_options", {"algoritm": "tpe"}, "algoritm"),
        ("sagemaker", "tune_role", "tuning", "arn:aws"),
        ("sagemaker", "tune_bucket", "My Bucket", "is not a bucket's name"),
        ("sagemaker", "tune_sagemaker_options", {"instance": "ml.g5.xlarge"}, "instance"),
        ("sagemaker", "eval_mode", "online", "is not one of transform, offline"),
        ("sagemaker", "eval_instance_type", "m5.xlarge", "ml.m5.xlarge"),
    ],
)
def test_each_mistake_is_told_by_the_forms_name(engine: str, name: str, value: Any, told: str) -> None:
    found = problems(engine, **{name: value})
    assert found
    assert any(told in problem for problem in found), found
    assert any(name in problem.partition(": ")[0] or name == "tune_role" for problem in found), found


def test_amounts_in_kubernetes_words_are_fine() -> None:
    amounts: dict[str, Any] = {"data_cpu": "500m", "data_memory": "1.5Gi", "eval_cpu": "0.5", "tune_memory": "64G"}
    assert problems(**amounts, tune_accelerator="nvidia.com/mig-1g.10gb", tune_accelerator_count="2") == []


def test_all_mistakes_are_told_at_once() -> None:
    values = {"data_images": "", "data_shards": 0, "tune_max_trials": 0, "eval_min_accuracy": 95.0}
    with pytest.raises(ParameterError) as caught:
        launch("local", "run-1", values)
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "data_images",
        "data_shards",
        "tune_max_trials",
        "eval_min_accuracy",
    ]


@pytest.mark.parametrize("layers", [20, 152])
def test_a_depth_that_suits_some_image_shape_is_not_refused_before_the_images_are_read(layers: int) -> None:
    assert problems(tune_search_space={"num_layers": layers}) == []


def test_a_baseline_is_read(tmp_path: Path) -> None:
    baseline = tmp_path / "evaluation.json"
    baseline.write_text(json.dumps({"schema_version": 99}))
    assert any("eval_baseline" in problem for problem in problems(eval_baseline=str(baseline)))
    missing = problems(in_pod=False, eval_baseline=str(tmp_path / "nothing.json"))
    assert missing == [f"eval_baseline: {tmp_path}/nothing.json: there is no such file or folder; check the path"]


def test_the_run_takes_its_place_in_work_directories(tmp_path: Path) -> None:
    images = str(tmp_path)
    found = launch("local", "run-1", {"data_images": images, "tune_work_directory": "/work/{run}/search"})
    assert found.tune_work_directory == "/work/run-1/search"
    # Nothing tells whether files on a volume have changed, so no other run's preparation may answer.
    assert found.source_fingerprint == "run-1"


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--data", "", "--output", "x"],
        ["run", "--data", "photos", "--output", ""],
        ["run", "--data", "photos", "--output", "x", "--initial-model="],
        ["prepare", "--data", " ", "--output", "x"],
        ["plan", "--data="],
        ["evaluate", "--model", "", "--dataset", "d", "--output", "o"],
    ],
)
def test_an_unset_variable_on_the_command_line_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert "is empty; give a value (is a shell variable not set?)" in capsys.readouterr().err


def test_the_command_line_tells_all_by_its_own_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "--data", str(tmp_path / "nothing"), "--output", str(tmp_path / "run")]
    assert main([*words, "--validation-fraction", "0.6", "--test-fraction", "0.6"]) == 2
    told = capsys.readouterr().err
    assert f"--data: {tmp_path}/nothing: there is no such file or folder" in told
    assert "--validation-fraction and --test-fraction: " in told
    assert not (tmp_path / "run").exists()
