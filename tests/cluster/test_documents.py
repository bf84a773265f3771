"""Planned documents before an API server: with every algorithm they are taken as they are, and nothing is made."""

import io
import json
import random
import subprocess
import sys
from typing import Any

import kubernetes_validate
import pytest
from kubernetes import client
from ruamel.yaml import YAML

from kfp_image_tuning.engines.katib.request.algorithms import ALGORITHMS
from kfp_image_tuning.engines.katib.request.planning import plan_search
from kfp_image_tuning.engines.katib.session.cluster import GROUP, VERSION
from tests.cluster.control_plane import ControlPlane
from tests.cluster.given_cluster import GivenCluster
from tests.emulators.katib_controller import draw
from tests.emulators.katib_pods import make_trial_job
from tests.engines.katib.searches import make_options, make_search
from tests.engines.katib.test_experiment import FULL_PODS


def lost(sent: Any, kept: Any, place: str = "") -> list[str]:
    """What the API server dropped or changed."""
    if isinstance(sent, dict) and isinstance(kept, dict):
        return [line for name in sent for line in lost(sent[name], kept.get(name), f"{place}.{name}")]
    if isinstance(sent, list) and isinstance(kept, list) and len(sent) == len(kept):
        return [line for number, item in enumerate(sent) for line in lost(item, kept[number], f"{place}[{number}]")]
    return [] if sent == kept else [f"{place}: {sent!r} became {kept!r}"]


@pytest.mark.parametrize("mode", ["flat", "conditional"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_documents_and_trials_of_every_algorithm_are_taken_as_they_are(
    cluster: ControlPlane | GivenCluster, namespace: str, algorithm: str, mode: str
) -> None:
    api = cluster.client()
    batch, custom = client.BatchV1Api(api), client.CustomObjectsApi(api)
    search = make_search(search_mode=mode, max_trials=1100, max_failed_trials=3, epochs=9)
    options = make_options(namespace=namespace, algorithm=algorithm, pods={**FULL_PODS, "priority_class": ""})
    for document in map(dict, plan_search(search, options).request["documents"]):
        sent = json.loads(json.dumps(document))
        made = custom.create_namespaced_custom_object(GROUP, VERSION, namespace, "experiments", sent, dry_run="All")
        assert lost(sent, made) == []
        name = f"{document['metadata']['name']}-abcd1234"
        job = make_trial_job(document, name, draw(document, random.Random(1)))
        kubernetes_validate.validate(job, "1.37", strict=True)
        made = batch.create_namespaced_job(namespace, job, dry_run="All")
        assert lost(job, api.sanitize_for_serialization(made)) == []
    assert not custom.list_namespaced_custom_object(GROUP, VERSION, namespace, "experiments")["items"]


@pytest.fixture(scope="module")
def planned() -> subprocess.CompletedProcess[str]:
    words = ["plan", "--engine", "katib", "--data", "pvc://images/dataset", "--gpus", "1", "--max-trials", "40"]
    command = [sys.executable, "-m", "kfp_image_tuning.cli.command_line", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True)


def apply(cluster: ControlPlane | GivenCluster, namespace: str, text: str) -> list[str]:
    """Apply YAML as kubectl reads it: numbers in any form are numbers."""
    kinds = []
    for document in YAML(typ="safe", pure=True).load_all(io.StringIO(text)):
        kinds.append(document["kind"])
        place = (GROUP, VERSION, namespace, "experiments")
        client.CustomObjectsApi(cluster.client()).create_namespaced_custom_object(*place, document, dry_run="All")
    return kinds


def test_what_the_command_line_plans_can_be_applied(
    cluster: ControlPlane | GivenCluster, namespace: str, planned: subprocess.CompletedProcess[str]
) -> None:
    assert apply(cluster, namespace, planned.stdout) == ["Experiment"] * 4
    assert "at most 240.0 GPU-hours" in planned.stderr


@pytest.mark.parametrize(
    ("written", "changed", "field"),
    [
        ("min: '1e-06'", "min: 1e-06", "FeasibleSpace.spec.parameters.feasibleSpace.min of type string"),
        ("max: '0.5'", "max: 0.5", "FeasibleSpace.spec.parameters.feasibleSpace.max of type string"),
        ("name: random_state", "name: 1", "AlgorithmSetting.spec.algorithm.algorithmSettings.name of type string"),
    ],
)
def test_katib_refuses_a_number_where_text_belongs(
    cluster: ControlPlane | GivenCluster,
    namespace: str,
    planned: subprocess.CompletedProcess[str],
    written: str,
    changed: str,
    field: str,
) -> None:
    assert written in planned.stdout
    with pytest.raises(client.ApiException) as raised:
        apply(cluster, namespace, planned.stdout.replace(written, changed))
    assert f"cannot unmarshal number into Go struct field {field}" in json.loads(raised.value.body)["message"]
