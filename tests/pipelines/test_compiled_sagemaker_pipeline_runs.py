"""The compiled pipeline for SageMaker: its own commands run it whole, the launcher's with boto3 alone."""

import subprocess
from pathlib import Path

import pytest
import yaml

from kfp_image_tuning.components.model_evaluation.evaluation import Evaluation
from kfp_image_tuning.components.sagemaker_tuning.component import INSTALLED_EXTRAS
from kfp_image_tuning.pipelines.declared_packages import declared_kfp, declared_packages
from kfp_image_tuning.pipelines.delivery import compile_pipeline
from kfp_image_tuning.pipelines.image_tuning import PIPELINES
from kfp_image_tuning.tuning.result import TuningResult
from tests.emulators.real_training import TrainedPredictor, TrainingRunner
from tests.pipelines.compiled_launcher import RUN, Launcher
from tests.pipelines.component_environment import component_environment
from tests.pipelines.sagemaker_account import BUCKET, ROLE, account, storage_server


@pytest.mark.timeout(1800)
def test_commands_of_the_compiled_file_tune_on_sagemaker_and_evaluate(digits: Path, tmp_path: Path) -> None:
    document = next(yaml.safe_load_all(compile_pipeline(PIPELINES["sagemaker"])))
    parameters = {
        "data_images": str(digits),
        "data_test_fraction": 0.2,
        "tune_role": ROLE,
        "tune_bucket": BUCKET,
        "tune_region": "us-east-1",
        "tune_max_trials": 2,
        "tune_epochs": 3,
        "tune_search_space": {"optimizer": "sgd", "mini_batch_size": 16.0, "learning_rate": {"min": 0.05, "max": 0.2}},
        "tune_sagemaker_options": {"poll_seconds": 0.5, "max_seconds_per_trial": 3600.0},
    }
    pod = component_environment(declared_packages(INSTALLED_EXTRAS), declared_kfp(), "sagemaker-tuning")
    for package in ("torch", "sagemaker", "optuna", "kubernetes", "kfp_image_tuning"):
        looked_up = subprocess.run([pod / "python", "-c", f"import {package}"], capture_output=True, check=False)
        assert looked_up.returncode != 0, package
    (tmp_path / "run").mkdir()
    with storage_server() as (url, storage):
        runner = TrainingRunner(storage, tmp_path / "containers")
        with account(url, storage, runner, TrainedPredictor(storage)) as used:
            launcher = Launcher(document, parameters, tmp_path / "run", used.variables)
            tasks = document["root"]["dag"]["tasks"]
            whole = launcher.bin_folder
            for name, bin_folder in (
                ("data-preparation", whole),
                ("sagemaker-tuning", pod),
                ("sagemaker-evaluation", whole),
            ):
                launcher.bin_folder = bin_folder
                launcher.run_task(name, tasks[name])
            (job,) = used.emulator.service.tuning_jobs.values()
            assert len(used.emulator.service.transform_jobs) == 1
            assert used.emulator.service.models == {}
            (tags,) = (tags for arn, tags in used.emulator.service.tags.items() if "hyper-parameter" in arn)
    assert tags["kfp-image-tuning:run"].startswith(RUN)
    tuned, evaluated = (launcher.outputs[name] for name in ("sagemaker-tuning", "sagemaker-evaluation"))
    result = TuningResult.load(tuned["paths"]["tuning_result"])
    assert {trial.name for trial in result.trials} == {training_job.name for training_job in job.jobs}
    assert result.best_trial is not None
    assert tuned["parameterValues"]["best_trial"] == result.best_trial.name
    assert tuned["parameterValues"]["best_objective"] == result.best_trial.objective
    model = tuned["artifacts"]["best_model"]["artifacts"][0]["metadata"]
    assert model["model_uri"] == f"s3://{BUCKET}/kfp-image-tuning/models/{result.best_trial.name}/output/model.tar.gz"
    assert model["training_job"] == result.best_trial.name
    assert model["training_image"].endswith("/image-classification:1")
    assert (tuned["paths"]["best_model"] / "model.tar.gz").is_file()
    evaluation = Evaluation.load(evaluated["paths"]["evaluation"])
    assert evaluated["parameterValues"] == {"accuracy": evaluation.accuracy, "passed": True}
    assert evaluation.selection is not None
    assert evaluation.selection.trial == result.best_trial.name
    for outputs in (tuned, evaluated):
        assert outputs["paths"]["report"].read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
