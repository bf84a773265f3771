"""What a user says about the tuning job beyond the search itself: where it runs, on what, reading what.

Field names are plain words for fields of SageMaker's CreateHyperParameterTuningJob; their documentation names the
field. Nothing here is checked but its form: `validation` checks the finished request, all of it at once.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

from kfp_image_tuning.core.errors import EngineOptionsError
from kfp_image_tuning.core.object_forms import build_object, find_misfits

ContentKind = Literal["recordio", "images", "augmented_manifest"]
"""``recordio``: ``.rec`` files; ``images``: image files and ``.lst`` lists; ``augmented_manifest``: JSON lines."""

InputMode = Literal["File", "FastFile", "Pipe"]
TITLE = "SageMaker options"
OnStopped = Literal["accept", "fail"]


@dataclass(frozen=True, kw_only=True)
class InstanceConfig:
    """One choice of machines among several (``InstanceConfigs``); SageMaker takes the first that it has room for.

    Attributes:
        instance_type: Machine of each training job, such as ml.g5.xlarge.
        nodes: Machines of each training job.
        volume_gb: Disk of each machine, in GB.
    """

    instance_type: str
    nodes: int = 1
    volume_gb: int = 50


@dataclass(frozen=True, kw_only=True)
class WarmStart:
    """Earlier tuning jobs to learn from (``WarmStartConfig``).

    Attributes:
        parents: Names of one to five finished tuning jobs.
        kind: ``IdenticalDataAndAlgorithm``: more trials of the same search; ``TransferLearning``: other data or ranges.
    """

    parents: tuple[str, ...]
    kind: Literal["IdenticalDataAndAlgorithm", "TransferLearning"] = "IdenticalDataAndAlgorithm"


@dataclass(frozen=True, kw_only=True)
class SageMakerOptions:
    """Where and how the tuning job runs.

    Attributes:
        role: ARN of the execution role that the training jobs assume (``RoleArn``).
        data: S3 folder of the prepared data set, the one that holds ``dataset.json``.
        output_uri: S3 folder for models (``S3OutputPath``).
        region: AWS region; empty: from ``AWS_REGION`` or ``AWS_DEFAULT_REGION``.
        run: Identity of the run, such as Kubeflow's run and task name; the same run finds its own tuning job again.
            Empty: the request itself is the identity, so that a repeated command finds what it started.
        name_prefix: First part of the tuning job's name; IAM policies are written for it.
        instance_type: Machine of each training job, unless ``instance_configs`` is given.
        nodes: Machines of each training job.
        volume_gb: Disk of each machine (``VolumeSizeInGB``).
        instance_configs: Several choices of machines in order of preference, instead of the three fields above.
        max_trial_seconds: Longest run of one training job (``StoppingCondition.MaxRuntimeInSeconds``).
        pending_timeout_seconds: Longest wait for machines (``MaxPendingTimeInSeconds``); None: SageMaker's own.
        max_seconds: Longest run of the tuning job, its hard timeout (``ResourceLimits.MaxRuntimeInSeconds``); None:
            from the budget, else from trials and ``max_trial_seconds``.
        spot: Use spare capacity (``EnableManagedSpotTraining``); needs ``checkpoints`` to continue after interruptions.
        max_wait_seconds: Longest run and wait together with ``spot``; None: twice ``max_trial_seconds``.
        checkpoints: S3 folder for checkpoints; empty with ``spot``: ``checkpoints/`` under ``output_uri``.
        retry_attempts: Times to try again after SageMaker's own internal errors, 1 to 30 (``RetryStrategy``).
        subnets: Subnets of the VPC that training jobs run in.
        security_groups: Security groups in that VPC.
        volume_kms_key: KMS key for the machines' disks; only for types without local NVMe disks.
        output_kms_key: KMS key for models in S3.
        network_isolation: Training containers have no network at all.
        encrypt_traffic: Encrypt what machines of one training job send each other.
        tags: Tags of the tuning job and all its training jobs.
        env: Environment variables of the training containers.
        input_mode: How data reaches the container: downloaded, opened on demand, or streamed.
        content: What the data is made of.
        channels: S3 location of single channels, where they do not follow from ``data``.
        record_shards: ``.rec`` files of the training split.
        shard_data: Give each machine its own part of the training files (``ShardedByS3Key``).
        manifest_attributes: Names of the image and the label in an augmented manifest, in this order.
        manifest_label_format: How several labels are written in an augmented manifest.
        initial_model: S3 location of a ``model.tar.gz`` to start from (incremental training, the ``model`` channel).
        warm_start: Earlier tuning jobs to learn from.
        autotune: Let SageMaker choose what is left open (``Autotune``).
        auto_parameters: Fixed hyperparameters that SageMaker may tune with ``autotune``; their values are hints.
        early_stopping: SageMaker's early stopping of bad trials; None: what the search asks for, where it is possible.
        stop_on_convergence: Stop when the search no longer gets better by SageMaker's own judgement.
        hyperband_min_epochs: Epochs after which Hyperband may end a trial.
        image: Another image than the built-in algorithm's of this region.
        on_stopped: What a tuning job that was stopped, with a best model, is: a result, or a failure.
        assume_role: ARN of a role to make the calls with.
        endpoint_url: Endpoint of all services, for tests and private endpoints; ``AWS_ENDPOINT_URL`` and
            ``AWS_ENDPOINT_URL_SAGEMAKER`` work as well.
        poll_seconds: Seconds between two looks at the tuning job.
    """

    role: str
    data: str
    output_uri: str
    region: str = ""
    run: str = ""
    name_prefix: str = "ic"
    instance_type: str = "ml.g4dn.xlarge"
    nodes: int = 1
    volume_gb: int = 50
    instance_configs: tuple[InstanceConfig, ...] = ()
    max_trial_seconds: int = 6 * 3600
    pending_timeout_seconds: int | None = None
    max_seconds: int | None = None
    spot: bool = False
    max_wait_seconds: int | None = None
    checkpoints: str = ""
    retry_attempts: int | None = None
    subnets: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()
    volume_kms_key: str = ""
    output_kms_key: str = ""
    network_isolation: bool = True
    encrypt_traffic: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    input_mode: InputMode = "File"
    content: ContentKind = "recordio"
    channels: Mapping[str, str] = field(default_factory=dict)
    record_shards: int = 1
    shard_data: bool = False
    manifest_attributes: tuple[str, str] = ("source-ref", "class")
    manifest_label_format: Literal["multi-hot", "class-id"] = "multi-hot"
    initial_model: str = ""
    warm_start: WarmStart | None = None
    autotune: bool = False
    auto_parameters: tuple[str, ...] = ()
    early_stopping: Literal["Auto", "Off"] | None = None
    stop_on_convergence: bool = False
    hyperband_min_epochs: int = 1
    image: str = ""
    on_stopped: OnStopped = "accept"
    assume_role: str = ""
    endpoint_url: str = ""
    poll_seconds: float = 30.0

    @property
    def resolved_region(self) -> str:
        """The region given, or the environment's.

        Raises:
            EngineError: If there is none.
        """
        region = self.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        if not region:
            raise EngineOptionsError("region: none is given; give one such as us-east-1, or set AWS_REGION")
        return region

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read the JSON form that `to_dict` wrote, or one that a user wrote with the same names.

        Raises:
            EngineError: With every name that is unknown or missing, and every value of the wrong form.
        """
        problems = find_misfits(cls, document, TITLE) + [
            f"{TITLE}: {name} is required and missing"
            for name in ("role", "data", "output_uri")
            if not document.get(name)
        ]
        if problems:
            raise EngineOptionsError.from_problems(problems)
        return build_object(cls, document)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)
