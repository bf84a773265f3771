"""What the component does around the tuning job: data to S3, options, model and documents back."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from kfp_image_tuning.core.errors import EngineError, ImageTuningError
from kfp_image_tuning.dataset.document import Dataset
from kfp_image_tuning.engines.sagemaker.aws.storage import Storage
from kfp_image_tuning.engines.sagemaker.request.config import SageMakerConfig, bucket_folder
from kfp_image_tuning.engines.sagemaker.request.planning import plan_search
from kfp_image_tuning.search.result import TuningResult
from kfp_image_tuning.steps.sagemaker_tuning import launch, send_dataset
from kfp_image_tuning.steps.tuning_settings import TuningSettings
from tests.emulators.real_training import TrainingRunner
from tests.emulators.sagemaker import SageMakerEmulator
from tests.engines.sagemaker.tuning_jobs import OPTIONS, credentials
from tests.evaluation.digits import write_digits

ACCOUNT = SageMakerConfig(
    role="arn:aws:iam::123456789012:role/tuning",
    bucket="pictures",
    region="us-east-1",
    run="",
    run_id="3e6b",
    sagemaker_options={"poll_seconds": 0.3},
)
SETTINGS = TuningSettings(
    max_trials=1, epochs=1, search_space={"optimizer": "sgd", "mini_batch_size": 10.0, "momentum": 0.9}
)


@pytest.fixture(scope="module")
def storage_url() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture(scope="module")
def storage(storage_url: str) -> Any:
    client = boto3.client(
        "s3", endpoint_url=storage_url, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    client.create_bucket(Bucket="pictures")
    return client


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_digits(tmp_path_factory.mktemp("digits"), counts=(60, 20, 12))


def test_restarted_task_takes_up_its_tuning_job_and_puts_out_the_same(
    storage_url: str, storage: Any, dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(name: str, account: SageMakerConfig = ACCOUNT) -> Any:
        return launch(
            SETTINGS,
            account,
            dataset=str(dataset.directory),
            model=str(tmp_path / name / "model"),
            result=str(tmp_path / name / "result.json"),
        )

    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    with SageMakerEmulator(TrainingRunner(storage, tmp_path / "containers"), storage_url=storage_url) as emulator:
        places = {"SAGEMAKER": emulator.url, "CLOUDWATCH_LOGS": emulator.url, "S3": storage_url}
        with credentials(**{f"AWS_ENDPOINT_URL_{service}": url for service, url in places.items()}):
            outcomes = [run("first"), run("second")]
        assert len(emulator.service.tuning_jobs) == 1
    assert "was there already" in capsys.readouterr().out
    assert outcomes[0] == replace(outcomes[1], metrics=outcomes[0].metrics)
    result = TuningResult.load(tmp_path / "second/result.json")
    best = result.best_trial
    assert best is not None
    assert outcomes[0].best_trial == best.name
    assert outcomes[0].model_metadata["model_uri"] == best.model_uri
    assert outcomes[0].model_metadata["framework"] == "mxnet"
    archives = [(tmp_path / name / "model/model.tar.gz").read_bytes() for name in ("first", "second")]
    assert archives[0] == archives[1]


def test_only_what_is_not_there_is_sent(storage_url: str, storage: Any, tmp_path: Path) -> None:
    dataset = write_digits(tmp_path / "data", counts=(40, 10, 10))
    folder, lines = "s3://pictures/sent", list[str]()
    options = replace(OPTIONS, data=folder)
    with credentials(AWS_ENDPOINT_URL_S3=storage_url):
        sender = Storage(OPTIONS)
        for _ in range(2):
            send_dataset(dataset, sender, options, lines.append)
        storage.put_object(Bucket="pictures", Key="sent/train/train-00000.rec", Body=b"damaged")
        send_dataset(dataset, sender, options, lines.append)
        assert sorted(sender.sizes(folder)) == [
            "dataset.json",
            "train/train-00000.rec",
            "validation/validation-00000.rec",
        ]
    assert [line.endswith("was there already") for line in lines] == [False, True, False]
    body = storage.get_object(Bucket="pictures", Key="sent/train/train-00000.rec")["Body"].read()
    assert body == dataset.split("train").record_paths[0].read_bytes()


def test_options_follow_from_bucket_data_and_run(dataset: Dataset) -> None:
    options = ACCOUNT.options(dataset, "task-1")
    identity = dataset.fingerprint.removeprefix("sha256:")[:16]
    assert options.data == f"s3://pictures/kfp-image-tuning/datasets/{identity}"
    assert options.output_uri == "s3://pictures/kfp-image-tuning/models"
    assert options.run == "3e6b/task-1"
    assert replace(ACCOUNT, run="mine").options(dataset, "task-1").run == "mine"
    assert replace(ACCOUNT, run_id="").options(dataset, "task-1").run == ""
    whole = json.loads('{"nodes": 2.0, "spot": true}')
    assert replace(ACCOUNT, sagemaker_options=whole).options(dataset, "task-1").nodes == 2


def test_shards_are_sent_so_that_they_can_be_streamed(tmp_path: Path, storage_url: str, storage: Any) -> None:
    dataset = write_digits(tmp_path / "data", counts=(40, 10, 10), train_shards=2)
    streamed = replace(ACCOUNT, sagemaker_options={"input_mode": "Pipe"})
    options = streamed.options(dataset, "task-1")
    plan_search(SETTINGS.to_search(dataset), options)
    with credentials(AWS_ENDPOINT_URL_S3=storage_url):
        send_dataset(dataset, Storage(options), options, print)
        bucket, _, prefix = options.channels["train"].removeprefix("s3://").partition("/")
        found = storage.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]
    assert [entry["Key"].rpartition("/")[2] for entry in found] == [
        Path(shard.record).name for shard in dataset.split("train").shards
    ]
    in_place = replace(streamed, data="s3://pictures/mine", bucket="").options(dataset, "task-1")
    with pytest.raises(EngineError, match="the index and list files too"):
        plan_search(SETTINGS.to_search(dataset), in_place)


def test_channel_that_lies_elsewhere_gets_nothing(storage_url: str, storage: Any, dataset: Dataset) -> None:
    options = replace(OPTIONS, data="s3://pictures/partly", channels={"train": "s3://pictures/elsewhere.rec"})
    with credentials(AWS_ENDPOINT_URL_S3=storage_url):
        sender = Storage(options)
        send_dataset(dataset, sender, options, print)
        assert sorted(sender.sizes(options.data)) == ["dataset.json", "validation/validation-00000.rec"]


def test_images_instead_of_record_files_lie_where_the_user_says(dataset: Dataset) -> None:
    more = {"content": "augmented_manifest", "input_mode": "Pipe"}
    with pytest.raises(EngineError, match=r"(?s)give channels.train, its place in S3.*give channels.validation"):
        replace(ACCOUNT, sagemaker_options=more).options(dataset, "task-1")
    channels = {"train": "s3://mine/train.manifest", "validation": "s3://mine/validation.manifest"}
    assert (
        replace(ACCOUNT, sagemaker_options=more | {"channels": channels}).options(dataset, "task-1").channels
        == channels
    )


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"content": "pictures"}, "content must be one of recordio, images, augmented_manifest, got 'pictures'"),
        ({"spot": "yes"}, "spot must be true or false, got 'yes'"),
        ({"nodes": "2"}, "nodes must be a whole number, got '2'"),
        ({"subnets": "subnet-1"}, "subnets must be a list, of text each, got 'subnet-1'"),
        ({"tags": {"team": 7}}, "tags must be an object, of text each"),
        ({"max_seconds": True}, "max_seconds must be a whole number or null, got True"),
        ({"channels": ["train"]}, "channels must be an object, of text each"),
        ({"data": "s3://x/y"}, "data is decided by bucket and data set"),
        ({"role": "arn:aws:iam::1:role/x"}, "role is given twice"),
        ({"instance_typ": "ml.g5.xlarge"}, "instance_typ is unknown; did you mean instance_type"),
    ],
)
def test_options_that_cannot_be_are_refused(dataset: Dataset, more: dict[str, Any], reason: str) -> None:
    with pytest.raises(EngineError, match=reason):
        replace(ACCOUNT, sagemaker_options=more).options(dataset, "task-1")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("my-bucket", "s3://my-bucket/kfp-image-tuning"),
        ("s3://my-bucket", "s3://my-bucket/kfp-image-tuning"),
        ("s3://my-bucket/a/b/", "s3://my-bucket/a/b"),
        ("my-bucket/a", "s3://my-bucket/a"),
    ],
)
def test_folder_of_a_bucket(given: str, expected: str) -> None:
    assert bucket_folder(given) == expected


def test_what_sagemaker_would_refuse_is_told_before_anything_is_sent(
    storage_url: str, dataset: Dataset, tmp_path: Path
) -> None:
    account = replace(ACCOUNT, bucket="untouched", sagemaker_options={"instance_type": "ml.toaster"})
    with credentials(AWS_ENDPOINT_URL_S3=storage_url), pytest.raises(ImageTuningError, match="InstanceType"):
        launch(
            SETTINGS, account, dataset=str(dataset.directory), model=str(tmp_path / "model"),
            result=str(tmp_path / "result.json"),
        )  # fmt: skip
