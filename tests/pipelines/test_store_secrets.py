"""Images in object stores, with the keys of a secret, on the stand-in for KFP's backend."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from kfp import dsl

from kfp_image_tuning.components.data_processing.data_preparation import data_preparation
from kfp_image_tuning.delivery.compilation import compile_pipeline
from kfp_image_tuning.pipelines.store_access import reach_stores
from tests.emulators.kfp_backend import Backend, Run
from tests.emulators.kfp_backend.artifact_store import ACCESS_KEY, SECRET_KEY, ArtifactStore
from tests.pipelines.component_environment import declared_environment
from tests.pipelines.small_runs import IMAGES, config_maps

pytestmark = pytest.mark.slow


@dsl.pipeline(name="preparation-alone")
def preparation_alone(data_images: str, data_secret: str = "mlpipeline-minio-artifact") -> None:  # a name
    reach_stores(data_preparation(images=data_images), data_secret)


@pytest.fixture(scope="module")
def compiled() -> str:
    return compile_pipeline(preparation_alone)


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Backend]:
    secrets = {"empty": {"other": "x"}, "wrong": {"accesskey": "nobody", "secretkey": "s3cret-words"}}
    with Backend(tmp_path / "backend", declared_environment(), config_maps=config_maps(), secrets=secrets) as backend:
        yield backend


def prepare(backend: Backend, compiled: str, **parameters: str) -> Run:
    return backend.run(compiled, parameters)


@pytest.mark.timeout(300)
def test_images_in_kubeflows_own_store_need_nothing_but_their_address(
    backend: Backend, compiled: str, digits: Path
) -> None:
    backend.store.put(digits, IMAGES)
    run = prepare(backend, compiled, data_images=IMAGES)
    assert run.state == "SUCCEEDED", run.explain()
    log = run.task("data-preparation").log
    assert SECRET_KEY not in log


@pytest.mark.timeout(300)
def test_images_in_another_store_are_read_with_the_named_secret(
    backend: Backend, compiled: str, digits: Path, tmp_path: Path
) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "images"), "zip", digits))
    store = ArtifactStore(buckets=("photos",))
    try:
        store.put(archive, "s3://photos/open/images.zip")
        endpoint = f"http://127.0.0.1:{store.port}"
        keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
        backend.namespace.secrets["team"] = {**keys, "AWS_ENDPOINT_URL": endpoint, "AWS_REGION": "us-east-1"}
        run = prepare(backend, compiled, data_images="s3://photos/open/images.zip", data_secret="team")
        assert run.state == "SUCCEEDED", run.explain()
        assert SECRET_KEY not in run.task("data-preparation").log
    finally:
        store.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("secret", "words"),
    [
        ("no-such-secret", "there are no keys for the store http://127.0.0.1"),
        ("empty", "name the secret that holds them"),
        ("wrong", "does not know the access key"),
    ],
)
def test_a_secret_that_does_not_help_is_told(backend: Backend, compiled: str, secret: str, words: str) -> None:
    run = prepare(backend, compiled, data_images=IMAGES, data_secret=secret)
    assert run.state == "FAILED"
    task = run.task("data-preparation")
    assert words in task.message
    assert "s3cret-words" not in task.log
