"""Training jobs that train: our trainer, started as SageMaker starts a container, on what it reads back from S3.

The channels are downloaded into a folder of the container's form, ``python -m kfp_image_tuning.trainer train`` runs
there, and ``model.tar.gz`` goes where OutputDataConfig says. `TrainedPredictor` answers batch transforms with it.
"""

import json
import math
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from tests.emulators.training_jobs import TrainingJob

_VALIDATION = re.compile(r"Epoch\[\d+\] Validation-accuracy=([0-9.]+)")


class TrainingRunner:
    """Runs each training job as a process of this machine; use it with a clock that nobody pushes on.

    Args:
        storage: boto3's S3 client.
        directory: Where the containers' folders are.
    """

    def __init__(self, storage: Any, directory: Path) -> None:
        self._storage, self._directory = storage, directory

    def start(self, job: TrainingJob, number: int, time: float) -> "TrainingRun":
        """Download the channels and start the process."""
        root = self._directory / job.name
        configuration = root / "input/config"
        configuration.mkdir(parents=True)
        (root / "model").mkdir()
        (configuration / "hyperparameters.json").write_text(json.dumps(job.hyperparameters))
        hosts = {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "lo"}
        (configuration / "resourceconfig.json").write_text(json.dumps(hosts))
        for channel in job.definition["InputDataConfig"]:
            self._download(channel, root / "input/data" / channel["ChannelName"])
        job.started, job.secondary = time, "Training"
        return TrainingRun(self._storage, job, root)

    def _download(self, channel: Mapping[str, Any], folder: Path) -> None:
        """What File mode does: every object whose key starts with the prefix."""
        bucket, prefix = _split(channel["DataSource"]["S3DataSource"]["S3Uri"])
        for page in self._storage.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for entry in page.get("Contents", ()):
                path = folder / entry["Key"][prefix.rfind("/") + 1 :]
                path.parent.mkdir(parents=True, exist_ok=True)
                self._storage.download_file(bucket, entry["Key"], str(path))


class TrainingRun:
    """One training in a process of its own."""

    def __init__(self, storage: Any, job: TrainingJob, root: Path) -> None:
        self._storage, self._job, self._root = storage, job, root
        self._output = root / "output.log"
        self._read = 0
        environment = os.environ | {"SAGEMAKER_BASE_DIR": str(root), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "kfp_image_tuning.trainer", "train"],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
            )

    def next_event(self, now: float) -> float:
        ended = self._process.poll() is not None and self._job.ended is None
        return now if ended or self._output.stat().st_size > self._read else math.inf

    def happen(self, time: float) -> None:
        ended = self._process.poll()
        self._read_output(time)
        if ended is not None:
            self._end(time, ended)

    def stop(self, time: float) -> None:
        self._job.status = self._job.secondary = "Stopping"
        self._process.terminate()

    def _read_output(self, time: float) -> None:
        text = self._output.read_bytes()
        # A line without its end is still being written.
        end = text.rfind(b"\n") + 1 if self._process.poll() is None else len(text)
        for line in text[self._read : end].decode(errors="replace").splitlines():
            self._job.log.append((time, line))
            if found := _VALIDATION.search(line):
                self._job.accuracies.append(float(found[1]))
        self._read = max(self._read, end) if end else self._read

    def _end(self, time: float, exit_status: int) -> None:
        stopped = self._job.status == "Stopping"
        if exit_status != 0 and not stopped:
            failure = self._root / "output/failure"
            reason = failure.read_text() if failure.is_file() else f"exit code: {exit_status}"
            self._job.end(time, "Failed", failure=f"AlgorithmError: {reason}")
            return
        self._job.end(time, "Stopped" if stopped else "Completed")
        if self._job.model_uri:
            archive = self._root / "model.tar.gz"
            with tarfile.open(archive, "w:gz") as tar:
                for path in sorted((self._root / "model").iterdir()):
                    tar.add(path, path.name)
            self._storage.upload_file(str(archive), *_split(self._job.model_uri))


class TrainedPredictor:
    """Predicts with the model in a ``model.tar.gz`` of our trainer.

    Args:
        storage: boto3's S3 client.
    """

    def __init__(self, storage: Any) -> None:
        self._storage = storage
        self._load = lru_cache(maxsize=4)(self._load_model)

    def predict(self, model_uri: str, image: bytes) -> list[float]:
        """Squeeze an image to the network's shape, as the algorithm does when serving."""
        from kfp_image_tuning.core.errors import DatasetError
        from kfp_image_tuning.dataset.image_codec import decode_image, resize_image

        model = self._load(model_uri)
        channels, height, width = model.image_shape
        try:
            pixels = resize_image(decode_image(image, channels=channels), height, width)
        except DatasetError as error:
            raise ValueError(str(error)) from error
        return [float(value) for value in model.predict(pixels[None])[0]]

    def _load_model(self, model_uri: str) -> Any:
        from kfp_image_tuning.model.model_files import load_model
        from kfp_image_tuning.model.model_source import local_model

        with tempfile.TemporaryDirectory() as folder:
            archive = Path(folder) / "model.tar.gz"
            self._storage.download_file(*_split(model_uri), str(archive))
            with local_model(archive) as directory:
                return load_model(directory)


def _split(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key
