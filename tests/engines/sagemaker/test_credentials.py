"""Who calls: credentials that are missing, expire or are assumed, and ways that do not lead to AWS."""

import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from kfp_image_tuning.core.errors import EngineError
from kfp_image_tuning.engines.sagemaker.aws.calls import Caller, TransientError
from kfp_image_tuning.engines.sagemaker.engine import SageMakerEngine
from tests.emulators.sagemaker import SageMakerEmulator
from tests.engines.sagemaker.tuning_jobs import OPTIONS, credentials, small_search


@pytest.fixture(scope="module")
def token_service() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def kind_of_error(**options: Any) -> str:
    with pytest.raises(TransientError) as caught:
        Caller(replace(OPTIONS, **options)).sagemaker("list_tags", ResourceArn="arn:aws:sagemaker:us-east-1:1:x/y")
    return caught.value.kind


def test_assumed_role_is_assumed_again_when_its_credentials_expire(token_service: str) -> None:
    with SageMakerEmulator(seconds_per_poll=60.0) as emulator:
        options = replace(OPTIONS, assume_role="arn:aws:iam::123456789012:role/tuning")
        engine = SageMakerEngine(options)
        endpoints = {"SAGEMAKER": emulator.url, "CLOUDWATCH_LOGS": emulator.url, "STS": token_service}
        with credentials(**{f"AWS_ENDPOINT_URL_{service}": url for service, url in endpoints.items()}):
            events = engine.start(engine.plan(small_search())).events()
            updates = [next(events)]
            emulator.expired_keys.add(emulator.calls[-1][1])
            updates += events
        keys = {key for _, key in emulator.calls}
    assert len(keys) == 2
    assert "first" not in keys
    assert sum(update.kind == "finished" for update in updates) == 6


def test_missing_credentials_are_told_from_a_way_that_does_not_lead_there() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with credentials():
            assert kind_of_error(endpoint_url=nowhere) == "transient"
        with credentials(AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="", AWS_CONFIG_FILE="/nowhere"):
            assert kind_of_error(endpoint_url=nowhere) == "credentials"


@pytest.mark.parametrize(
    ("options", "variables", "reason"),
    [
        ({"endpoint_url": "nowhere"}, {}, "Invalid endpoint: nowhere; fix endpoint_url"),
        ({}, {"AWS_PROFILE": "none"}, "The config profile .none. could not be found; fix .* AWS_PROFILE"),
    ],
)
def test_broken_configuration_is_named(options: dict[str, Any], variables: dict[str, str], reason: str) -> None:
    with credentials(**variables), pytest.raises(EngineError, match=reason):
        Caller(replace(OPTIONS, **options))
