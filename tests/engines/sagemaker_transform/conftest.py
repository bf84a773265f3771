"""S3 and SageMaker on loopback, and the best model of a search that stands in S3."""

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from kfp_image_tuning.dataset.document import Dataset
from kfp_image_tuning.engines.sagemaker.request.config import SageMakerConfig
from kfp_image_tuning.options.declared import GateOptions, TransformOptions
from kfp_image_tuning.search.result import Trial, TuningResult
from kfp_image_tuning.steps.sagemaker_evaluation import launch
from kfp_image_tuning.steps.tuning_settings import TuningSettings
from tests.emulators.sagemaker import SageMakerEmulator
from tests.engines.sagemaker.tuning_jobs import credentials
from tests.evaluation.digits import write_digits

ROLE = "arn:aws:iam::123456789012:role/tuning-execution"
BUCKET = "images"
MODEL_KEY = "kfp-image-tuning/models/ic-best-001/output/model.tar.gz"
OPTIONS = {"poll_seconds": 0.02}
TRANSFORM = TransformOptions()


@pytest.fixture(scope="module")
def storage_url() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def storage(storage_url: str) -> Any:
    client = boto3.client(
        "s3", endpoint_url=storage_url, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    client.create_bucket(Bucket=BUCKET)
    yield client
    bucket = boto3.resource(
        "s3", endpoint_url=storage_url, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    ).Bucket(BUCKET)
    bucket.objects.delete()
    bucket.delete()


@dataclass
class Found:
    """A data set, and what a search on it has left.

    Attributes:
        dataset: The data set.
        model: Folder of ``model.tar.gz``.
        result: File of the result document.
        folder: Where more can be written.
    """

    dataset: Dataset
    model: Path
    result: Path
    folder: Path
    storage_url: str
    account: dict[str, Any] = field(default_factory=dict)

    def variables(self, emulator: SageMakerEmulator) -> dict[str, str]:
        """The environment variables by which the emulator and S3 are found."""
        services = {"SAGEMAKER": emulator.url, "CLOUDWATCH_LOGS": emulator.url, "S3": self.storage_url}
        return {f"AWS_ENDPOINT_URL_{name}": url for name, url in services.items()}

    def component_inputs(self, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
        """The account, and what the launcher is told, with outputs in a folder."""
        account = {
            "role": ROLE,
            "bucket": BUCKET,
            "region": "",
            "run": "",
            "run_id": "run-1",
            "sagemaker_options": OPTIONS,
        }
        arguments = {
            "model": str(self.model),
            "dataset": str(self.dataset.directory),
            "tuning_result": str(self.result),
            "evaluation": str(folder / "evaluation.json"),
            "report": str(folder / "report.html"),
        }
        return account, arguments

    def evaluate(self, emulator: SageMakerEmulator, transform: TransformOptions = TRANSFORM, **wishes: Any) -> Any:
        """Evaluate the model, as the component does."""
        account, arguments = self.component_inputs(self.folder)
        with credentials(**self.variables(emulator)):
            config = SageMakerConfig(**{**account, **self.account})
            return launch(config, GateOptions(), transform, **{**arguments, **wishes})


def pack(folder: Path, archive: Path) -> Path:
    """Make a ``model.tar.gz`` of a folder's files."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:gz") as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, path.name)
    return archive


@pytest.fixture
def found(tmp_path: Path, storage: Any, storage_url: str) -> Found:
    """A search whose model is only named, not made: the emulator's predictor does without."""
    dataset = write_digits(tmp_path / "dataset", counts=(60, 20, 30))
    archive = tmp_path / "model" / "model.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("nothing"), io.BytesIO())
    storage.put_object(Bucket=BUCKET, Key=MODEL_KEY, Body=archive.read_bytes())
    trial = Trial(
        name="ic-best-001",
        status="completed",
        hyperparameters={"optimizer": "sgd", "learning_rate": 0.1},
        objective=0.75,
        started_at=1.0,
        finished_at=2.0,
        model_uri=f"s3://{BUCKET}/{MODEL_KEY}",
    )
    TuningResult(
        engine="sagemaker",
        status="completed",
        stop_reason="all trials have ended",
        search=TuningSettings(max_trials=1, epochs=3).to_search(dataset).to_dict(),
        trials=(trial,),
        started_at=1.0,
        seconds=1.0,
        engine_details={"region": "us-east-1"},
    ).save(tmp_path / "result.json")
    return Found(dataset, tmp_path / "model", tmp_path / "result.json", tmp_path, storage_url)
