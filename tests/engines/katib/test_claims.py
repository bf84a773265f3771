"""Volume claims of a trial's pod: each is one volume, because a kubelet never starts a pod with two of one claim."""

import json
from collections import Counter
from typing import Any

import pytest

from kfp_image_tuning.engines.katib.request.claims import merge_claims
from kfp_image_tuning.engines.katib.request.experiment import build_experiments
from kfp_image_tuning.engines.katib.request.validation import find_problems
from tests.engines.katib.searches import make_options, make_search


def on_claim(name: str, claim: str, **source: Any) -> dict[str, Any]:
    return {"name": name, "persistentVolumeClaim": {"claimName": claim, **source}}


def pod_of(**values: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Volumes and mounts of the trial's pod, in a Job or a TrainJob."""
    experiment, *_ = build_experiments(make_search(), make_options(**values))
    assert find_problems(experiment.document) == []
    spec = experiment.document["spec"]["trialTemplate"]["trialSpec"]["spec"]
    if "runtimePatches" in spec:
        (job,) = spec["runtimePatches"][0]["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
        spec = job["template"]["spec"]
    pod = spec["template"]["spec"]
    return pod["volumes"], pod["containers"][0]["volumeMounts"]


def claims_of(volumes: list[dict[str, Any]]) -> Counter[str]:
    sources = [volume["persistentVolumeClaim"] for volume in volumes if "persistentVolumeClaim" in volume]
    return Counter(source["claimName"] for source in sources)


@pytest.mark.parametrize("kind", ["Job", "TrainJob"])
def test_data_and_models_on_one_claim_are_one_volume_with_two_mounts(kind: str) -> None:
    volumes, mounts = pod_of(data="pvc://images/dataset", output_uri="pvc://images/models", pods={"kind": kind})
    assert claims_of(volumes) == {"images": 1}
    # Models are written to it, so the claim itself is not attached for reading only.
    assert on_claim("data", "images") in volumes
    assert {"name": "data", "mountPath": "/trial/data", "readOnly": True, "subPath": "dataset"} in mounts
    assert {"name": "data", "mountPath": "/trial/models", "subPath": "models"} in mounts


def test_a_claim_that_is_only_read_is_attached_for_reading() -> None:
    volumes, _ = pod_of()
    assert on_claim("data", "images", readOnly=True) in volumes
    assert on_claim("models", "models") in volumes


@pytest.mark.parametrize("kind", ["Job", "TrainJob"])
def test_a_users_volume_of_the_same_claim_is_merged_as_well(kind: str) -> None:
    more = {
        "volumes": (on_claim("mine", "images", readOnly=True), on_claim("again", "weights"), on_claim("w", "weights")),
        "volume_mounts": (
            {"name": "mine", "mountPath": "/mine"},
            {"name": "again", "mountPath": "/a", "subPath": "a"},
            {"name": "w", "mountPath": "/w"},
        ),
    }
    volumes, mounts = pod_of(pods={"kind": kind, **more})
    assert claims_of(volumes) == {"images": 1, "models": 1, "weights": 1}
    assert {"name": "data", "mountPath": "/mine", "readOnly": True} in mounts
    assert {"name": "again", "mountPath": "/w"} in mounts


def test_what_a_task_brings_is_merged_with_the_options() -> None:
    volume, mount = on_claim("store", "models"), {"name": "store", "mountPath": "/store"}
    options = make_options()
    pods = options.pods.with_task_config({"volumes": [volume], "volume_mounts": [mount]})
    volumes, mounts = pod_of(pods={"volumes": pods.volumes, "volume_mounts": pods.volume_mounts})
    assert claims_of(volumes) == {"images": 1, "models": 1}
    assert {"name": "models", "mountPath": "/store"} in mounts


def test_the_same_volume_twice_is_one() -> None:
    volumes, _ = merge_claims([on_claim("a", "x", readOnly=True)] * 2, [])
    assert volumes == [on_claim("a", "x", readOnly=True)]


def test_one_name_for_different_volumes_is_left_to_the_check() -> None:
    given = [on_claim("a", "x"), on_claim("a", "y"), {"name": "a", "emptyDir": {}}]
    volumes, _ = merge_claims(given, [{"name": "a", "mountPath": "/a"}])
    assert json.dumps(volumes) == json.dumps(given)
