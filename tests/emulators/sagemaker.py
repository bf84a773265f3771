"""An HTTP server on loopback that speaks SageMaker's protocol (json-1.1) to the real boto3.

It checks requests as strictly as the service, moves jobs through their states on a clock that can be pushed on, and
makes faults on demand. S3 and STS come from moto's server beside it. Started by hand, it says how to use it; its trials
are learning curves, or trainings on this machine:

    python -m tests.emulators.sagemaker [--train]
"""

import argparse
import json
import logging
import re
import socket
import struct
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.emulators.faults import ERRORS, Faults
from tests.emulators.sagemaker_checks import ServiceError
from tests.emulators.sagemaker_service import Service, encode
from tests.emulators.training_jobs import CurveRunner, Runner
from tests.emulators.transform_jobs import HashPredictor, Predictor
from tests.emulators.virtual_clock import VirtualClock

_CREDENTIAL = re.compile(r"Credential=([^/]+)/\d{8}/([a-z0-9-]+)/(sagemaker|logs)/aws4_request")
_POLLS = ("DescribeHyperParameterTuningJob", "DescribeTransformJob")


class SageMakerEmulator:
    """The emulator; a context manager that starts and ends its server.

    Args:
        runner: Who runs training jobs; learning curves on the virtual clock if none is given.
        predictor: Who answers batch transforms.
        storage_url: Endpoint of the S3 beside it.
        seconds_per_poll: How far the clock moves whenever somebody asks how a job is.
        port: To listen on; 0: a free one.
        address: Of this machine, to listen at.

    Attributes:
        calls: Every call that arrived, with the access key that signed it.
        faults: What goes wrong.
        clock: The jobs' time.
        service: The state.
    """

    def __init__(
        self,
        runner: Runner | None = None,
        *,
        predictor: Predictor | None = None,
        storage_url: str | None = None,
        seconds_per_poll: float = 0.0,
        port: int = 0,
        address: str = "127.0.0.1",
    ) -> None:
        self.clock = VirtualClock()
        self.faults = Faults()
        self.calls: list[tuple[str, str]] = []
        self.expired_keys: set[str] = set()
        self.seconds_per_poll = seconds_per_poll
        storage = _storage_client(storage_url) if storage_url else None
        runner = runner or CurveRunner(storage=storage)
        self.service = Service(self.clock, runner, predictor or HashPredictor(self._classes_of), storage)
        self._server = _Server((address, port), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        """The endpoint for SageMaker and CloudWatch Logs."""
        return "http://{}:{}".format(*self._server.server_address[:2])

    def _classes_of(self, model_uri: str) -> int:
        """How many classes a model tells apart, by the training job that left it."""
        jobs = [job for tuning_job in self.service.tuning_jobs.values() for job in tuning_job.jobs]
        return next((int(job.hyperparameters["num_classes"]) for job in jobs if job.model_uri == model_uri), 10)

    def count(self, operation: str) -> int:
        """How often an operation was called."""
        return sum(name == operation for name, _ in self.calls)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that were killed: that is what some tests are about."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class ConnectionCutError(Exception):
    """The connection ends without an answer."""


def _handler(emulator: SageMakerEmulator) -> type[BaseHTTPRequestHandler]:
    """The request handler of one emulator."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body in one packet: two would wait for each other's acknowledgement, 40 ms each time.
        wbufsize = -1
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            try:
                answer = encode(_answer(emulator, self.headers, body))
                self._send(200, answer)
            except ConnectionCutError:
                self._cut()
            except ServiceError as error:
                document = {"__type": error.code, "message": str(error)}
                self._send(error.status, json.dumps(document).encode())

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _cut(self) -> None:
            # Linger 0 makes the kernel send a reset instead of an orderly end.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()

        def finish(self) -> None:
            if not self.connection._closed:  # there is no public way to ask
                super().finish()

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def _answer(emulator: SageMakerEmulator, headers: Any, body: bytes) -> dict[str, Any]:
    operation = headers.get("X-Amz-Target", "").rpartition(".")[2]
    signed = _CREDENTIAL.search(headers.get("Authorization", ""))
    if signed is None:
        raise ServiceError("MissingAuthenticationTokenException", "Request is missing Authentication Token", 403)
    emulator.calls.append((operation, signed[1]))
    if signed[1] in emulator.expired_keys:
        raise ServiceError("ExpiredTokenException", "The security token included in the request is expired")
    fault = emulator.faults.draw(operation)
    if fault == "reset":
        raise ConnectionCutError
    if fault in ERRORS:
        status, code, message = ERRORS[fault]
        raise ServiceError(code, message, status)
    if operation in _POLLS:
        emulator.clock.skip(emulator.seconds_per_poll)
    answer = emulator.service.call(operation, json.loads(body or b"{}"), signed[2])
    if fault == "lost_response":
        raise ConnectionCutError
    return answer


def _storage_client(url: str) -> Any:
    # Imported here: without S3 the emulator needs no boto3.
    import boto3

    return boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="emulator", aws_secret_access_key="emulator"
    )


HELP = """\
SageMaker, CloudWatch Logs, S3 and STS on this machine, with an empty bucket "my-bucket".
{trials}
In another shell:

  export AWS_ENDPOINT_URL_SAGEMAKER={url} AWS_ENDPOINT_URL_CLOUDWATCH_LOGS={url}
  export AWS_ENDPOINT_URL_S3={storage_url} AWS_ENDPOINT_URL_STS={storage_url}
  export AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1 AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any

then use boto3, or

  kfp-image-tuning run --engine sagemaker --data FOLDER --bucket my-bucket --max-trials 8 \\
    --role arn:aws:iam::123456789012:role/any --sagemaker-options '{{"poll_seconds": 1}}' --output runs/emulated

Ctrl-C ends it."""
CURVES = """\
Trials are recorded learning curves, and each look at a job lets 60 seconds pass; with --train they train for real."""
TRAINED = "Trials train on this machine, in real time."


def main() -> None:
    """Start the emulator and moto's S3 and STS, for trying things by hand."""
    from moto.server import ThreadedMotoServer

    from tests.emulators.real_training import TrainedPredictor, TrainingRunner
    from tests.emulators.recorded_curves import recorded_curve

    parser = argparse.ArgumentParser(prog="python -m tests.emulators.sagemaker", description="SageMaker on loopback.")
    parser.add_argument("--train", action="store_true", help="train for real, with this project's trainer")
    train = parser.parse_args().train
    # It would say every request that it gets.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    storage_url = "http://{}:{}".format(*moto.get_host_and_port())
    storage = _storage_client(storage_url)
    storage.create_bucket(Bucket="my-bucket")
    with tempfile.TemporaryDirectory(prefix="containers-") as containers:
        emulator = SageMakerEmulator(
            TrainingRunner(storage, Path(containers)) if train else CurveRunner(recorded_curve, storage=storage),
            predictor=TrainedPredictor(storage) if train else None,
            storage_url=storage_url,
            seconds_per_poll=0.0 if train else 60.0,
        )
        if train:
            # Shorter than a real one, which starts a machine first.
            emulator.service.transform_seconds = 5.0
        with emulator:
            trials = TRAINED if train else CURVES
            print(HELP.format(trials=trials, url=emulator.url, storage_url=storage_url), flush=True)
            try:
                while True:
                    time.sleep(3600)
            except KeyboardInterrupt:
                moto.stop()


if __name__ == "__main__":
    main()
