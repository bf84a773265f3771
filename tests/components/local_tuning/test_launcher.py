"""What the component puts out."""

from pathlib import Path

import pytest

from kfp_image_tuning.components.local_tuning.launcher import launch
from kfp_image_tuning.components.tuning_settings import TuningSettings
from kfp_image_tuning.tuning.result import TuningResult


@pytest.mark.parametrize("work", ["", "work"])
def test_the_result_names_only_files_that_are_there(work: str, digits_dataset: Path, tmp_path: Path) -> None:
    outcome = launch(
        TuningSettings(max_trials=1, epochs=1, search_space={"optimizer": ["sgd"], "mini_batch_size": 16}),
        dataset=str(digits_dataset),
        model=str(tmp_path / "model"),
        result=str(tmp_path / "result.json"),
        report=str(tmp_path / "report.html"),
        work_directory=str(tmp_path / work) if work else "",
    )
    (trial,) = TuningResult.load(tmp_path / "result.json").trials
    assert trial.objective == outcome.best_objective
    assert (tmp_path / "model" / "model.safetensors").is_file()
    places = [place for place in (trial.model_uri, trial.log_uri) if place is not None]
    assert len(places) == (2 if work else 0)
    assert all(Path(place).exists() for place in places)
