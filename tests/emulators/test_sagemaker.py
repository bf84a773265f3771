"""The emulator itself: that it says no where the service says no, and moves on its clock as the service does."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError

from kfp_image_tuning.engines.sagemaker.request.request import build_request
from kfp_image_tuning.search.budget import Budget
from tests.emulators.sagemaker import SageMakerEmulator
from tests.engines.sagemaker.tuning_jobs import OPTIONS, small_search


@pytest.fixture
def emulator() -> Iterator[SageMakerEmulator]:
    with SageMakerEmulator() as running:
        yield running


def client(emulator: SageMakerEmulator, service: str = "sagemaker", key: str = "key") -> Any:
    return boto3.client(
        service,
        endpoint_url=emulator.url,
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key="secret",
        config=Config(retries={"total_max_attempts": 1}),
    )


def request(**wishes: Any) -> dict[str, Any]:
    return build_request(small_search(**wishes), OPTIONS)


def name_of(job: dict[str, Any]) -> dict[str, str]:
    return {"HyperParameterTuningJobName": job["HyperParameterTuningJobName"]}


def refusal(call: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call()
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


def test_request_that_botocore_lets_pass_is_refused(emulator: SageMakerEmulator) -> None:
    job = request(search_mode="flat")
    job["HyperParameterTuningJobConfig"]["Strategy"] = "Foo"
    code, message = refusal(lambda: client(emulator).create_hyper_parameter_tuning_job(**job))
    assert code == "ValidationException"
    assert "Strategy: must be one of Bayesian" in message


def test_second_job_of_a_name_is_refused_whatever_its_case(emulator: SageMakerEmulator) -> None:
    job = request()
    client(emulator).create_hyper_parameter_tuning_job(**job)
    job["HyperParameterTuningJobName"] = job["HyperParameterTuningJobName"].upper()
    assert refusal(lambda: client(emulator).create_hyper_parameter_tuning_job(**job))[0] == "ResourceInUse"


@pytest.mark.parametrize(
    ("method", "parameters", "code"),
    [
        ("describe_hyper_parameter_tuning_job", {"HyperParameterTuningJobName": "none"}, "ResourceNotFound"),
        ("stop_hyper_parameter_tuning_job", {"HyperParameterTuningJobName": "none"}, "ResourceNotFound"),
        ("describe_training_job", {"TrainingJobName": "none"}, "ValidationException"),
        ("describe_transform_job", {"TransformJobName": "none"}, "ValidationException"),
        ("delete_model", {"ModelName": "none"}, "ValidationException"),
    ],
)
def test_what_is_not_there(emulator: SageMakerEmulator, method: str, parameters: Any, code: str) -> None:
    assert refusal(lambda: getattr(client(emulator), method)(**parameters))[0] == code


def test_job_moves_through_its_states_on_the_clock(emulator: SageMakerEmulator) -> None:
    sagemaker, job = client(emulator), request(trials=3)
    sagemaker.create_hyper_parameter_tuning_job(**job)

    def describe() -> Any:
        return sagemaker.describe_hyper_parameter_tuning_job(**name_of(job))

    first = describe()
    assert (first["HyperParameterTuningJobStatus"], first["TrainingJobStatusCounters"]["InProgress"]) == (
        "InProgress",
        2,
    )
    assert "BestTrainingJob" not in first
    emulator.clock.skip(400)
    middle = describe()
    assert middle["TrainingJobStatusCounters"]["Completed"] == 2
    assert "BestTrainingJob" in middle
    emulator.clock.skip(400)
    last = describe()
    assert (last["HyperParameterTuningJobStatus"], last["ObjectiveStatusCounters"]["Succeeded"]) == ("Completed", 3)
    assert last["HyperParameterTuningEndTime"] > last["CreationTime"]
    best = sagemaker.describe_training_job(TrainingJobName=last["BestTrainingJob"]["TrainingJobName"])
    assert best["HyperParameters"]["_tuning_objective_metric"] == "validation:accuracy"
    assert refusal(lambda: sagemaker.stop_hyper_parameter_tuning_job(**name_of(job)))[0] == "ValidationException"


def test_time_limit_stops_the_job(emulator: SageMakerEmulator) -> None:
    job = request(budget=Budget(max_trials=50, parallel_trials=1, max_seconds=600))
    client(emulator).create_hyper_parameter_tuning_job(**job)
    emulator.clock.skip(10_000)
    found = client(emulator).describe_hyper_parameter_tuning_job(**name_of(job))
    assert found["HyperParameterTuningJobStatus"] == "Stopped"
    assert found["ConsumedResources"]["RuntimeInSeconds"] < 700


def test_five_hundred_trials_pass_at_once_in_pages_and_in_order(emulator: SageMakerEmulator) -> None:
    sagemaker = client(emulator)
    job = request(budget=Budget(max_trials=500, parallel_trials=10), strategy="random")
    sagemaker.create_hyper_parameter_tuning_job(**job)
    emulator.clock.skip(30 * 24 * 3600)
    query = {"SortBy": "FinalObjectiveMetricValue", "SortOrder": "Descending", "MaxResults": 100}
    pages = list(
        sagemaker.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job").paginate(**name_of(job), **query)
    )
    entries = [entry for page in pages for entry in page["TrainingJobSummaries"]]
    values = [entry["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] for entry in entries]
    assert (len(entries), len({entry["TrainingJobName"] for entry in entries})) == (500, 500)
    assert values == sorted(values, reverse=True)
    best = sagemaker.describe_hyper_parameter_tuning_job(**name_of(job))["BestTrainingJob"]
    assert best["TrainingJobName"] == entries[0]["TrainingJobName"]


def test_trials_stay_inside_their_ranges_and_their_definition(emulator: SageMakerEmulator) -> None:
    job = request(budget=Budget(max_trials=40, parallel_trials=10))
    client(emulator).create_hyper_parameter_tuning_job(**job)
    emulator.clock.skip(100_000)
    definitions = {entry["DefinitionName"]: entry for entry in job["TrainingJobDefinitions"]}
    entries = client(emulator).list_training_jobs_for_hyper_parameter_tuning_job(**name_of(job), MaxResults=100)
    for entry in entries["TrainingJobSummaries"]:
        ranges = definitions[entry["TrainingJobDefinitionName"]]["HyperParameterRanges"]
        bounds = {r["Name"]: r for kind in ("Integer", "Continuous") for r in ranges[f"{kind}ParameterRanges"]}
        assert set(entry["TunedHyperParameters"]) == set(bounds)
        for name, text in entry["TunedHyperParameters"].items():
            assert float(bounds[name]["MinValue"]) <= float(text) <= float(bounds[name]["MaxValue"])


def test_grid_tries_every_combination_once(emulator: SageMakerEmulator) -> None:
    changes = {"learning_rate": [0.1, 0.01], "mini_batch_size": [16, 32], "optimizer": "sgd"}
    job = request(changes=changes | {"momentum": 0.9, "weight_decay": 1e-4}, strategy="grid")
    client(emulator).create_hyper_parameter_tuning_job(**job)
    emulator.clock.skip(100_000)
    entries = client(emulator).list_training_jobs_for_hyper_parameter_tuning_job(**name_of(job))["TrainingJobSummaries"]
    assert {tuple(sorted(entry["TunedHyperParameters"].values())) for entry in entries} == {
        ("0.1", "16"), ("0.1", "32"), ("0.01", "16"), ("0.01", "32"),
    }  # fmt: skip


def test_warm_start_needs_a_parent_that_has_ended(emulator: SageMakerEmulator) -> None:
    sagemaker, child = client(emulator), request(search_mode="flat")
    child["HyperParameterTuningJobConfig"]["TrainingJobEarlyStoppingType"] = "Off"
    parent = request(search_mode="flat", seed=1)
    child["WarmStartConfig"] = {
        "ParentHyperParameterTuningJobs": [name_of(parent)],
        "WarmStartType": "IdenticalDataAndAlgorithm",
    }
    assert "does not exist" in refusal(lambda: sagemaker.create_hyper_parameter_tuning_job(**child))[1]
    sagemaker.create_hyper_parameter_tuning_job(**parent)
    emulator.clock.skip(100_000)
    sagemaker.describe_hyper_parameter_tuning_job(**name_of(parent))
    sagemaker.create_hyper_parameter_tuning_job(**child)


def test_logs_are_read_by_token(emulator: SageMakerEmulator) -> None:
    job = request()
    client(emulator).create_hyper_parameter_tuning_job(**job)
    emulator.clock.skip(100_000)
    logs, group = client(emulator, "logs"), "/aws/sagemaker/TrainingJobs"
    name = client(emulator).list_training_jobs_for_hyper_parameter_tuning_job(**name_of(job))["TrainingJobSummaries"][0]
    prefix = f"{name['TrainingJobName']}/algo-1-"
    (stream,) = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=prefix)["logStreams"]
    query = {"logGroupName": group, "logStreamName": stream["logStreamName"], "startFromHead": True}
    page = logs.get_log_events(**query, limit=3)
    rest = logs.get_log_events(**query, nextToken=page["nextForwardToken"])
    end = logs.get_log_events(**query, nextToken=rest["nextForwardToken"])
    assert len(page["events"]) == 3
    assert any("Epoch[2] Validation-accuracy=" in event["message"] for event in rest["events"])
    assert (end["events"], end["nextForwardToken"]) == ([], rest["nextForwardToken"])


def test_faults_come_as_they_were_asked_for(emulator: SageMakerEmulator) -> None:
    sagemaker, job = client(emulator), request()
    emulator.faults.add("throttling", "Create*")
    emulator.faults.add("lost_response", "Create*")
    assert refusal(lambda: sagemaker.create_hyper_parameter_tuning_job(**job))[0] == "ThrottlingException"
    with pytest.raises(ConnectionClosedError):
        sagemaker.create_hyper_parameter_tuning_job(**job)
    assert refusal(lambda: sagemaker.create_hyper_parameter_tuning_job(**job))[0] == "ResourceInUse"
    emulator.expired_keys.add("old")
    old = client(emulator, key="old")
    code, _ = refusal(lambda: old.describe_hyper_parameter_tuning_job(**name_of(job)))
    assert code == "ExpiredTokenException"


def test_started_by_hand_it_says_how_to_use_it(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.emulators.sagemaker"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            text = "".join(process.stdout.readline() for _ in range(14))
            variables = dict(re.findall(r"(AWS_[A-Z0-9_]+)=(\S+)", text))
            storage = boto3.client(
                "s3",
                endpoint_url=variables["AWS_ENDPOINT_URL_S3"],
                region_name=variables["AWS_REGION"],
                aws_access_key_id="a",
                aws_secret_access_key="b",
            )
            storage.create_bucket(Bucket="images")
            for split in ("train", "validation"):
                storage.put_object(Bucket="images", Key=f"digits/{split}/{split}.rec", Body=b"records")
            sagemaker = boto3.client(
                "sagemaker",
                endpoint_url=variables["AWS_ENDPOINT_URL_SAGEMAKER"],
                region_name=variables["AWS_REGION"],
                aws_access_key_id="a",
                aws_secret_access_key="b",
            )
            answer = sagemaker.create_hyper_parameter_tuning_job(**json.loads(json.dumps(request())))
        finally:
            process.kill()
    assert answer["HyperParameterTuningJobArn"].startswith("arn:aws:sagemaker:us-east-1:123456789012:")
