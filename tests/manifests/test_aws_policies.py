"""The IAM policies against the calls that the code really makes: all of them are allowed, and nothing else is.

The calls are recorded inside boto3 while a tuning job with real training, its evaluation, and everything that stops or
goes wrong on the way run against the emulator and moto's S3 and STS.
"""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from string import Template
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import boto3
import pytest
import yaml
from moto.server import ThreadedMotoServer

from kfp_image_tuning.core.errors import EngineError
from kfp_image_tuning.engines.sagemaker.aws.storage import Storage
from kfp_image_tuning.engines.sagemaker.engine import SageMakerEngine
from kfp_image_tuning.engines.sagemaker.request.config import SageMakerConfig
from kfp_image_tuning.options.declared import GateOptions, TransformOptions
from kfp_image_tuning.steps.sagemaker_evaluation import launch as launch_evaluation
from kfp_image_tuning.steps.sagemaker_tuning import launch as launch_tuning
from kfp_image_tuning.steps.tuning_settings import TuningSettings
from tests.emulators.real_training import TrainedPredictor, TrainingRunner
from tests.emulators.sagemaker import SageMakerEmulator
from tests.engines.sagemaker.tuning_jobs import credentials
from tests.evaluation.digits import write_digits

pytestmark = pytest.mark.slow

MANIFESTS = Path(__file__).parents[2] / "manifests" / "aws"
PLACES = {
    "ACCOUNT": "123456789012", "BUCKET": "pictures", "PREFIX": "ic", "NAMESPACE": "kubeflow", "POD_ROLE": "pod",
    "EXECUTION_ROLE": "execution", "LAUNCHER_ROLE": "launcher", "OIDC_PROVIDER": "oidc.example/id/1", "KEY": "1",
}  # fmt: skip
ROLES = {name: f"arn:aws:iam::123456789012:role/{name}" for name in ("execution", "launcher")}
SAGEMAKER = "arn:aws:sagemaker:us-east-1:123456789012"
LOG_GROUP = "arn:aws:logs:us-east-1:123456789012:log-group"
S3_ACTIONS = {
    "HeadObject": ("GetObject",),
    "GetObject": ("GetObject",),
    "PutObject": ("PutObject",),
    # Whoever begins to send parts has to clear them away if the last one cannot be sent.
    "CreateMultipartUpload": ("PutObject", "AbortMultipartUpload"),
    "UploadPart": ("PutObject",),
    "CompleteMultipartUpload": ("PutObject",),
}
Need = tuple[str, str]
"""An action, and the resource that it is wanted on."""


def needs(service: str, operation: str, request: dict[str, Any]) -> set[Need]:
    """What IAM asks for one call, by AWS's service authorization reference."""
    if service == "s3":
        path = unquote(urlsplit(request["url"]).path).lstrip("/")
        if operation == "ListObjectsV2":
            return {("s3:ListBucket", f"arn:aws:s3:::{path.rstrip('/')}")}
        return {(f"s3:{action}", f"arn:aws:s3:::{path}") for action in S3_ACTIONS[operation]}
    if service == "sts":
        return {("sts:AssumeRole", request["body"]["RoleArn"])}
    body = json.loads(request["body"])
    if service == "logs":
        stream = body.get("logStreamName", "")
        return {(f"logs:{operation}", f"{LOG_GROUP}:{body['logGroupName']}:log-stream:{stream}")}
    kinds = {
        "HyperParameterTuningJobName": "hyper-parameter-tuning-job", "TrainingJobName": "training-job",
        "TransformJobName": "transform-job", "ModelName": "model",
    }  # fmt: skip
    resource = body.get("ResourceArn") or next(
        f"{SAGEMAKER}:{kind}/{body[name]}" for name, kind in kinds.items() if name in body
    )
    found = {(f"sagemaker:{operation}", str(resource))}
    if body.get("Tags"):
        found.add(("sagemaker:AddTags", str(resource)))
    text = json.dumps(body)
    if operation.startswith("Create") and ROLES["execution"] in text:
        found.add(("iam:PassRole", ROLES["execution"]))
    return found


@contextmanager
def recorded() -> Iterator[set[Need]]:
    """Collect what the calls need that boto3 makes meanwhile, in whatever thread."""
    found: set[Need] = set()

    class Recorder(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if str(record.msg).startswith("Making request for") and isinstance(record.args, tuple):
                operation, request = cast(tuple[Any, dict[str, Any]], record.args)
                service = operation.service_model.service_name
                found.update(needs(service, operation.name, request))

    logger, handler = logging.getLogger("botocore.endpoint"), Recorder()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield found
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> set[Need]:
    """Everything that the code needs."""
    folder = tmp_path_factory.mktemp("policies")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    storage = boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    storage.create_bucket(Bucket=PLACES["BUCKET"])
    write_digits(folder / "dataset", counts=(60, 20, 12))

    def run(emulator: SageMakerEmulator, work: Callable[[], object]) -> None:
        services = {"SAGEMAKER": emulator.url, "CLOUDWATCH_LOGS": emulator.url, "S3": url, "STS": url}
        with credentials(**{f"AWS_ENDPOINT_URL_{name}": place for name, place in services.items()}), emulator:
            work()

    training = SageMakerEmulator(
        TrainingRunner(storage, folder / "containers"), predictor=TrainedPredictor(storage), storage_url=url
    )
    with recorded() as found:
        run(training, lambda: tune_and_evaluate(training, folder))
        stopping = SageMakerEmulator(storage_url=url)
        run(stopping, lambda: stop_everything(stopping, folder))
    server.stop()
    return found


def account(run_id: str) -> SageMakerConfig:
    return SageMakerConfig(
        role=ROLES["execution"],
        bucket=PLACES["BUCKET"],
        region="us-east-1",
        run="",
        run_id=run_id,
        sagemaker_options={"poll_seconds": 0.3, "assume_role": ROLES["launcher"], "tags": {"team": "vision"}},
    )


SETTINGS = TuningSettings(
    max_trials=1, epochs=1, search_space={"optimizer": "sgd", "mini_batch_size": 10.0, "momentum": 0.9}
)


def tune_and_evaluate(emulator: SageMakerEmulator, folder: Path) -> None:
    outcome = launch_tuning(
        SETTINGS,
        account("run-1"),
        dataset=str(folder / "dataset"),
        model=str(folder / "model"),
        result=str(folder / "result.json"),
    )
    assert (folder / "model" / "model.tar.gz").is_file()
    assert str(outcome.model_metadata["model_uri"]).startswith("s3://pictures/kfp-image-tuning/models/")
    emulator.faults.add("lost_response", "CreateModel")
    emulator.seconds_per_poll = 300.0
    evaluate(folder)


def evaluate(folder: Path, **wishes: Any) -> None:
    launch_evaluation(
        account(wishes.pop("run", "run-1")),
        GateOptions(),
        TransformOptions(),
        model=str(folder / "model"),
        dataset=str(folder / "dataset"),
        tuning_result=str(folder / "result.json"),
        evaluation=str(folder / "evaluation.json"),
        report=str(folder / "report.html"),
        **wishes,
    )


def stop_everything(emulator: SageMakerEmulator, folder: Path) -> None:
    from kfp_image_tuning.dataset.document import Dataset

    with pytest.raises(EngineError, match="is stopped"):
        evaluate(folder, run="run-2", max_seconds=0.1)
    dataset = Dataset.load(folder / "dataset")
    options = replace(account("run-2").options(dataset, "task"), poll_seconds=0.05)
    for _ in range(2):
        # The second one finds the tuning job that is there.
        engine = SageMakerEngine(options)
        session = engine.start(engine.plan(SETTINGS.to_search(dataset)))
        events = session.events()
        next(events)
    session.stop()
    list(events)
    large = folder / "large"
    large.write_bytes(bytes(9 << 20))
    Storage(options).upload({"s3://pictures/kfp-image-tuning/large": large})


def policy(name: str) -> list[dict[str, Any]]:
    """A policy's statements with actions and resources as lists."""
    document = json.loads(Template((MANIFESTS / name).read_text(encoding="utf-8")).substitute(PLACES))
    assert document["Version"] == "2012-10-17"
    return [
        {
            **statement,
            **{
                part: [statement[part]] if isinstance(statement.get(part), str) else statement.get(part, [])
                for part in ("Action", "Resource")
            },
        }
        for statement in document["Statement"]
    ]


def allows(statements: list[dict[str, Any]], need: Need) -> bool:
    return any(
        need[0] in statement["Action"] and any(fnmatchcase(need[1], pattern) for pattern in statement["Resource"])
        for statement in statements
    )


LAUNCHER = ("launcher-policy.json", "pod-assume-role-policy.json")


def test_every_call_is_allowed(wanted: set[Need]) -> None:
    statements = [statement for name in LAUNCHER for statement in policy(name)]
    assert sorted(need for need in wanted if not allows(statements, need)) == []


def test_nothing_is_allowed_that_no_call_needs(wanted: set[Need]) -> None:
    allowed = {action for name in LAUNCHER for statement in policy(name) for action in statement["Action"]}
    assert sorted(allowed - {action for action, _ in wanted}) == []


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("sagemaker:StopHyperParameterTuningJob", f"{SAGEMAKER}:hyper-parameter-tuning-job/others-job"),
        ("sagemaker:DeleteModel", f"{SAGEMAKER}:model/production"),
        ("sagemaker:DescribeTrainingJob", f"{SAGEMAKER}:training-job/other-ic-job"),
        ("iam:PassRole", "arn:aws:iam::123456789012:role/admin"),
        ("s3:GetObject", "arn:aws:s3:::pictures-of-others/secret"),
        ("logs:GetLogEvents", f"{LOG_GROUP}:/aws/sagemaker/TrainingJobs:log-stream:other/algo-1"),
        ("logs:DescribeLogStreams", f"{LOG_GROUP}:/aws/lambda/other:log-stream:"),
    ],
)
def test_what_belongs_to_others_is_not_allowed(action: str, resource: str) -> None:
    assert not allows(policy("launcher-policy.json"), (action, resource))


def test_execution_role_is_for_sagemaker_alone() -> None:
    (passing,) = [statement for statement in policy("launcher-policy.json") if "iam:PassRole" in statement["Action"]]
    assert passing["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    (trust,) = policy("execution-trust-policy.json")
    assert trust["Principal"] == {"Service": "sagemaker.amazonaws.com"}


@pytest.mark.parametrize("path", sorted(MANIFESTS.glob("*.json")), ids=lambda path: path.stem)
def test_no_policy_has_wildcard_actions_or_spare_statements(path: Path) -> None:
    for statement in policy(path.name):
        assert statement["Effect"] == "Allow"
        assert statement["Action"]
        assert not any("*" in action for action in statement["Action"])


def test_service_account_and_trust_policy_name_each_other() -> None:
    text = Template((MANIFESTS / "service-account.yaml").read_text(encoding="utf-8")).substitute(PLACES)
    metadata = yaml.safe_load(text)["metadata"]
    (trust,) = policy("pod-trust-policy.json")
    subject = trust["Condition"]["StringEquals"]["oidc.example/id/1:sub"]
    assert subject == f"system:serviceaccount:{metadata['namespace']}:{metadata['name']}"
    assert metadata["annotations"]["eks.amazonaws.com/role-arn"] == "arn:aws:iam::123456789012:role/pod"
