"""The options of the engines, and plans of searches that run elsewhere, as they are typed."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from kfp_image_tuning.cli import engine_options
from kfp_image_tuning.cli.command_line import main
from kfp_image_tuning.core.installed_code import config_map_name
from kfp_image_tuning.engines.katib.request.validation import check_experiment
from kfp_image_tuning.options.pipelines import ENGINES


def documents_of(captured: str) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for document in yaml.safe_load_all(captured):
        found.setdefault(document["kind"], []).append(document)
    return found


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--engine", "sagemaker", "--data", "photos"], ["--role: is needed", "--bucket: is needed"]),
        (["--gpus", "2", "--data", "photos"], ["--gpus: is an option of --engine katib, and the engine is local"]),
        (
            ["--engine", "katib", "--bucket", "b", "--data", "pvc://claim/data"],
            ["--bucket: is an option of --engine sagemaker, and the engine is katib"],
        ),
        (["--engine", "katib"], ["--data: is needed with --engine katib"]),
        (
            ["--engine", "katib", "--data", "pvc://claim/data", "--katib-options", '{"podz": {}}'],
            ["podz is unknown; did you mean pods?"],
        ),
        (
            ["--engine", "katib", "--data", "pvc://claim/data", "--katib-options", '{"pods": {"gpus": 3}}'],
            ["pods.gpus is given by gpus; leave it out"],
        ),
        (["--engine", "katib", "--data", "pvc://claim/../data"], ["is not a place that a pod can reach"]),
        (
            ["--engine", "katib", "--data", "pvc://claim/data", "--image", "a", "--katib-options", '{"pods": 3}'],
            ["Katib options: pods must be an object, got 3"],
        ),
        (
            ["--engine", "katib", "--data", "pvc://a", "--image", "a", "--katib-options", '{"pods": {"image": "b"}}'],
            ["--image: is given by --katib-options as well, as pods.image; leave one of them out"],
        ),
        (
            ["--keep-experiments", "--data", "photos"],
            ["--keep-experiments: is an option of --engine katib, and the engine is local"],
        ),
    ],
)
def test_what_does_not_fit_the_engine_is_refused(
    arguments: Sequence[str], words: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", *arguments]) == 2
    captured = capsys.readouterr()
    assert not captured.out
    for text in words:
        assert text in captured.err


def test_plan_shows_the_prior_unless_it_is_off(prepared_digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = {}
    for strategy, prior in (("bayesian", "auto"), ("bayesian", "none"), ("random", "auto")):
        command = ["plan", "--data", str(prepared_digits), "--strategy", strategy, "--prior", prior]
        assert main([*command, "--search-space", '{"momentum": {"min": 0.5}}']) == 0
        _, _, shown[strategy, prior] = capsys.readouterr().out.partition("Prior, where the search looks first")
    lines = shown["bayesian", "auto"].partition("\n\n")[0]
    assert (
        "learning_rate    0.01 to 0.3 (with sgd, nag); 0.0005 to 0.02 (with adam); 0.0002 to 0.01 (with rmsprop)"
        in lines
    )
    assert "momentum" not in lines, "a range of the user's own"
    assert not shown["bayesian", "none"]
    assert not shown["random", "auto"]


def test_plan_for_katib_is_yaml_that_can_be_applied(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["plan", "--engine", "katib", "--data", "pvc://images/dataset", "--gpus", "1", "--max-trials", "40"]
    assert main(command) == 0
    captured = capsys.readouterr()
    documents = documents_of(captured.out)
    assert sorted(documents) == ["Experiment"]
    for experiment in documents["Experiment"]:
        check_experiment(experiment)
    assert sum(experiment["spec"]["maxTrialCount"] for experiment in documents["Experiment"]) == 40
    assert f"ConfigMap {config_map_name()}; kfp-image-tuning install --namespace" in captured.err
    assert "Trials read pvc://images/dataset and leave their models in pvc://images/models." in captured.err
    assert "Warning: the data set on the volume cannot be read from here" in captured.err


def test_the_usual_options_of_katib_need_no_object(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["plan", "--engine", "katib", "--data", "pvc://images/dataset", "--search-mode", "flat"]
    command += ["--image", "me/trainer:1", "--namespace", "team", "--katib-options", '{"pods": {"memory": "4Gi"}}']
    assert main(command) == 0
    (experiment,) = documents_of(capsys.readouterr().out)["Experiment"]
    assert experiment["metadata"]["namespace"] == "team"
    (container,) = experiment["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "me/trainer:1"
    assert container["resources"]["limits"]["memory"] == "4Gi"


def test_options_become_fields_of_the_options_object() -> None:
    given = {
        "keep_experiments": False,
        "pending_timeout": 60.0,
        "katib_options": {"pods": {"memory": "4Gi"}},
        "image": "a",
    }
    before = json.dumps(given)
    assert engine_options.katib_options(given) == {
        "keep_experiments": False,
        "pending_timeout_seconds": 60.0,
        "pods": {"memory": "4Gi", "image": "a"},
    }
    assert json.dumps(given) == before


def test_planning_twice_gives_the_same_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["plan", "--engine", "katib", "--data", "pvc://claim/data", "--search-mode", "flat"]
    outputs = []
    for _ in range(2):
        assert main(command) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]


def test_images_on_this_machine_need_a_storage(prepared_digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--engine", "katib", "--data", str(prepared_digits)]) == 2
    assert "storage: trials run in other pods, which do not see this machine's files" in capsys.readouterr().err
    assert main(["plan", "--engine", "katib", "--data", str(prepared_digits), "--storage", "s3://bucket/here"]) == 0
    captured = capsys.readouterr()
    assert "Trials read s3://bucket/here/datasets/" in captured.err
    template = documents_of(captured.out)["Experiment"][0]["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"]
    environment = template["spec"]["containers"][0]["env"]
    told = {entry["name"]: entry.get("value", "") for entry in environment}
    assert told["TRIAL_DATA"].startswith("s3://bucket/here/datasets/")
    hyperparameters = json.loads(told["TRIAL_HYPERPARAMETERS"])["fixed"]
    assert "num_layers" in hyperparameters
    assert "num_classes" not in hyperparameters, "trials read it from the data set"


@pytest.mark.parametrize(
    ("lacking", "options", "extra"),
    [
        ("kubernetes", ["--engine", "katib"], "katib"),
        ("boto3", ["--engine", "sagemaker", "--role", "arn", "--bucket", "b"], "sagemaker"),
        ("torch", ["--engine", "sagemaker", "--role", "arn", "--bucket", "b", "--evaluate", "offline"], "train"),
    ],
)
def test_missing_package_is_named_with_its_extra(
    lacking: str,
    options: Sequence[str],
    extra: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(engine_options, "find_spec", lambda name: None if name == lacking else object())
    command = ["run", *options, "--data", str(tmp_path), "--output", str(tmp_path / "run")]
    assert main(command) == 1
    assert f"pip install 'kfp-image-tuning[{extra}]'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_plan_reads_a_data_set_on_a_volume_where_it_is_mounted(
    prepared_digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = prepared_digits.name
    command = ["plan", "--engine", "katib", "--data", f"pvc://images/{name}", "--search-mode", "flat"]
    assert main([*command, "--storage-mount", str(prepared_digits.parent)]) == 0
    captured = capsys.readouterr()
    assert "cannot be read from here" not in captured.err
    assert main(command) == 0
    assert "cannot be read from here (--storage-mount says where it is seen)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--engine", "katib"], "is on a volume claim, which this machine does not see; mount it here and say where"),
        ([], "is a place for pods of --engine katib; with another engine give the path"),
        (["--engine", "katib", "--storage-mount", "/nowhere"], "--storage-mount: /nowhere/dataset is not there"),
        (
            ["--engine", "katib", "--storage", "pvc://models/x", "--storage-mount", "/mnt"],
            "is not in pvc://models/x, whose folder here is /mnt; give a --storage on the same claim",
        ),
    ],
)
def test_run_says_what_a_data_set_on_a_volume_needs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    assert main(["run", "--data", "pvc://images/dataset", "--output", str(tmp_path / "run"), *words]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_every_engine_takes_a_model_to_start_from(prepared_digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start = ["--initial-model", "s3://bucket/old/model.tar.gz"]
    assert main(["plan", "--engine", "katib", "--data", "pvc://claim/data", "--search-mode", "flat", *start]) == 0
    assert "s3://bucket/old/model.tar.gz" in capsys.readouterr().out
    place = ["--role", "arn:aws:iam::123456789012:role/tuning", "--bucket", "my-bucket", "--region", "us-east-1"]
    command = ["plan", "--engine", "sagemaker", "--data", str(prepared_digits), *place, *start]
    assert main(command) == 0
    (job, *_) = json.loads(capsys.readouterr().out)["TrainingJobDefinitions"]
    channels = {
        channel["ChannelName"]: channel["DataSource"]["S3DataSource"]["S3Uri"] for channel in job["InputDataConfig"]
    }
    assert channels["model"] == "s3://bucket/old/model.tar.gz"
    assert main([*command, "--sagemaker-options", '{"initial_model": "s3://bucket/other/model.tar.gz"}']) == 2
    assert "initial_model is given twice" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "plan", "compile"])
@pytest.mark.parametrize("engine", ["", *ENGINES])
def test_help_shows_what_belongs_to_the_engine_and_nothing_of_others(
    command: str, engine: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main([command, "--help", *(["--engine", engine] if engine else [])])
    shown = capsys.readouterr().out
    marks = {"local": ["tune_prior"], "katib": ["tune_gpus", "pods.memory: text"], "sagemaker": ["tune_role", "spot:"]}
    if command != "compile":
        marks |= {
            "local": ["--prior"],
            "katib": ["--gpus N", "pods.memory: text"],
            "sagemaker": ["--bucket BUCKET", "spot:"],
        }
    for other, words in marks.items():
        assert [word in shown for word in words] == [other == engine] * len(words), other
    assert ("--engine katib --help" in shown) is not bool(engine)
    assert all(len(line) <= 120 for line in shown.splitlines())


def test_options_of_an_engine_may_be_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "katib.yaml").write_text("namespace: team\npods:\n  memory: 4Gi\n", encoding="utf-8")
    command = ["plan", "--engine", "katib", "--data", "pvc://images/dataset", "--search-mode", "flat"]
    assert main([*command, "--katib-options", str(tmp_path / "katib.yaml")]) == 0
    (experiment,) = documents_of(capsys.readouterr().out)["Experiment"]
    assert experiment["metadata"]["namespace"] == "team"
