"""What the component puts out."""

import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from kfp_image_tuning.core.errors import EngineError, TrainingError
from kfp_image_tuning.engines.local.engine import LocalEngine
from kfp_image_tuning.options.declared import LocalOptions
from kfp_image_tuning.search.result import TuningResult
from kfp_image_tuning.search.search import PriorChoice
from kfp_image_tuning.steps.local_tuning import launch
from kfp_image_tuning.steps.tuning_settings import TuningSettings
from tests.engines.local.searching import make_search

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("work", ["", "work"])
def test_the_result_names_only_files_that_are_there(work: str, digits_dataset: Path, tmp_path: Path) -> None:
    outcome = launch(
        TuningSettings(max_trials=1, epochs=1, search_space={"optimizer": ["sgd"], "mini_batch_size": 16}),
        LocalOptions(work_directory=str(tmp_path / work) if work else None),
        dataset=str(digits_dataset),
        model=str(tmp_path / "model"),
        result=str(tmp_path / "result.json"),
    )
    (trial,) = TuningResult.load(tmp_path / "result.json").trials
    assert trial.objective == outcome.best_objective
    assert (tmp_path / "model" / "model.safetensors").is_file()
    places = [place for place in (trial.model_uri, trial.log_uri) if place is not None]
    assert len(places) == (2 if work else 0)
    assert all(Path(place).exists() for place in places)


def launch_one_trial(
    dataset: Path, output: Path, initial_model: str | None = None, prior: PriorChoice = "auto", **fixed: object
) -> TuningResult:
    space = {"optimizer": ["sgd"], "mini_batch_size": 16, **fixed}
    launch(
        TuningSettings(max_trials=1, epochs=1, search_space=space, initial_model=initial_model),
        LocalOptions(prior=prior, work_directory=str(output)),
        dataset=str(dataset),
        model=str(output / "model"),
        result=str(output / "result.json"),
    )
    return TuningResult.load(output / "result.json")


def test_the_result_says_where_the_search_looked_first(digits_dataset: Path, tmp_path: Path) -> None:
    usual = launch_one_trial(digits_dataset, tmp_path / "usual")
    assert usual.search["prior"]["sgd"]["learning_rate"] == [0.01, 0.3]
    assert "--prior" not in usual.reproduction_command
    off = launch_one_trial(digits_dataset, tmp_path / "off", prior="none")
    assert off.search["prior"] == {}
    assert "--prior none" in off.reproduction_command


def test_every_trial_starts_from_the_given_model(digits_dataset: Path, tmp_path: Path) -> None:
    launch_one_trial(digits_dataset, tmp_path / "first")
    archive = tmp_path / "model.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "first" / "model", "model")
    (trial,) = launch_one_trial(digits_dataset, tmp_path / "further", str(archive)).trials
    assert trial.log_uri is not None
    assert "Continuing from the model in" in Path(trial.log_uri).read_text()
    command = TuningResult.load(tmp_path / "further" / "result.json").reproduction_command
    assert f"--initial-model {archive}" in command


def test_a_search_without_the_model_that_it_needs_does_not_start(digits_dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="nowhere: is neither a folder nor an archive"):
        launch_one_trial(digits_dataset, tmp_path, str(tmp_path / "nowhere"))
    engine = LocalEngine(digits_dataset, tmp_path / "search", tmp_path / "model")
    photographs = replace(make_search(digits_dataset).dataset, image_shape=(3, 224, 224))
    settings = TuningSettings(max_trials=1, search_space={"use_pretrained_model": 1, "num_layers": 18})
    pretrained = settings.to_search_on(photographs)
    with pytest.raises(EngineError, match=r"use_pretrained_model: is 1, .* give one as --initial-model"):
        engine.plan(pretrained)
