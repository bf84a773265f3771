"""One batch transform job: a model for it, the job launched or attached to, followed to its end, the model deleted.

The names are made from the run, so that a restarted process finds its own job and its own model, wherever the earlier
one was killed. SIGTERM stops the job first thing. The model is deleted once the job has ended or is being stopped.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kfp_image_tuning.core.errors import EngineError
from kfp_image_tuning.core.signals import stop_on_signals
from kfp_image_tuning.core.wording import duration
from kfp_image_tuning.engines.sagemaker.aws.calls import Answer, Backoff, Caller, PermanentError, TransientError
from kfp_image_tuning.engines.sagemaker.request.job_names import own_tags, transform_url
from kfp_image_tuning.engines.sagemaker.request.options import SageMakerOptions
from kfp_image_tuning.engines.sagemaker.request.service_model import find_violations
from kfp_image_tuning.engines.sagemaker.tuning.stopping import job_guard, renew_guard

IMAGE = "application/x-image"
USUAL_MACHINE = "ml.m5.xlarge"
MAX_SECONDS = 4 * 3600.0
"""SageMaker has no time limit for transform jobs; this is ours."""
DELETE_ATTEMPTS = 5
STOP_SECONDS = 30.0
"""How long to wait for the answer to a stop; in a pod that is told to end, the pod's own end comes first."""
LONGEST_PAUSE = 0.5
"""Seconds between two looks whether the end is wanted."""
ENDED = ("Completed", "Failed", "Stopped")


class _EndWishedError(Exception):
    """The end was wished for meanwhile."""


@dataclass(frozen=True, kw_only=True)
class TransformPlan:
    """What a transform job does.

    Attributes:
        name: Of the job and of its model.
        model_uri: ``model.tar.gz`` in S3.
        image: The algorithm's container image.
        images: S3 folder of the images.
        output: S3 folder for the predictions, of this job alone.
        machine: Type of the machines.
        machines: How many.
        max_seconds: Longest run.
    """

    name: str
    model_uri: str
    image: str
    images: str
    output: str
    machine: str = USUAL_MACHINE
    machines: int = 1
    max_seconds: float = MAX_SECONDS

    def model_request(self, options: SageMakerOptions) -> dict[str, Any]:
        """The CreateModel request."""
        request: dict[str, Any] = {
            "ModelName": self.name,
            "ExecutionRoleArn": options.role,
            "PrimaryContainer": {"Image": self.image, "ModelDataUrl": self.model_uri},
            "EnableNetworkIsolation": options.network_isolation,
            "Tags": _tags(options, self.name),
        }
        if options.subnets or options.security_groups:
            request["VpcConfig"] = {
                "SecurityGroupIds": list(options.security_groups),
                "Subnets": list(options.subnets),
            }
        return request

    def job_request(self, options: SageMakerOptions) -> dict[str, Any]:
        """The CreateTransformJob request; how many images go in at a time is left to the algorithm's own choice."""
        resources = {"InstanceType": self.machine, "InstanceCount": self.machines}
        if options.volume_kms_key:
            resources["VolumeKmsKeyId"] = options.volume_kms_key
        output = {"S3OutputPath": self.output}
        if options.output_kms_key:
            output["KmsKeyId"] = options.output_kms_key
        return {
            "TransformJobName": self.name,
            "ModelName": self.name,
            "BatchStrategy": "SingleRecord",
            "TransformInput": {
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"{self.images.rstrip('/')}/"}},
                "ContentType": IMAGE,
                "SplitType": "None",
                "CompressionType": "None",
            },
            "TransformOutput": output,
            "TransformResources": resources,
            "Tags": _tags(options, self.name),
        }

    def check(self, options: SageMakerOptions) -> None:
        """Refuse what SageMaker would refuse, before anything is sent.

        Raises:
            EngineError: With every violation.
        """
        found = find_violations("CreateModel", self.model_request(options))
        found += find_violations("CreateTransformJob", self.job_request(options))
        if found:
            raise EngineError.from_problems(dict.fromkeys(violation.sentence for violation in found))


@dataclass(frozen=True)
class TransformEnd:
    """How a transform job ended.

    Attributes:
        status: ``Completed``, ``Failed`` (which it also is when one single image failed) or ``Stopped``.
        attached: Whether an earlier process had started it.
        reason: SageMaker's reason for the failure; empty without one.
        seconds: How long it ran.
    """

    status: str
    attached: bool
    reason: str
    seconds: float


def run_transform(plan: TransformPlan, options: SageMakerOptions, show: Callable[[str], None]) -> TransformEnd:
    """Run a transform job, or attach to the one of this name, to its end.

    Args:
        plan: What it does.
        options: Where and as whom.
        show: Takes one line for the reader.

    Raises:
        EngineError: If it cannot be run or followed.
    """
    plan.check(options)
    job = _TransformJob(plan, options, Caller(options), show)
    with stop_on_signals(job.stop) as received:
        try:
            return job.run()
        except _EndWishedError:
            raise EngineError(
                f"the evaluation was stopped by {received()}, and its transform job {plan.name} with it; run the same "
                "command again to evaluate the model"
            ) from None
        finally:
            job.put_in_order()


class _TransformJob:
    def __init__(
        self, plan: TransformPlan, options: SageMakerOptions, caller: Caller, show: Callable[[str], None]
    ) -> None:
        self._plan, self._options, self._caller, self._show = plan, options, caller, show
        self._guard = job_guard(caller, "stop_transform_job", TransformJobName=plan.name)
        self._model_is_ours = self._job_may_run = False

    def run(self) -> TransformEnd:
        self._retry(self._guard.start)
        self._retry(self._create_model)
        attached = not self._retry(self._create_job)
        url = transform_url(self._options.resolved_region, self._plan.name)
        self._show(f"transform job {self._plan.name} {'found running' if attached else 'started'}: {url}")
        began = time.monotonic()
        while (job := self._retry(self._describe))["TransformJobStatus"] not in ENDED:
            if time.monotonic() - began > self._plan.max_seconds:
                self.stop()
                raise EngineError(
                    f"transform job {self._plan.name} has run for {duration(self._plan.max_seconds)} and is stopped; "
                    "allow it more time, or use more or larger machines"
                )
            self._pause(self._options.poll_seconds)
        self._job_may_run = False
        self._guard.disarm()
        started, ended = job.get("TransformStartTime"), job.get("TransformEndTime")
        seconds = (ended - started).total_seconds() if started and ended else 0.0
        return TransformEnd(job["TransformJobStatus"], attached, job.get("FailureReason", ""), seconds)

    def stop(self) -> None:
        """Stop the job: the call is sent at once, by a process that is waiting for it."""
        self._guard.stop()

    def put_in_order(self) -> None:
        """Delete the model, unless the job may still need it: then the next process finds both."""
        if self._job_may_run and self._guard.asked:
            self._guard.wait(STOP_SECONDS)
        self._guard.close()
        if self._guard.asked or not self._job_may_run:
            self._delete_model()

    def _delete_model(self) -> None:
        if not self._model_is_ours:
            return
        for _ in range(DELETE_ATTEMPTS):
            try:
                self._caller.sagemaker("delete_model", ModelName=self._plan.name)
                return
            except PermanentError:
                return
            except TransientError:
                time.sleep(self._options.poll_seconds / 30)
        self._show(f"Warning: the model {self._plan.name} could not be deleted; delete it in the SageMaker console")

    def _create_model(self) -> None:
        request = self._plan.model_request(self._options)
        try:
            self._model_is_ours = True
            self._caller.sagemaker("create_model", **request)
        except PermanentError as error:
            self._model_is_ours = False
            if "already existing" not in str(error):
                raise EngineError(f"{error}; check role, model and training image") from error
            there = self._caller.sagemaker("describe_model", ModelName=self._plan.name)
            if there.get("PrimaryContainer", {}).get("ModelDataUrl") != self._plan.model_uri:
                raise _foreign("model", self._plan.name) from error
            self._model_is_ours = True

    def _create_job(self) -> bool:
        """Create the job; False if it was there."""
        try:
            self._job_may_run = True
            self._caller.sagemaker("create_transform_job", **self._plan.job_request(self._options))
        except PermanentError as error:
            self._job_may_run = error.code == "ResourceInUse"
            if not self._job_may_run:
                raise EngineError(f"{error}; nothing was started") from error
            there = self._describe()
            if there["ModelName"] != self._plan.name or there["TransformOutput"]["S3OutputPath"] != self._plan.output:
                self._job_may_run = False
                raise _foreign("transform job", self._plan.name) from error
            return False
        return True

    def _describe(self) -> Mapping[str, Any]:
        return self._caller.sagemaker("describe_transform_job", TransformJobName=self._plan.name)

    def _retry(self, attempt: Callable[[], Answer]) -> Answer:
        def attempt_unless_stopped() -> Answer:
            if self._guard.asked:
                raise _EndWishedError
            return attempt()

        return Backoff(self._options.poll_seconds / 30).retry(
            attempt_unless_stopped, lambda: "Run the same command again to attach to the transform job", self._pause
        )

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._guard.asked:
            time.sleep(min(left, LONGEST_PAUSE))
            renew_guard(self._guard)


def _foreign(what: str, name: str) -> EngineError:
    return EngineError(f"{what} {name} exists and was not made for this evaluation; give another name_prefix or run")


def _tags(options: SageMakerOptions, identity: str) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in sorted(options.tags.items())] + own_tags(
        options.run, identity
    )
