"""A team's values file: what KFP fixes when a pipeline is compiled, for all steps or for one of them.

These classes are the one place where the settings are declared: the reader (`values_file`), the JSON Schema and the
reference in docs/values.md are made from them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Self

from kfp_image_tuning.delivery.delivery_options import Delivery

AccessMode = Literal["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"]
PullPolicy = Literal["Always", "IfNotPresent", "Never"]


@dataclass(frozen=True, kw_only=True)
class VolumeClaim:
    """An existing PersistentVolumeClaim. One claim at several places of a pod is one volume.

    Attributes:
        claim: Its name.
        mount_path: Folder at which the step sees it.
        sub_path: Folder in the volume that is mounted; empty: all of it.
    """

    claim: str
    mount_path: str
    sub_path: str = ""


@dataclass(frozen=True, kw_only=True)
class EphemeralVolume:
    """A volume that is made for the pod and goes with it (Kubernetes' generic ephemeral volume).

    Attributes:
        mount_path: Folder at which the step sees it.
        size: How large it is, such as 100Gi.
        storage_class: StorageClass that makes it; empty: the cluster's default.
        access_modes: Who may mount it.
    """

    mount_path: str
    size: str
    storage_class: str = ""
    access_modes: Sequence[AccessMode] = ("ReadWriteOnce",)


@dataclass(frozen=True, kw_only=True)
class EmptyFolder:
    """An empty folder on the node's disk or in its memory (Kubernetes' emptyDir).

    Attributes:
        mount_path: Folder at which the step sees it.
        size: Limit, such as 20Gi; a pod that writes more is evicted. Empty: none.
        in_memory: Whether it is in memory, which counts towards the step's memory.
    """

    mount_path: str
    size: str = ""
    in_memory: bool = False


@dataclass(frozen=True, kw_only=True)
class KeySource:
    """A Secret or a ConfigMap, whose keys become environment variables, files, or both.

    Attributes:
        name: Its name.
        env: Environment variable to key.
        mount_path: Folder that has a file for each key; empty: no files.
        optional: Whether the step starts without it.
    """

    name: str
    env: Mapping[str, str] = field(default_factory=dict)
    mount_path: str = ""
    optional: bool = False


@dataclass(frozen=True, kw_only=True)
class Retries:
    """How often a step that failed is started again, and when.

    Attributes:
        count: Times at most.
        wait_seconds: Pause before the first one.
        factor: By how much each pause is longer than the one before it.
        longest_wait_seconds: Longest pause.
    """

    count: int
    wait_seconds: int = 0
    factor: float = 2.0
    longest_wait_seconds: int = 3600


@dataclass(frozen=True, kw_only=True)
class User:
    """Who the step's process is; an administrator's setting goes before it.

    Attributes:
        run_as_user: Numeric user; null: the image's.
        run_as_group: Numeric group; null: the image's.
        run_as_non_root: Whether a step that would run as root is refused; null: as the cluster has it.
    """

    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None


@dataclass(frozen=True, kw_only=True)
class StepSettings:
    """What the pods of a step get.

    Attributes:
        env: Environment variables; one that the pipeline sets itself is replaced.
        secrets: Secrets, as environment variables or files.
        config_maps: ConfigMaps, the same way.
        volume_claims: Volumes that exist.
        ephemeral_volumes: Volumes that are made for the pod.
        empty_folders: Folders on the node.
        shared_memory: Size of /dev/shm, such as 8Gi; empty: the 64 MiB that Kubernetes gives.
        node_selector: Labels that the node must have.
        tolerations: Taints that are tolerated, in Kubernetes' form.
        affinity: Kubernetes' affinity; KFP takes nodeAffinity of it.
        labels: Labels of the pods.
        annotations: Annotations of the pods.
        image_pull_secrets: Names of Secrets for private registries.
        image_pull_policy: When the image is pulled; null: as Kubernetes decides.
        timeout_seconds: How long the pod may run; then it fails. Null: no limit.
        retries: How often a failed step is started again; null: as the backend has it.
        cache: Whether a result of an earlier run with the same inputs is reused; null: as the pipeline has it.
        security_context: Who the process is.
    """

    env: Mapping[str, str] = field(default_factory=dict)
    secrets: Sequence[KeySource] = ()
    config_maps: Sequence[KeySource] = ()
    volume_claims: Sequence[VolumeClaim] = ()
    ephemeral_volumes: Sequence[EphemeralVolume] = ()
    empty_folders: Sequence[EmptyFolder] = ()
    shared_memory: str = ""
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: Sequence[Mapping[str, Any]] = ()
    affinity: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    image_pull_secrets: Sequence[str] = ()
    image_pull_policy: PullPolicy | None = None
    timeout_seconds: int | None = None
    retries: Retries | None = None
    cache: bool | None = None
    security_context: User = field(default_factory=User)

    def with_step(self, step: Self) -> Self:
        """These settings of all steps with those of one: lists are joined, and what the step says goes first."""
        changes: dict[str, Any] = {}
        for entry in fields(self):
            general, own = getattr(self, entry.name), getattr(step, entry.name)
            if isinstance(own, User):
                changes[entry.name] = replace(
                    general, **{name: value for name, value in vars(own).items() if value is not None}
                )
            elif isinstance(own, Mapping):
                changes[entry.name] = {**general, **own}
            elif isinstance(own, tuple | list):
                changes[entry.name] = (*general, *(element for element in own if element not in general))
            else:
                changes[entry.name] = general if own in (None, "") else own
        return replace(self, **changes)


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Settings of single steps, in addition to those of all.

    Attributes:
        preflight: The first step, which checks all parameters.
        prepare: The step that prepares images.
        search: The step that searches hyperparameters. On Katib, variables and volumes are the trials' as well; node
            selector, tolerations and affinity are the trials' alone.
        evaluate: The step that evaluates the best model.
    """

    preflight: StepSettings = field(default_factory=StepSettings)
    prepare: StepSettings = field(default_factory=StepSettings)
    search: StepSettings = field(default_factory=StepSettings)
    evaluate: StepSettings = field(default_factory=StepSettings)


@dataclass(frozen=True, kw_only=True)
class Values:
    """A values file.

    Attributes:
        parameters: Values that the run form starts with, by parameter of the pipeline.
        delivery: How our code reaches pods; what the command line says goes first.
        all: Settings of all steps.
        steps: Settings of single steps.
    """

    parameters: Mapping[str, Any] = field(default_factory=dict)
    delivery: Delivery = field(default_factory=Delivery)
    all: StepSettings = field(default_factory=StepSettings)
    steps: Steps = field(default_factory=Steps)

    def settings_of(self, step: str) -> StepSettings:
        """The settings of a step.

        Args:
            step: Its name; one without settings of its own has those of all.
        """
        return self.all.with_step(getattr(self.steps, step, StepSettings()))
