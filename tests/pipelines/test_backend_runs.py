"""The compiled pipelines on a stand-in for KFP's backend: ConfigMap, artifact store, executor inputs as recorded.

Steps run in an environment that has the packages that their components declare, and not this project.
"""

import json
import subprocess
from pathlib import Path

import pytest

from kfp_image_tuning.components.training.sagemaker_tuning.component import INSTALLED_EXTRAS
from kfp_image_tuning.core.installed_code import config_map_name
from kfp_image_tuning.dataset.document import Dataset
from kfp_image_tuning.delivery.declared_packages import declared_kfp, declared_packages
from kfp_image_tuning.evaluation.evaluation import Evaluation
from kfp_image_tuning.model.model_files import load_model
from kfp_image_tuning.search.result import TuningResult
from tests.emulators.kfp_backend import Backend, Task
from tests.emulators.real_training import TrainedPredictor, TrainingRunner
from tests.pipelines.component_environment import component_environment, declared_environment
from tests.pipelines.sagemaker_account import BUCKET, ROLE, account, storage_server
from tests.pipelines.small_runs import IMAGES, ONE_THREAD, SMALL_RUN, SMALL_SEARCH, config_maps

pytestmark = pytest.mark.slow

COMPILED = Path(__file__).parents[2] / "pipelines" / "compiled"
HALF_A_MEBIBYTE = 512 * 1024
SAGEMAKER = {
    "tune_role": ROLE,
    "tune_bucket": BUCKET,
    "tune_region": "us-east-1",
    "tune_sagemaker_options": {"poll_seconds": 0.5, "max_trial_seconds": 3600.0},
}


def committed(engine: str) -> str:
    return (COMPILED / f"{engine}.yaml").read_text(encoding="utf-8")


def is_found_in(bin_folder: Path, module: str) -> bool:
    looked_up = subprocess.run([bin_folder / "python", "-c", f"import {module}"], capture_output=True, check=False)
    return looked_up.returncode == 0


def is_page(path: Path) -> bool:
    return path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


@pytest.mark.timeout(600)
def test_committed_local_pipeline_ends_with_the_manifests_config_map(digits: Path, tmp_path: Path) -> None:
    assert not is_found_in(declared_environment(), "kfp_image_tuning.tuning")
    with Backend(
        tmp_path / "backend",
        declared_environment(),
        environment=ONE_THREAD,
        config_maps=config_maps(),
    ) as backend:
        backend.store.put(digits, IMAGES)
        run = backend.run(committed("local"), {**SMALL_RUN, "eval_min_accuracy": 1.0})
        assert run.state == "SUCCEEDED", run.explain()
        assert max(size for _, size in run.workflow.history) < HALF_A_MEBIBYTE

        def fetch(task: Task, artifact: str) -> Path:
            return backend.fetch(task.artifact(artifact), tmp_path / task.name)

        prepared, tuned, evaluated = (
            run.task(name) for name in ("data-preparation", "local-tuning", "model-evaluation")
        )
        dataset = Dataset.load(fetch(prepared, "dataset"))
        result = TuningResult.load(fetch(tuned, "tuning_result"))
        assert load_model(fetch(tuned, "best_model")).document.classes == dataset.classes
        evaluation = Evaluation.load(fetch(evaluated, "evaluation"))
        assert is_page(fetch(evaluated, "report"))
    assert prepared.parameters == {
        "num_classes": len(dataset.classes),
        "num_training_samples": dataset.split("train").images,
    }
    assert prepared.artifact("dataset").as_input()["metadata"]["fingerprint"] == dataset.fingerprint
    assert len(result.trials) == 2
    best = result.best_trial
    assert best is not None
    assert (tuned.parameters["best_trial"], tuned.parameters["best_objective"]) == (best.name, best.objective)
    model = tuned.artifact("best_model").as_input()["metadata"]
    assert json.loads(model["hyperparameters"]) == dict(best.hyperparameters)
    assert (model["objective_metric"], model["objective_value"]) == ("validation:accuracy", best.objective)
    assert evaluated.parameters == {"accuracy": evaluation.accuracy, "passed": evaluation.accuracy == 1.0}
    (matrix,) = evaluated.outputs.artifacts["classification_metrics"]
    assert len(matrix.metadata["confusionMatrix"]["rows"]) == len(dataset.classes)


@pytest.mark.timeout(900)
def test_committed_sagemaker_pipeline_tunes_with_boto3_alone_and_evaluates(digits: Path, tmp_path: Path) -> None:
    pod = component_environment(declared_packages(INSTALLED_EXTRAS), declared_kfp(), "sagemaker-tuning")
    for package in ("torch", "sagemaker", "optuna", "kubernetes", "kfp_image_tuning.tuning"):
        assert not is_found_in(pod, package), package
    with storage_server() as (url, storage):
        runner = TrainingRunner(storage, tmp_path / "containers")
        with (
            account(url, storage, runner, TrainedPredictor(storage)) as used,
            Backend(
                tmp_path / "backend",
                declared_environment(),
                bin_folders={"sagemaker-tuning": pod, "preflight": pod},
                environment=used.variables,
                config_maps=config_maps(),
            ) as backend,
        ):
            backend.store.put(digits, IMAGES)
            run = backend.run(committed("sagemaker"), {"data_images": IMAGES, **SMALL_SEARCH, **SAGEMAKER})
            assert run.state == "SUCCEEDED", run.explain()
            assert max(size for _, size in run.workflow.history) < HALF_A_MEBIBYTE
            tuned, evaluated = run.task("sagemaker-tuning"), run.task("sagemaker-evaluation")
            result = TuningResult.load(backend.fetch(tuned.artifact("tuning_result"), tmp_path))
            evaluation = Evaluation.load(backend.fetch(evaluated.artifact("evaluation"), tmp_path))
            assert (backend.fetch(tuned.artifact("best_model"), tmp_path) / "model.tar.gz").is_file()
            assert is_page(backend.fetch(evaluated.artifact("report"), tmp_path))
            service = used.emulator.service
            (job,) = service.tuning_jobs.values()
            assert len(service.transform_jobs) == 1
            assert service.models == {}
            (tags,) = (tags for arn, tags in service.tags.items() if "hyper-parameter" in arn)
    assert tags["kfp-image-tuning:run"].startswith(run.run_id)
    assert {trial.name for trial in result.trials} == {training_job.name for training_job in job.jobs}
    best = result.best_trial
    assert best is not None
    assert (tuned.parameters["best_trial"], tuned.parameters["best_objective"]) == (best.name, best.objective)
    model = tuned.artifact("best_model").as_input()["metadata"]
    assert model["model_uri"] == f"s3://{BUCKET}/kfp-image-tuning/models/{best.name}/output/model.tar.gz"
    assert model["training_job"] == best.name
    assert model["training_image"].endswith("/image-classification:1")
    assert evaluated.parameters == {"accuracy": evaluation.accuracy, "passed": True}
    assert evaluation.selection is not None
    assert evaluation.selection.trial == best.name


def test_a_step_without_the_config_map_says_what_to_type(tmp_path: Path) -> None:
    with Backend(tmp_path / "backend", declared_environment()) as backend:
        run = backend.run(committed("local"), {"data_images": "/nowhere"})
        assert run.state == "FAILED"
        first = run.tasks[0]
        assert "kfp-image-tuning install --namespace" in first.message
        assert config_map_name() in first.log
