"""SageMaker's operations, and those of CloudWatch Logs that belong to them, over the emulator's state."""

import json
import math
import threading
from collections.abc import Callable, Mapping
from typing import Any

from tests.emulators.sagemaker_checks import ServiceError, check_form, check_tuning_job, refuse
from tests.emulators.training_jobs import LOG_GROUP, Runner, TrainingJob
from tests.emulators.transform_jobs import Predictor, TransformJob
from tests.emulators.tuning_jobs import TuningJob
from tests.emulators.virtual_clock import VirtualClock

ACCOUNT = "123456789012"
Document = Mapping[str, Any]


class Service:
    """The state, and one method for each operation, named as it is.

    Args:
        clock: The emulator's clock.
        runner: Who runs training jobs.
        predictor: Who answers batch transforms.
        storage: A boto3 client of the S3 beside it; None: there is none, and S3 locations are not looked at.
    """

    def __init__(self, clock: VirtualClock, runner: Runner, predictor: Predictor, storage: Any | None) -> None:
        self.lock = threading.RLock()
        self.runner = runner
        self.tuning_jobs: dict[str, TuningJob] = {}
        self.models: dict[str, dict[str, Any]] = {}
        self.transform_jobs: dict[str, TransformJob] = {}
        self.tags: dict[str, dict[str, str]] = {}
        self.predictor = predictor
        self.transform_seconds = 240.0
        self._clock, self._storage = clock, storage

    def call(self, operation: str, request: Document, region: str) -> dict[str, Any]:
        """Carry out one operation.

        Raises:
            ServiceError: As the service answers.
        """
        service = "logs" if operation in ("DescribeLogStreams", "GetLogEvents") else "sagemaker"
        carry_out: Callable[[Document, str], dict[str, Any]] | None = getattr(self, f"_{operation}", None)
        if carry_out is None:
            raise ServiceError("UnknownOperationException", f"{operation} is not emulated")
        check_form(operation, request, service)
        with self.lock:
            for job in self.tuning_jobs.values():
                job.advance(self._clock.now())
            return carry_out(request, region)

    def _CreateHyperParameterTuningJob(self, request: Document, region: str) -> dict[str, Any]:  # noqa: N802
        check_tuning_job(request)
        name = request["HyperParameterTuningJobName"]
        if name.lower() in self.tuning_jobs:
            raise ServiceError(
                "ResourceInUse", f"Tuning job name must be unique within an AWS account and region, {name}"
            )
        for parent in request.get("WarmStartConfig", {}).get("ParentHyperParameterTuningJobs", ()):
            found = self.tuning_jobs.get(parent["HyperParameterTuningJobName"].lower())
            if found is None or found.ended is None:
                refuse(f"Parent tuning job {parent['HyperParameterTuningJobName']} does not exist or has not ended.")
        self._check_data(request)
        job = TuningJob(request, self.runner, region, self._clock.now())
        self.tuning_jobs[name.lower()] = job
        self._tag(job.arn, request.get("Tags", ()))
        return {"HyperParameterTuningJobArn": job.arn}

    def _DescribeHyperParameterTuningJob(self, request: Document, region: str) -> dict[str, Any]:  # noqa: N802
        return self._tuning_job(request).describe()

    def _StopHyperParameterTuningJob(self, request: Document, region: str) -> dict[str, Any]:  # noqa: N802
        job = self._tuning_job(request)
        if job.ended is not None:
            refuse(f"Tuning job {job.name} is in status {job.status} and cannot be stopped.")
        job.stop(self._clock.now())
        return {}

    def _ListTrainingJobsForHyperParameterTuningJob(self, request: Document, region: str) -> dict[str, Any]:  # noqa: N802
        entries = self._tuning_job(request).list_training_jobs(request)
        start, size = int(request.get("NextToken", "0")), request.get("MaxResults", 10)
        answer: dict[str, Any] = {"TrainingJobSummaries": entries[start : start + size]}
        if start + size < len(entries):
            answer["NextToken"] = str(start + size)
        return answer

    def _DescribeTrainingJob(self, request: Document, region: str) -> dict[str, Any]:  # noqa: N802
        tuning_job, job = self._training_job(request["TrainingJobName"])
        return job.describe() | {"TuningJobArn": tuning_job.arn}

    def _CreateModel(self, request: Document, region: str) -> dict[str, Any]:  # noqa: N802
        name = request["ModelName"]
        if name in self.models:
            refuse(f"Cannot create already existing model {name}.")
        arn = f"arn:aws:sagemaker:{region}:{ACCOUNT}:model/{name.lower()}"
        self.models[name] = {**request, "ModelArn": arn, "CreationTime": self._clock.now()}
        self._tag(arn, request.get("Tags", ()))
        return {"ModelArn": arn}

    def _DescribeModel(self, request: Document, region: str) -> dict[str, Any]:  # noqa: N802
        model = self.models.get(request["ModelName"])
        if model is None:
            raise ServiceError("ValidationException", f"Could not find model {request['ModelName']}.")
        return {name: value for name, value in model.items() if name != "Tags"}

    def _DeleteModel(self, request: Document, region: str) -> dict[str, Any]:  # noqa: N802
        self._DescribeModel(request, region)
        del self.models[request["ModelName"]]
        return {}

    def _CreateTransformJob(self, request: Document, region: str) -> dict[str, Any]:  # noqa: N802
        name = request["TransformJobName"]
        model = self._DescribeModel({"ModelName": request["ModelName"]}, region)
        if name in self.transform_jobs:
            raise ServiceError("ResourceInUse", f"Job name must be unique within an AWS account and region: {name}")
        if self._storage is None:
            refuse("Batch transform needs the emulator's S3.")
        job = TransformJob(
            request, model, region, self._clock.now(), self._storage, self.predictor, self.transform_seconds
        )
        self.transform_jobs[name] = job
        self._tag(job.arn, request.get("Tags", ()))
        return {"TransformJobArn": job.arn}

    def _DescribeTransformJob(self, request: Document, region: str) -> dict[str, Any]:  # noqa: N802
        job = self._transform_job(request)
        job.advance(self._clock.now())
        return job.describe()

    def _StopTransformJob(self, request: Document, region: str) -> dict[str, Any]:  # noqa: N802
        self._transform_job(request).stop(self._clock.now())
        return {}

    def _AddTags(self, request: Document, region: str) -> dict[str, Any]:  # noqa: N802
        self._tag(request["ResourceArn"], request["Tags"])
        return {"Tags": _tag_list(self.tags[request["ResourceArn"]])}

    def _ListTags(self, request: Document, region: str) -> dict[str, Any]:  # noqa: N802
        return {"Tags": _tag_list(self.tags.get(request["ResourceArn"], {}))}

    def _DescribeLogStreams(self, request: Document, region: str) -> dict[str, Any]:  # noqa: N802
        if request.get("logGroupName") != LOG_GROUP or not self.tuning_jobs:
            raise ServiceError("ResourceNotFoundException", "The specified log group does not exist.")
        prefix = request.get("logStreamNamePrefix", "")
        names = [_stream(job) for tuning in self.tuning_jobs.values() for job in tuning.jobs if job.log]
        found = sorted(name for name in names if name.startswith(prefix))
        return {"logStreams": [{"logStreamName": name} for name in found[: request.get("limit", 50)]]}

    def _GetLogEvents(self, request: Document, region: str) -> dict[str, Any]:  # noqa: N802
        stream = request["logStreamName"]
        try:
            _, job = self._training_job(stream.partition("/")[0])
        except ServiceError:
            raise ServiceError("ResourceNotFoundException", "The specified log stream does not exist.") from None
        limit = request.get("limit", 10_000)
        token = request.get("nextToken", "")
        if token:
            start = int(token.rpartition("/")[2])
        else:
            start = 0 if request.get("startFromHead") else max(0, len(job.log) - limit)
        lines = job.log[start : start + limit]
        end = start + len(lines)
        events = [
            {"timestamp": int(time * 1000), "message": line, "ingestionTime": int(time * 1000)} for time, line in lines
        ]
        return {"events": events, "nextForwardToken": f"f/{end}", "nextBackwardToken": f"b/{start}"}

    def _tuning_job(self, request: Document) -> TuningJob:
        name = request["HyperParameterTuningJobName"]
        job = self.tuning_jobs.get(name.lower())
        if job is None:
            raise ServiceError("ResourceNotFound", f"Amazon SageMaker can't find a tuning job with the name {name}.")
        return job

    def _training_job(self, name: str) -> tuple[TuningJob, TrainingJob]:
        for tuning_job in self.tuning_jobs.values():
            if job := tuning_job.training_job(name):
                return tuning_job, job
        raise ServiceError("ValidationException", "Requested resource not found.")

    def _transform_job(self, request: Document) -> TransformJob:
        job = self.transform_jobs.get(request["TransformJobName"])
        if job is None:
            raise ServiceError("ValidationException", "Requested resource not found.")
        return job

    def _check_data(self, request: Document) -> None:
        """Like the service, look whether there is anything under the channels' locations."""
        if self._storage is None:
            return
        for definition in request.get("TrainingJobDefinitions") or [request["TrainingJobDefinition"]]:
            for channel in definition["InputDataConfig"]:
                uri = channel["DataSource"]["S3DataSource"]["S3Uri"]
                bucket, _, prefix = uri.removeprefix("s3://").partition("/")
                found = self._storage.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
                if not found.get("KeyCount"):
                    refuse(f'No S3 objects found under S3 URL "{uri}" given in input data source.')

    def _tag(self, arn: str, tags: Any) -> None:
        self.tags.setdefault(arn, {}).update({tag["Key"]: tag["Value"] for tag in tags})


def encode(answer: Mapping[str, Any]) -> bytes:
    """An answer in json-1.1: times as numbers, no number that JSON does not have."""
    return json.dumps(answer, allow_nan=False, default=_refuse_value).encode()


def _refuse_value(value: object) -> object:
    raise TypeError(f"{value!r} cannot be sent")


def _stream(job: TrainingJob) -> str:
    return f"{job.name}/algo-1-{math.floor(job.created)}"


def _tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
