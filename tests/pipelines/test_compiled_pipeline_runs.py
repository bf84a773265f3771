"""The compiled file does what it says: its own commands, run in order as the KFP launcher runs them.

They run in an environment that has the declared packages and not this project.
"""

import subprocess
from pathlib import Path

import pytest
import yaml

from kfp_image_tuning.components.model_evaluation.evaluation import Evaluation
from kfp_image_tuning.dataset.document import Dataset
from kfp_image_tuning.pipelines.delivery import compile_pipeline
from kfp_image_tuning.pipelines.image_tuning import PIPELINES
from kfp_image_tuning.trainer.model_files import load_model
from kfp_image_tuning.tuning.result import TuningResult
from tests.pipelines.compiled_launcher import Launcher
from tests.pipelines.component_environment import declared_environment


@pytest.mark.timeout(900)
def test_commands_of_the_compiled_file_run_without_this_project(digits: Path, tmp_path: Path) -> None:
    ours = [str(declared_environment() / "python"), "-c", "import kfp_image_tuning.tuning"]
    assert subprocess.run(ours, capture_output=True, check=False, cwd=tmp_path).returncode != 0

    document = next(yaml.safe_load_all(compile_pipeline(PIPELINES["local"])))
    parameters = {
        "data_images": str(digits),
        "data_test_fraction": 0.2,
        "tune_max_trials": 2,
        "tune_epochs": 4,
        # Every number inside an object reaches a component as a float.
        "tune_search_space": {"optimizer": "sgd", "mini_batch_size": 16.0, "learning_rate": {"min": 0.05, "max": 0.2}},
        "eval_min_accuracy": 1.0,
    }
    launcher = Launcher(document, parameters, tmp_path)
    launcher.run()

    prepared, tuned, evaluated = (
        launcher.outputs[name] for name in ("data-preparation", "local-tuning", "model-evaluation")
    )
    dataset = Dataset.load(prepared["paths"]["dataset"])
    assert prepared["parameterValues"] == {
        "num_classes": len(dataset.classes),
        "num_training_samples": dataset.split("train").images,
    }
    assert prepared["artifacts"]["dataset"]["artifacts"][0]["metadata"]["fingerprint"] == dataset.fingerprint
    result = TuningResult.load(tuned["paths"]["tuning_result"])
    assert result.best_trial is not None
    assert tuned["parameterValues"]["best_trial"] == result.best_trial.name
    assert tuned["parameterValues"]["best_objective"] == result.best_trial.objective
    assert load_model(tuned["paths"]["best_model"]).document.classes == dataset.classes
    evaluation = Evaluation.load(evaluated["paths"]["evaluation"])
    assert evaluated["parameterValues"]["accuracy"] == evaluation.accuracy
    assert evaluated["parameterValues"]["passed"] is (evaluation.accuracy == 1.0)
    metrics = evaluated["artifacts"]["classification_metrics"]["artifacts"][0]["metadata"]
    assert len(metrics["confusionMatrix"]["rows"]) == len(dataset.classes)
    for outputs in (tuned, evaluated):
        assert outputs["paths"]["report"].read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
