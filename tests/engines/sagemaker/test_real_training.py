"""A whole search with trials that train: data from S3, models to S3, predictions by batch transform.

S3 and STS are moto's; the calls are made in a role that is assumed.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from kfp_image_tuning.core.errors import EngineError
from kfp_image_tuning.dataset.image_codec import encode_image
from kfp_image_tuning.engines.run import run_search
from kfp_image_tuning.engines.sagemaker.engine import SageMakerEngine
from kfp_image_tuning.search.budget import Budget
from kfp_image_tuning.search.result import TuningResult
from kfp_image_tuning.search.search import DatasetSummary, Search
from kfp_image_tuning.search.search_space import SearchSpace
from tests.emulators.real_training import TrainedPredictor, TrainingRunner
from tests.emulators.sagemaker import SageMakerEmulator
from tests.engines.sagemaker.tuning_jobs import OPTIONS, credentials
from tests.trainer.digits import Images, digits, write_records

pytestmark = pytest.mark.slow

ROLE = "arn:aws:iam::123456789012:role/tuning"
DIGITS = DatasetSummary(
    fingerprint="sha256:digits",
    num_classes=10,
    num_training_samples=400,
    num_validation_samples=100,
    image_shape=(1, 8, 8),
)


@pytest.fixture(scope="module")
def storage_url() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def storage(storage_url: str) -> Any:
    client = boto3.client(
        "s3", endpoint_url=storage_url, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    client.create_bucket(Bucket="images")
    return client


def upload(storage: Any, name: str, images: Images, folder: Path) -> None:
    """Write a record file, and bring it and what is beside it to S3."""
    path = write_records(folder / name / f"{name}.rec", images)
    for file in path.parent.iterdir():
        storage.upload_file(str(file), "images", f"digits/{name}/{file.name}")


def search(epochs: int = 3) -> Search:
    changes = {
        "optimizer": ["sgd", "nag"], "learning_rate": {"min": 0.02, "max": 0.2}, "momentum": 0.9,
        "weight_decay": 1e-4, "mini_batch_size": {"min": 16, "max": 64},
    }  # fmt: skip
    budget = Budget(max_trials=2, parallel_trials=2)
    return Search.for_dataset(SearchSpace.customized(changes), DIGITS, budget=budget, epochs=epochs)


def run(emulator: SageMakerEmulator, storage_url: str, folder: Path, **options: Any) -> TuningResult:
    endpoints = {"SAGEMAKER": emulator.url, "CLOUDWATCH_LOGS": emulator.url, "STS": storage_url}
    engine = SageMakerEngine(replace(OPTIONS, assume_role=ROLE, poll_seconds=0.3, **options))
    with credentials(**{f"AWS_ENDPOINT_URL_{service}": url for service, url in endpoints.items()}):
        return run_search(engine, engine.plan(search()), folder / "result.json")


def test_trials_train_on_records_from_s3_and_the_best_model_predicts_in_a_transform_job(
    storage_url: str, storage: Any, tmp_path: Path
) -> None:
    everything = digits()
    upload(storage, "train", everything.part(0, 400), tmp_path)
    upload(storage, "validation", everything.part(400, 500), tmp_path)
    test = everything.part(500, 540)
    for number, pixels in enumerate(test.images):
        storage.put_object(Bucket="images", Key=f"test/{number:05}.png", Body=encode_image(pixels, "png"))
    storage.put_object(Bucket="images", Key="test/broken.png", Body=b"no image")
    runner = TrainingRunner(storage, tmp_path / "containers")
    with SageMakerEmulator(runner, predictor=TrainedPredictor(storage), storage_url=storage_url) as emulator:
        result = run(emulator, storage_url, tmp_path)
        keys = {key for _, key in emulator.calls}
        best = result.best_trial
        assert best is not None
        assert best.objective is not None
        assert best.objective > 0.6
        assert [epoch.epoch for epoch in best.history] == [0, 1, 2]
        assert best.objective == max(epoch.validation_accuracy for epoch in best.history)
        answers = transform(emulator, storage, str(best.model_uri))
    assert keys
    assert "first" not in keys, "the calls are made in the assumed role"
    right = sum(answers[f"{n:05}.png"].index(max(answers[f"{n:05}.png"])) == test.labels[n] for n in range(40))
    assert right / 40 > best.objective - 0.25
    assert "broken.png" not in answers


def transform(emulator: SageMakerEmulator, storage: Any, model_uri: str) -> dict[str, list[float]]:
    """Predict by batch transform, as an evaluation does: the outputs by the images' names."""
    client = boto3.client(
        "sagemaker",
        endpoint_url=emulator.url,
        region_name="us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
    )
    container = {
        "Image": "811284229777.dkr.ecr.us-east-1.amazonaws.com/image-classification:1",
        "ModelDataUrl": model_uri,
    }
    client.create_model(ModelName="best", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    client.create_transform_job(
        TransformJobName="score",
        ModelName="best",
        BatchStrategy="SingleRecord",
        TransformInput={
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://images/test/"}},
            "ContentType": "application/x-image",
        },
        TransformOutput={"S3OutputPath": "s3://images/predictions"},
        TransformResources={"InstanceType": "ml.m5.xlarge", "InstanceCount": 1},
    )
    emulator.clock.skip(600)
    job = client.describe_transform_job(TransformJobName="score")
    assert job["TransformJobStatus"] == "Failed"
    assert "1 images could not be read, such as test/broken.png" in job["FailureReason"]
    client.delete_model(ModelName="best")
    listed = storage.list_objects_v2(Bucket="images", Prefix="predictions/")["Contents"]
    bodies = {entry["Key"]: storage.get_object(Bucket="images", Key=entry["Key"])["Body"].read() for entry in listed}
    return {
        key.removeprefix("predictions/").removesuffix(".out"): json.loads(body)["prediction"]
        for key, body in bodies.items()
    }


def test_missing_data_is_refused_before_a_machine_is_started(storage_url: str, storage: Any, tmp_path: Path) -> None:
    with (
        SageMakerEmulator(TrainingRunner(storage, tmp_path), storage_url=storage_url) as emulator,
        pytest.raises(EngineError, match=r"No S3 objects found .*nothing was started; change what it names"),
    ):
        run(emulator, storage_url, tmp_path, data="s3://images/nothing-here")
