"""The evaluation of a tuning job's best model by batch transform, against the emulator and moto's S3."""

import json
from pathlib import Path
from typing import Any

import pytest

from kfp_image_tuning.core.errors import EngineError, ImageTuningError
from kfp_image_tuning.engines.sagemaker.transform.transform_images import parse_prediction
from kfp_image_tuning.evaluation.evaluation import Evaluation
from kfp_image_tuning.options.declared import TransformOptions
from tests.emulators.sagemaker import SageMakerEmulator
from tests.engines.sagemaker_transform.conftest import BUCKET, Found
from tests.evaluation.digits import write_digits

pytestmark = pytest.mark.slow


class FirstByte:
    """Says what each image is, and knows no image of these bytes."""

    def __init__(self, unreadable: bytes = b"no image") -> None:
        self.unreadable = unreadable
        self.asked: list[str] = []

    def predict(self, model_uri: str, image: bytes) -> list[float]:
        self.asked.append(model_uri)
        if image == self.unreadable:
            raise ValueError("no image")
        return [0.91] + [0.01] * 9


@pytest.fixture
def emulator(storage_url: str) -> Any:
    with SageMakerEmulator(predictor=FirstByte(), storage_url=storage_url, seconds_per_poll=60.0) as running:
        yield running


def keys(storage: Any, part: str) -> list[str]:
    listed = storage.list_objects_v2(Bucket=BUCKET, Prefix=f"kfp-image-tuning/{part}")
    return [entry["Key"] for entry in listed.get("Contents", ())]


def test_model_is_measured_on_the_test_images_and_deleted(
    emulator: SageMakerEmulator, found: Found, storage: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = found.evaluate(emulator)
    evaluation = Evaluation.load(found.folder / "evaluation.json")
    zeros = found.dataset.split("test").images_per_class["digit 0"]
    assert evaluation.accuracy == outcome.accuracy == zeros / 30
    assert (evaluation.images, evaluation.images_in_split, evaluation.coverage) == (30, 30, 1.0)
    assert evaluation.throughput.device == "ml.m5.xlarge"
    assert evaluation.selection is not None
    assert evaluation.selection.difference == pytest.approx(0.75 - evaluation.accuracy)
    assert "the search's objective for this model was 0.7500, a difference of" in capsys.readouterr().out
    assert emulator.service.models == {}
    assert len(keys(storage, "test-images/")) == 30
    assert (found.folder / "report.html").read_text().startswith("<!DOCTYPE html>")


def test_images_that_fail_are_named_and_the_others_scored(
    emulator: SageMakerEmulator, found: Found, capsys: pytest.CaptureFixture[str]
) -> None:
    found.dataset = write_digits(found.folder / "damaged", counts=(60, 20, 30), damaged=2)
    found.evaluate(emulator)
    evaluation = Evaluation.load(found.folder / "evaluation.json")
    assert (evaluation.images, evaluation.images_in_split) == (28, 30)
    assert [skipped.reason for skipped in evaluation.skipped] == ["SageMaker gave no prediction"] * 2
    output = capsys.readouterr().out
    assert "did not take all images: ClientError: 2 images could not be read" in output
    assert "2 of 30 test images could not be scored; all measures are over the other 93.3%" in output
    assert emulator.service.models == {}


def test_restarted_process_takes_up_its_own_transform_job_and_sends_nothing_twice(
    emulator: SageMakerEmulator, found: Found, storage: Any
) -> None:
    first = found.evaluate(emulator)
    written = {
        key: storage.head_object(Bucket=BUCKET, Key=key)["LastModified"] for key in keys(storage, "test-images/")
    }
    second = found.evaluate(emulator)
    assert len(emulator.service.transform_jobs) == 1
    assert second.accuracy == first.accuracy
    assert emulator.service.models == {}
    for key, moment in written.items():
        assert storage.head_object(Bucket=BUCKET, Key=key)["LastModified"] == moment


def test_stopped_transform_job_is_not_taken_for_an_evaluation(emulator: SageMakerEmulator, found: Found) -> None:
    found.evaluate(emulator)
    (job,) = emulator.service.transform_jobs.values()
    job.status = "Stopped"
    found.evaluate(emulator)
    assert [job.status for job in emulator.service.transform_jobs.values()] == ["Stopped", "Completed"]


@pytest.mark.parametrize("operation", ["CreateModel", "CreateTransformJob", "DescribeTransformJob", "DeleteModel"])
@pytest.mark.parametrize("kind", ["throttling", "internal", "reset", "lost_response"])
def test_faults_start_nothing_twice_and_leave_no_model(
    emulator: SageMakerEmulator, found: Found, operation: str, kind: Any
) -> None:
    emulator.faults.add(kind, operation, times=2)
    found.evaluate(emulator)
    assert emulator.service.models == {}
    assert len(emulator.service.transform_jobs) == 1


def test_two_hundred_faults_lose_no_prediction_and_start_nothing_twice(
    emulator: SageMakerEmulator, found: Found
) -> None:
    emulator.seconds_per_poll = 0.5
    kinds = ("throttling", "internal", "unavailable", "reset", "lost_response", "expired_token")
    emulator.faults.scatter(200, kinds, rate=0.7)  # type: ignore[arg-type]
    found.evaluate(emulator)
    assert len(emulator.faults.injected) == 200
    assert len(emulator.service.transform_jobs) == 1
    assert emulator.service.models == {}
    assert Evaluation.load(found.folder / "evaluation.json").coverage == 1.0


def test_job_that_takes_too_long_is_stopped(found: Found, storage_url: str) -> None:
    with SageMakerEmulator(predictor=FirstByte(), storage_url=storage_url) as emulator:
        with pytest.raises(EngineError, match=r"has run for 0\.1 s and is stopped"):
            found.evaluate(emulator, max_seconds=0.1)
        (job,) = emulator.service.transform_jobs.values()
        assert job.status == "Stopped"
        assert emulator.service.models == {}


TOASTER = TransformOptions(instance_type="ml.toaster")
ENDPOINT = TransformOptions.from_parameters({"mode": "endpoint"})


@pytest.mark.parametrize(
    ("account", "wishes", "reason"),
    [
        ({"role": ""}, {}, "role is required and missing"),
        ({"bucket": "No Bucket"}, {}, "'No Bucket' is not a bucket's name"),
        ({"sagemaker_options": {"instnce_type": "x"}}, {}, "instnce_type is unknown; did you mean instance_type"),
        (
            {},
            {"transform": TOASTER},
            "TransformResources.InstanceType: must be one of the service's",
        ),
        (
            {},
            {"transform": ENDPOINT},
            "'endpoint' is none of transform, offline",
        ),
        ({"bucket": "elsewhere-123"}, {}, "s3://elsewhere-123/kfp-image-tuning/.*bucket does not exist"),
    ],
)
def test_what_cannot_be_done_is_refused(
    emulator: SageMakerEmulator, found: Found, account: dict[str, Any], wishes: dict[str, Any], reason: str
) -> None:
    found.account = account
    with pytest.raises(ImageTuningError, match=reason):
        found.evaluate(emulator, **wishes)
    assert emulator.service.models == {}
    assert emulator.service.transform_jobs == {}


@pytest.mark.parametrize("content", [{"prediction": [0.25, 0.75]}, [0.25, 0.75]])
def test_both_forms_of_predictions_are_read(content: Any) -> None:
    assert parse_prediction(json.dumps(content).encode(), 2, "x.out") == [0.25, 0.75]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is neither .* nor a list of numbers"),
        (b'{"predictions": [1, 0]}', "is neither"),
        (b'["0.5", "0.5"]', "is neither"),
        (b"[true, false]", "is neither"),
        (b"[1, 0, 0]", "has 3 probabilities, the data set has 2 classes"),
    ],
)
def test_what_is_no_prediction_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(ImageTuningError, match=f"x.out: {reason}"):
        parse_prediction(content, 2, "x.out")


def test_model_archive_is_needed(emulator: SageMakerEmulator, found: Found) -> None:
    (Path(found.model) / "model.tar.gz").unlink()
    with pytest.raises(EngineError, match=r"holds no model\.tar\.gz"):
        found.evaluate(emulator)
