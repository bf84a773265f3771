"""The compiled ``katib.yaml`` on the stand-in for KFP's backend, with a real API server behind its tuning step.

Steps run in an environment with their declared packages, without this project. The tuning step acts as the service
account of ``manifests/katib``; trials get the code of the same ConfigMap, and what a values file gives the search.
"""

import base64
import json
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from kfp_image_tuning.delivery.compilation import compile_pipeline
from kfp_image_tuning.delivery.values_file import values_from
from kfp_image_tuning.evaluation.evaluation import Evaluation
from kfp_image_tuning.model.model_files import load_model
from kfp_image_tuning.pipelines.image_tuning import PIPELINES
from kfp_image_tuning.search.result import TuningResult
from tests.cluster.bench import Bench
from tests.cluster.control_plane import ControlPlane
from tests.emulators.kfp_backend import Backend
from tests.emulators.kfp_backend.cluster_view import ClusterView
from tests.pipelines.component_environment import declared_environment
from tests.pipelines.small_runs import IMAGES, ONE_THREAD, SMALL_SEARCH, config_maps

HALF_A_MEBIBYTE = 512 * 1024
VALUES = {
    "steps": {
        "search": {
            "env": {"OMP_NUM_THREADS": "1"},
            "node_selector": {"zone": "a"},
            "volume_claims": [{"claim": "models", "mount_path": "/models"}],
        }
    }
}


def pods_of(bench: Bench) -> list[Any]:
    return [pod for pod in bench.core.list_namespaced_pod(bench.place.namespace).items if pod.spec.node_selector]


def write_service_account(folder: Path, kubeconfig: Path, namespace: str) -> str:
    """What Kubernetes mounts into a pod of an account; returns where it finds the API server."""
    document = yaml.safe_load(kubeconfig.read_text())
    cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
    folder.mkdir()
    (folder / "token").write_text(user["token"])
    (folder / "ca.crt").write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
    (folder / "namespace").write_text(namespace)
    return str(cluster["server"]).removeprefix("https://")


@pytest.mark.timeout(600)
def test_compiled_pipeline_searches_on_the_cluster(
    cluster: ControlPlane, bench: Bench, launcher_kubeconfig: Path, digit_images: Path, tmp_path: Path
) -> None:
    parameters = {
        "data_images": IMAGES,
        **SMALL_SEARCH,
        "tune_search_mode": "flat",
        "tune_parallel_trials": 2,
        "tune_storage": "pvc://models/photos",
        "tune_storage_mount": "/models/photos",
        "tune_katib_options": {"pods": {"memory": "4Gi"}},
    }
    account = tmp_path / "service-account"
    api_server = write_service_account(account, launcher_kubeconfig, bench.place.namespace)
    seen: list[Any] = []

    def are_seen() -> bool:
        seen.extend(pods_of(bench))
        return bool(seen)

    watching = threading.Thread(target=bench.wait_until, args=(are_seen, 500), daemon=True)
    watching.start()
    with Backend(
        tmp_path / "backend",
        declared_environment(),
        environment=ONE_THREAD,
        config_maps=config_maps(),
        claims={"models": bench.place.models},
        service_account=account,
        api_server=api_server,
    ) as backend:
        # What the tuning step makes belongs to its pod, and goes where there is none.
        view = ClusterView(backend, cluster.client(), bench.place.namespace)
        backend.store.put(digit_images, IMAGES)
        run = backend.run(
            compile_pipeline(PIPELINES["katib"], values=values_from(VALUES, "team.yaml")), parameters, seconds=500
        )
        assert run.state == "SUCCEEDED", run.explain()
        assert max(size for _, size in run.workflow.history) < HALF_A_MEBIBYTE
        tuned, evaluated = run.task("katib-tuning"), run.task("model-evaluation")
        result = TuningResult.load(backend.fetch(tuned.artifact("tuning_result"), tmp_path))
        model = load_model(backend.fetch(tuned.artifact("best_model"), tmp_path)).document
        evaluation = Evaluation.load(backend.fetch(evaluated.artifact("evaluation"), tmp_path))
        backend.runs.clear()
        bench.wait_until_nothing_is_left()
        view.close()
    watching.join()

    (container,) = [container for container in seen[0].spec.containers if container.name == "trainer"]
    assert container.resources.limits == {"nvidia.com/gpu": "1", "memory": "4Gi"}
    assert seen[0].spec.node_selector == {"zone": "a"}
    assert "OMP_NUM_THREADS" in {entry.name for entry in container.env}
    assert (result.engine, [trial.status for trial in result.trials]) == ("katib", ["completed"] * 2)
    best = result.best_trial
    assert best is not None
    assert tuned.parameters["best_trial"] == best.name
    metadata = tuned.artifact("best_model").as_input()["metadata"]
    assert json.loads(metadata["hyperparameters"]) == dict(best.hyperparameters)
    # Katib reads the objective from the log, which has six digits.
    assert model.validation_accuracy == pytest.approx(best.objective, abs=1e-6)
    assert evaluated.parameters["accuracy"] == evaluation.accuracy
