"""Where a store is: what the user gave, what KFP says, what the pod's environment says."""

import json
from typing import Any

import pytest

from kfp_image_tuning.core.errors import StoreError
from kfp_image_tuning.core.store_address import StoreAddress, find_address, read_session_info

RECORDED = json.dumps(
    {
        "Provider": "minio",
        "Params": {
            "accessKeyKey": "accesskey",
            "disableSSL": "true",
            "endpoint": "seaweedfs.kubeflow:9000",
            "fromEnv": "false",
            "maxRetries": "5",
            "region": "minio",
            "secretKeyKey": "secretkey",
            "secretName": "mlpipeline-minio-artifact",
        },
    }
)
"""What the driver of KFP 2.17 writes into the metadata of an artifact."""
ARTIFACT = "minio://mlpipeline/v2/artifacts/x/dataset"
SERVICES = {
    "KUBERNETES_SERVICE_HOST": "10.0.0.1",
    "SEAWEEDFS_SERVICE_HOST": "10.0.0.9",
    "SEAWEEDFS_SERVICE_PORT": "8333",
    "SEAWEEDFS_PORT_9000_TCP": "tcp://10.0.0.9:9000",
}
LAUNCHER = {
    "KFP_LAUNCHER_PROVIDERS": """
s3:
  default:
    endpoint: s3.amazonaws.com
    disableSSL: false
    region: eu-west-1
    credentials: {fromEnv: false, secretRef: {secretName: team, accessKeyKey: id, secretKeyKey: key}}
  overrides:
  - {bucketName: theirs, endpoint: "https://s3.theirs.example", region: moon, credentials: {fromEnv: true}}
minio:
  default:
    endpoint: minio.team:9000
    disableSSL: true
    region: minio
    credentials: {fromEnv: false, secretRef: {secretName: team, accessKeyKey: id, secretKeyKey: key}}
gs:
  default:
    credentials: {fromEnv: false, secretRef: {secretName: google, tokenKey: token.json}}
"""
}


def find(uri: str, environment: dict[str, str] | None = None, **given: Any) -> tuple[str, str, str]:
    found = find_address(uri, environment=environment or {}, **given)
    return found.endpoint, found.region, found.secret


@pytest.mark.parametrize(
    ("uri", "environment", "given", "expected"),
    [
        (ARTIFACT, {}, {}, ("", "", "")),
        (
            ARTIFACT,
            {},
            {"session_info": RECORDED},
            ("http://seaweedfs.kubeflow:9000", "minio", "mlpipeline-minio-artifact"),
        ),
        (
            ARTIFACT,
            {},
            {"session_info": RECORDED, "endpoint_url": "https://own:1", "region": "r"},
            ("https://own:1", "r", "mlpipeline-minio-artifact"),
        ),
        (
            ARTIFACT,
            {"AWS_ENDPOINT_URL": "http://users:9000"},
            {"session_info": RECORDED, "artifact": ARTIFACT},
            ("http://seaweedfs.kubeflow:9000", "minio", "mlpipeline-minio-artifact"),
        ),
        (
            "minio://other/x",
            {"AWS_ENDPOINT_URL": "http://users:9000/"},
            {"session_info": RECORDED, "artifact": ARTIFACT},
            ("http://users:9000", "us-east-1", ""),
        ),
        ("s3://other/x", {}, {"session_info": RECORDED, "artifact": ARTIFACT}, ("", "", "")),
        ("s3://other/x", SERVICES, {}, ("", "", "")),
        (ARTIFACT, SERVICES, {}, ("http://10.0.0.9:9000", "us-east-1", "mlpipeline-minio-artifact")),
        (
            ARTIFACT,
            {"MINIO_SERVICE_SERVICE_HOST": "10.0.0.8", "MINIO_SERVICE_SERVICE_PORT": "9001"},
            {},
            ("http://10.0.0.8:9001", "us-east-1", "mlpipeline-minio-artifact"),
        ),
        (
            ARTIFACT,
            {"KUBERNETES_SERVICE_HOST": "10.0.0.1"},
            {},
            ("http://seaweedfs.kubeflow:9000", "us-east-1", "mlpipeline-minio-artifact"),
        ),
        (ARTIFACT, {**SERVICES, **LAUNCHER}, {}, ("http://minio.team:9000", "minio", "team")),
        ("s3://ours/x", LAUNCHER, {}, ("", "eu-west-1", "team")),
        ("s3://theirs/x", LAUNCHER, {}, ("https://s3.theirs.example", "moon", "")),
        ("gs://ours/x", LAUNCHER, {}, ("", "", "google")),
        ("https://host/x", {**SERVICES, **LAUNCHER}, {}, ("", "", "")),
    ],
)
def test_who_says_where_a_store_is(
    uri: str, environment: dict[str, str], given: dict[str, Any], expected: tuple[str, str, str]
) -> None:
    assert find(uri, environment, **given) == expected


def test_the_secrets_keys_stand_beside_its_name() -> None:
    assert find_address(ARTIFACT, session_info=RECORDED, environment={}).secret_keys == {
        "AWS_ACCESS_KEY_ID": "accesskey",
        "AWS_SECRET_ACCESS_KEY": "secretkey",
    }
    assert find_address("gs://ours/x", environment=LAUNCHER).secret_keys == {"GOOGLE_SERVICE_ACCOUNT_KEY": "token.json"}


def test_keys_of_the_pods_own_identity_need_no_secret() -> None:
    info = {"Provider": "s3", "Params": {"fromEnv": "true", "region": "us-west-2", "endpoint": "s3.amazonaws.com"}}
    assert read_session_info(json.dumps(info), "s3") == StoreAddress(
        region="us-west-2", source="the artifact's store_session_info"
    )
    assert read_session_info(json.dumps(info), "minio") is None


@pytest.mark.parametrize("text", ["{", "[]", '"x"', "{}", '{"Provider": "minio", "Params": [1]}'])
def test_a_description_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(StoreError, match="store_session_info: is not the JSON text"):
        find_address(ARTIFACT, session_info=text, environment={})


@pytest.mark.parametrize("text", ["[", "minio: [1]", "x", "minio: {default: {credentials: 3}}"])
def test_a_config_map_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(StoreError, match="kfp-launcher"):
        find_address(ARTIFACT, environment={"KFP_LAUNCHER_PROVIDERS": text})


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        ("seaweedfs:9000", "is not an address of an object store; give http://HOST:PORT"),
        ("ftp://host", "is not an address"),
        ("http://host:port", "is not an address"),
        ("http://user:s3cret@host:9000", "holds credentials"),
        ("http://host:9000?key=s3cret", "holds credentials"),
    ],
)
def test_an_endpoint_that_is_none_is_refused(endpoint: str, words: str) -> None:
    with pytest.raises(StoreError) as raised:
        find_address(ARTIFACT, endpoint_url=endpoint, environment={})
    assert words in str(raised.value)
    assert str(raised.value).startswith("endpoint_url: ")
    assert "s3cret" not in str(raised.value)
