"""What Kubeflow says about a data set's store reaches the trials' pods, which see none of it themselves."""

import json
from pathlib import Path
from typing import Any

import pytest

from kfp_image_tuning.core.volume_claims import CLAIMS_VARIABLE
from kfp_image_tuning.engines.katib.request.config import KatibConfig
from kfp_image_tuning.engines.katib.request.locations import store_environment
from kfp_image_tuning.engines.katib.request.options import KatibOptions
from kfp_image_tuning.search.budget import Budget
from kfp_image_tuning.search.search import DatasetSummary, Search
from kfp_image_tuning.search.search_space import SearchSpace
from tests.emulators.kfp_backend.metadata import session_info

ARTIFACT = "minio://mlpipeline/v2/artifacts/run/dataset"


@pytest.fixture(autouse=True)
def pod_of_another_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "SEAWEEDFS_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")


def test_a_folder_on_a_claim_is_seen_where_the_step_mounts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = "pvc://team/tuning"
    assert KatibConfig(storage=storage).mount is None
    monkeypatch.setenv(CLAIMS_VARIABLE, '{"pvc://team":"/work"}')
    assert KatibConfig(storage=storage).mount == Path("/work/tuning")
    assert KatibConfig(storage="pvc://team/tuning", storage_mount="/mnt").mount == Path("/mnt")
    assert KatibConfig(storage="s3://team/tuning").mount is None


def session(**changes: str) -> str:
    params = {
        "accessKeyKey": "id",
        "disableSSL": "false",
        "endpoint": "store.team:9000",
        "fromEnv": "false",
        "region": "here",
        "secretKeyKey": "key",
        "secretName": "team-store",
    }
    return json.dumps({"Provider": "minio", "Params": {**params, **changes}})


def options(**changes: Any) -> KatibOptions:
    summary = DatasetSummary(
        fingerprint="sha256:0123",
        num_classes=3,
        num_training_samples=300,
        num_validation_samples=100,
        image_shape=(3, 28, 28),
    )
    search = Search.for_dataset(SearchSpace(), summary, epochs=1, budget=Budget(max_trials=2))
    given: dict[str, Any] = {"artifact": ARTIFACT, "artifact_store": session()}
    return KatibConfig(**{**given, **changes}).options(search)


def environment(**changes: Any) -> dict[str, Any]:
    entries = store_environment(options(**changes))
    return {entry["name"]: entry.get("value") or entry["valueFrom"]["secretKeyRef"] for entry in entries}


def test_trials_reach_the_store_of_the_artifacts() -> None:
    assert environment() == {
        "AWS_ENDPOINT_URL": "https://store.team:9000",
        "AWS_REGION": "here",
        "AWS_ACCESS_KEY_ID": {"name": "team-store", "key": "id"},
        "AWS_SECRET_ACCESS_KEY": {"name": "team-store", "key": "key"},
    }


def test_another_folder_of_kubeflows_store_is_reached_in_the_same_way() -> None:
    assert environment(storage="minio://models/team") == environment()


def test_what_the_user_says_goes_before_what_kubeflow_says() -> None:
    own = {"endpoint_url": "http://own:1", "region": "r", "credentials_secret": "mine"}
    found = environment(katib_options=own)
    assert (found["AWS_ENDPOINT_URL"], found["AWS_REGION"]) == ("http://own:1", "r")
    assert found["AWS_ACCESS_KEY_ID"] == {"name": "mine", "key": "accesskey"}


def test_a_store_that_is_entered_by_the_pods_identity_has_no_secret() -> None:
    info = {"Provider": "s3", "Params": {"fromEnv": "true", "region": "eu-west-1", "endpoint": "s3.amazonaws.com"}}
    found = environment(artifact="s3://bucket/v2/dataset", artifact_store=json.dumps(info))
    assert found == {"AWS_REGION": "eu-west-1"}


def test_the_store_of_the_artifacts_says_nothing_about_another_cloud() -> None:
    assert environment(storage="s3://bucket/folder") == {}


def test_without_a_word_from_kubeflow_its_usual_store_is_meant() -> None:
    found = environment(artifact_store="")
    assert found["AWS_ENDPOINT_URL"] == "http://seaweedfs.kubeflow:9000"
    assert found["AWS_SECRET_ACCESS_KEY"] == {"name": "mlpipeline-minio-artifact", "key": "secretkey"}


def test_recorded_words_of_kubeflow_are_read() -> None:
    found = environment(artifact_store=session_info("seaweedfs.kubeflow:9000", "mlpipeline-minio-artifact"))
    assert found["AWS_ENDPOINT_URL"] == "http://seaweedfs.kubeflow:9000"
    assert found["AWS_ACCESS_KEY_ID"] == {"name": "mlpipeline-minio-artifact", "key": "accesskey"}
