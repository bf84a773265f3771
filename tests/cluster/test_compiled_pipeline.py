"""The compiled ``katib.yaml`` by its own commands, in an environment with its declared packages, without this project.

The tuning step acts as the service account of ``manifests/katib``; trials run the code that the pipeline has packed.
"""

import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from kfp_image_tuning.components.model_evaluation.evaluation import Evaluation
from kfp_image_tuning.pipelines.delivery import compile_pipeline
from kfp_image_tuning.pipelines.image_tuning import PIPELINES
from kfp_image_tuning.trainer.model_files import load_model
from kfp_image_tuning.tuning.result import TuningResult
from tests.cluster.bench import Bench
from tests.pipelines.compiled_launcher import Launcher


def pods_of(bench: Bench) -> list[Any]:
    return [pod for pod in bench.core.list_namespaced_pod(bench.place.namespace).items if pod.spec.node_selector]


@pytest.mark.timeout(600)
def test_commands_of_the_compiled_file_search_on_the_cluster(
    bench: Bench, launcher_kubeconfig: Path, digit_images: Path, tmp_path: Path
) -> None:
    parameters = {
        "data_images": str(digit_images),
        "data_test_fraction": 0.2,
        "tune_search_space": {"optimizer": "sgd", "mini_batch_size": 16.0, "learning_rate": {"min": 0.05, "max": 0.2}},
        "tune_search_mode": "flat",
        "tune_max_trials": 2,
        "tune_parallel_trials": 2,
        "tune_epochs": 3,
        "tune_storage": "pvc://models/photos",
        "tune_storage_mount": str(bench.place.models / "photos"),
    }
    # As set on the task by whoever uses the pipeline: a GPU of another kind would keep trials waiting for ever.
    task_config = {
        "env": [{"name": "OMP_NUM_THREADS", "value": "1"}],
        "resources": {"limits": {"nvidia.com/gpu": "1", "memory": "4Gi"}},
        "nodeSelector": {"zone": "a"},
    }
    document = next(yaml.safe_load_all(compile_pipeline(PIPELINES["katib"])))
    launcher = Launcher(document, parameters, tmp_path, {"KUBECONFIG": str(launcher_kubeconfig)}, task_config)
    seen: list[Any] = []
    watching = threading.Thread(target=bench.wait_until, args=(lambda: seen.extend(pods_of(bench)) or seen, 500))
    watching.start()
    launcher.run()
    watching.join()

    (container,) = [container for container in seen[0].spec.containers if container.name == "trainer"]
    assert container.resources.limits == {"nvidia.com/gpu": "1", "memory": "4Gi"}
    assert seen[0].spec.node_selector == {"zone": "a"}
    assert "OMP_NUM_THREADS" in {entry.name for entry in container.env}
    tuned, evaluated = launcher.outputs["katib-tuning"], launcher.outputs["model-evaluation"]
    result = TuningResult.load(tuned["paths"]["tuning_result"])
    assert (result.engine, [trial.status for trial in result.trials]) == ("katib", ["completed"] * 2)
    assert tuned["parameterValues"]["best_trial"] == (result.best_trial and result.best_trial.name)
    # Katib reads the objective from the log, which has six digits.
    reached = load_model(tuned["paths"]["best_model"]).document.validation_accuracy
    assert reached == pytest.approx(result.best_trial.objective, abs=1e-6)
    assert evaluated["parameterValues"]["accuracy"] == Evaluation.load(evaluated["paths"]["evaluation"]).accuracy
    bench.wait_until_nothing_is_left()
