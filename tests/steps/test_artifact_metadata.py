"""What steps write beside their artifacts comes through KFP's backend as it was written."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kfp_image_tuning.options.declared import ImageOptions
from kfp_image_tuning.steps.data_preparation import launch
from kfp_image_tuning.steps.tuning_outcome import TuningOutcome
from tests.emulators.kfp_backend.metadata import Artifact
from tests.preparation.corpus import make_folder
from tests.report.documents import make_result, make_trials


def arrives(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata in the next step, without what the backend adds."""
    artifact = Artifact(1, "best_model", "minio://mlpipeline/x", {}, metadata)
    found: dict[str, Any] = artifact.as_input()["metadata"]
    assert found.pop("display_name") == "best_model"
    return found


def test_a_models_metadata_is_the_same_in_the_next_step() -> None:
    result = make_result(make_trials(6))
    outcome = TuningOutcome.of(result)
    found = arrives(outcome.model_metadata)
    assert found == outcome.model_metadata
    assert json.loads(found["hyperparameters"]) == outcome.best_hyperparameters
    assert found["objective_metric"] == "validation:accuracy"
    assert found["objective_value"] == outcome.best_objective


def test_a_data_sets_metadata_is_the_same_in_the_next_step(tmp_path: Path) -> None:
    make_folder(tmp_path / "images")
    prepared = launch(ImageOptions(images=str(tmp_path / "images")), str(tmp_path / "dataset"))
    assert arrives(prepared.metadata) == prepared.metadata
