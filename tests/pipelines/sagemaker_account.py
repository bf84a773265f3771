"""An AWS account on this machine for whole pipelines: the emulator of SageMaker beside moto's S3."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

from tests.emulators.sagemaker import SageMakerEmulator
from tests.emulators.training_jobs import Runner
from tests.emulators.transform_jobs import Predictor

BUCKET = "my-bucket"
ROLE = "arn:aws:iam::123456789012:role/tuning"


@dataclass(frozen=True)
class Account:
    """One account.

    Attributes:
        emulator: Its SageMaker.
        storage: boto3's client of its S3.
        variables: The environment in which both are found.
    """

    emulator: SageMakerEmulator
    storage: Any
    variables: dict[str, str]


@contextmanager
def storage_server(address: str = "127.0.0.1") -> Iterator[tuple[str, Any]]:
    """moto's S3 and STS with an empty bucket, at an address of this machine: their endpoint, and a client."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address=address, port=0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    storage = boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    storage.create_bucket(Bucket=BUCKET)
    try:
        yield url, storage
    finally:
        server.stop()


@contextmanager
def account(
    url: str,
    storage: Any,
    runner: Runner,
    predictor: Predictor | None = None,
    seconds_per_poll: float = 0.0,
    address: str = "127.0.0.1",
) -> Iterator[Account]:
    """An account whose trials are run, and whose transforms are answered, as given.

    Args:
        url: Endpoint of S3.
        storage: Its client.
        runner: Who runs training jobs.
        predictor: Who answers transform jobs, which end at once; probabilities by chance if none is given.
        seconds_per_poll: How far the clock moves with each look at a job.
        address: Of this machine, to listen at.
    """
    with SageMakerEmulator(
        runner, predictor=predictor, storage_url=url, seconds_per_poll=seconds_per_poll, address=address
    ) as emulator:
        emulator.service.transform_seconds = 0.0
        services = {"SAGEMAKER": emulator.url, "CLOUDWATCH_LOGS": emulator.url, "S3": url, "STS": url}
        variables = {f"AWS_ENDPOINT_URL_{name}": place for name, place in services.items()}
        variables |= {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_REGION": "us-east-1"}
        yield Account(emulator, storage, variables)
