"""The compiled pipeline on a stand-in for KFP's backend: ConfigMap, artifact store, executor inputs as recorded."""

import json
from pathlib import Path

import pytest

from kfp_image_tuning.code_archive.config_map import KEY, config_map_name
from kfp_image_tuning.code_archive.package_archive import build_archive
from kfp_image_tuning.components.model_evaluation.evaluation import Evaluation
from kfp_image_tuning.tuning.result import TuningResult
from tests.emulators.kfp_backend import Backend
from tests.pipelines.component_environment import declared_environment

COMPILED = Path(__file__).parents[2] / "pipelines" / "compiled"
HALF_A_MEBIBYTE = 512 * 1024
SEARCH = {
    "tune_max_trials": 2,
    "tune_epochs": 2,
    "data_test_fraction": 0.2,
    "tune_search_space": {"optimizer": "sgd", "mini_batch_size": 16.0, "learning_rate": {"min": 0.05, "max": 0.2}},
}


@pytest.mark.timeout(600)
def test_the_committed_local_pipeline_ends_with_the_manifests_config_map(digits: Path, tmp_path: Path) -> None:
    maps = {config_map_name(): {"binaryData": {KEY: build_archive()}}}
    with Backend(
        tmp_path / "backend", declared_environment(), environment={"OMP_NUM_THREADS": "1"}, config_maps=maps
    ) as backend:
        claim = tmp_path / "claim"
        claim.mkdir()
        backend.store.put(digits, "minio://images/digits")
        run = backend.run(
            (COMPILED / "local.yaml").read_text(encoding="utf-8"),
            {"data_images": "minio://images/digits", "eval_min_accuracy": 0.01, **SEARCH},
        )
        assert run.state == "SUCCEEDED", run.explain()
        assert max(size for _, size in run.workflow.history) < HALF_A_MEBIBYTE
        result = TuningResult.load(backend.fetch(run.task("local-tuning").artifact("tuning_result"), tmp_path))
        model = run.task("local-tuning").artifact("best_model").as_input()["metadata"]
        evaluated = run.task("model-evaluation")
        evaluation = Evaluation.load(backend.fetch(evaluated.artifact("evaluation"), tmp_path))
    assert len(result.trials) == 2
    best = result.best_trial
    assert best is not None
    assert json.loads(model["hyperparameters"]) == dict(best.hyperparameters)
    assert (model["objective_metric"], model["objective_value"]) == ("validation:accuracy", best.objective)
    assert evaluated.parameters == {"accuracy": evaluation.accuracy, "passed": evaluation.accuracy >= 0.01}


def test_a_step_without_the_config_map_says_what_to_type(digits: Path, tmp_path: Path) -> None:
    with Backend(tmp_path / "backend", declared_environment()) as backend:
        run = backend.run((COMPILED / "local.yaml").read_text(encoding="utf-8"), {"data_images": "/nowhere"})
        assert run.state == "FAILED"
        first = run.tasks[0]
        assert "kfp-image-tuning install --namespace" in first.message
        assert config_map_name() in first.log
