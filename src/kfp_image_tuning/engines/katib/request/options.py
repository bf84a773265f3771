"""What a user says about a search on Katib beyond the search itself: where it runs, on what, reading what.

Field names are plain words; their documentation names the field of Katib or Kubernetes. Only their form is checked
here: `validation` checks the finished documents, all of it at once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Self

from kfp_image_tuning.core.errors import EngineOptionsError
from kfp_image_tuning.core.installed_code import MOUNT_PATH
from kfp_image_tuning.core.object_forms import build_object, find_misfits
from kfp_image_tuning.engines.katib.request.quantities import parse_quantity

TITLE = "Katib options"
ResumePolicy = Literal["Never", "LongRunning", "FromVolume"]
TrialKind = Literal["Job", "TrainJob"]

DEFAULT_IMAGE = "pytorch/pytorch:2.8.0-cuda12.8-cudnn9-runtime"
"""A public image with PyTorch and CUDA, into which our trainer comes when a trial starts."""


@dataclass(frozen=True, kw_only=True)
class TrialPodOptions:
    """The pods that trials run in.

    Attributes:
        kind: ``Job`` (batch/v1), or ``TrainJob`` (Kubeflow Trainer 2.2 or newer), which can span machines.
        image: An image with our trainer in it; empty: our trainer comes into ``base_image`` when a trial starts.
        base_image: An image with PyTorch; empty: `DEFAULT_IMAGE`.
        package: Requirement on our package, or a wheel's address, that trials install; empty: they mount the
            namespace's ConfigMap with our code.
        packages_index: Package index for what the base image lacks (``PIP_INDEX_URL``); empty: pip's own.
        trusted_host: Host of the package index whose certificate pip does not check (``PIP_TRUSTED_HOST``).
        gpus: GPUs of each trial; 0: none. On several, a trial trains with one process for each.
        gpu_resource: What a GPU is called on the nodes, such as ``nvidia.com/mig-1g.10gb`` for a part of one.
        nodes: Machines of each trial, with ``TrainJob`` only.
        runtime: The ClusterTrainingRuntime of a ``TrainJob``.
        cpu: CPUs that are asked for and allowed; empty: the namespace's default.
        memory: Memory, the same way; ``shared_memory`` counts towards it.
        shared_memory: Size of ``/dev/shm``.
        scratch: Limit of the pod's own disk space, which holds downloaded and decoded images; empty: none.
        node_selector: Labels that the node must have.
        tolerations: Taints that are tolerated, in Kubernetes' form; with GPUs, that of the GPU is added.
        affinity: Kubernetes' ``affinity``.
        priority_class: Name of a PriorityClass.
        service_account: The pods' service account; empty: the namespace's default. Its token is not mounted.
        image_pull_secrets: Secrets for a private registry.
        queue: Kueue's LocalQueue; empty: the default scheduler alone.
        istio: Whether Istio may inject its sidecar, which would keep finished trials alive.
        max_trial_seconds: Longest run of one trial, from when its pod starts.
        user: Numeric user (and group for volumes) that the pod runs as; "restricted" pod security forbids 0.
        env: More environment variables: name to value, or to an object with Kubernetes' ``valueFrom``.
        volumes: More volumes, in Kubernetes' form; those of one claim become one.
        volume_mounts: Where they are mounted.
        labels: More labels of the pods.
        annotations: More annotations of the pods.
    """

    kind: TrialKind = "Job"
    image: str = ""
    base_image: str = ""
    package: str = ""
    packages_index: str = ""
    trusted_host: str = ""
    gpus: int = 1
    gpu_resource: str = "nvidia.com/gpu"
    nodes: int = 1
    runtime: str = "torch-distributed"
    cpu: str = ""
    memory: str = ""
    shared_memory: str = "2Gi"
    scratch: str = ""
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: Sequence[Mapping[str, Any]] = ()
    affinity: Mapping[str, Any] = field(default_factory=dict)
    priority_class: str = ""
    service_account: str = ""
    image_pull_secrets: Sequence[str] = ()
    queue: str = ""
    istio: bool = False
    max_trial_seconds: int = 6 * 3600
    user: int = 1000
    env: Mapping[str, str | Mapping[str, Any]] = field(default_factory=dict)
    volumes: Sequence[Mapping[str, Any]] = ()
    volume_mounts: Sequence[Mapping[str, Any]] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)

    def with_task_config(self, task_config: Mapping[str, Any]) -> Self:
        """Take over what was set on a KFP task and reached it as ``dsl.TaskConfig``.

        All but the code that the task itself mounts: trials mount theirs.

        Args:
            task_config: Its fields as plain data; any of them may be missing or None.
        """
        given = {name: value for name, value in task_config.items() if value}
        changes: dict[str, Any] = {
            "node_selector": {**self.node_selector, **given.get("node_selector", {})},
            "affinity": given.get("affinity", self.affinity),
            "env": {**self.env, **_variables(given.get("env", ()))},
        }
        code = {mount["name"] for mount in given.get("volume_mounts", ()) if mount["mountPath"] == MOUNT_PATH}
        for name in ("volumes", "volume_mounts"):
            given[name] = [entry for entry in given.get(name, ()) if entry["name"] not in code]
        for name in ("tolerations", "volumes", "volume_mounts"):
            own = tuple(getattr(self, name))
            # KFP hands on a volume once for each place at which it is mounted.
            added = [entry for number, entry in enumerate(given.get(name, ())) if entry not in given[name][:number]]
            changes[name] = (*own, *(entry for entry in added if entry not in own))
        resources = given.get("resources", {})
        asked = {**(resources.get("requests") or {}), **(resources.get("limits") or {})}
        for name in ("cpu", "memory"):
            amount = str(asked.pop(name, "0"))
            # A pipeline's parameter for no limit is 0: KFP takes no empty one. A pod's limit it must not become.
            if parse_quantity(amount) != 0:
                changes[name] = amount
        for name, amount in asked.items():
            # What is left are extended resources, and the only ones that training can use are GPUs.
            changes |= {"gpu_resource": name, "gpus": int(amount)}
        return replace(self, **changes)


def _variables(listed: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Kubernetes' list of variables as a mapping: name to value, or to what stands for it (``valueFrom``)."""
    return {
        entry["name"]: entry["value"]
        if "value" in entry
        else {name: part for name, part in entry.items() if name != "name"}
        for entry in listed
    }


@dataclass(frozen=True, kw_only=True)
class KatibOptions:
    """Where and how the Experiments run.

    Attributes:
        data: The prepared data set, the folder that holds ``dataset.json``: ``pvc://CLAIM/path``, ``s3://``, ``gs://``
            or ``minio://`` (S3 at ``endpoint_url``, as shipped with Kubeflow).
        output_uri: Where trials leave their models, in the same forms; each in a folder of its own.
        initial_model: Model that every trial starts from, a URI or a path on a mounted volume; empty: none.
        namespace: Kubernetes namespace; empty: the launcher's own.
        run: Identity of the run, such as Kubeflow's run and task name; the same run finds its own Experiments again.
            Empty: the documents themselves are the identity, so that a repeated command finds what it started.
        name_prefix: First part of the Experiments' names.
        algorithm: One of Katib's algorithms; empty: what suits the search's strategy.
        algorithm_settings: Settings of the algorithm, in addition to the seed.
        resume_policy: What remains of an Experiment's suggestion service when it is over (``resumePolicy``).
        keep_experiments: Whether Experiments, with their trials and logs, stay in the cluster after the search.
        pending_timeout_seconds: Longest time in which no trial runs while some wait; 0: no limit.
        orphan_timeout_seconds: Trials end when the launcher has given no sign of life for so long; 0: they never do.
        credentials_secret: Secret with the object store's credentials; empty: with ``minio://`` Kubeflow's own
            (``mlpipeline-minio-artifact``), otherwise the pods' identity (IRSA, Workload Identity).
        credentials_keys: Environment variable to key in that secret; empty: the usual ones of the store.
        endpoint_url: Address of an S3-compatible store; empty: with ``minio://`` Kubeflow's own service.
        region: Region of the object store.
        pods: The trials' pods.
    """

    data: str
    output_uri: str
    initial_model: str = ""
    namespace: str = ""
    run: str = ""
    name_prefix: str = "ic"
    algorithm: str = ""
    algorithm_settings: Mapping[str, str] = field(default_factory=dict)
    resume_policy: ResumePolicy = "Never"
    keep_experiments: bool = False
    pending_timeout_seconds: float = 3600.0
    orphan_timeout_seconds: float = 1800.0
    credentials_secret: str = ""
    credentials_keys: Mapping[str, str] = field(default_factory=dict)
    endpoint_url: str = ""
    region: str = ""
    pods: TrialPodOptions = field(default_factory=TrialPodOptions)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read the JSON form that `to_dict` wrote, or one that a user wrote with the same names.

        Raises:
            EngineError: With every name that is unknown or missing, and every value of the wrong form.
        """
        problems = find_misfits(cls, document, TITLE)
        problems += [
            f"{TITLE}: {name} is required and missing" for name in ("data", "output_uri") if not document.get(name)
        ]
        if problems:
            raise EngineOptionsError.from_problems(problems)
        return build_object(cls, document)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)
