"""The pod of a trial: what it runs, what it reads and writes, and what it needs of the cluster.

It meets Kubernetes' "restricted" pod security. Fields that mean nothing are left out altogether: Katib compares what it
reads with what was written, and refuses a template in which an empty field was lost.
"""

from collections.abc import Mapping
from typing import Any

from kfp_image_tuning.core.installed_code import ARCHIVE_PATH, MOUNT_PATH, config_map_name, install_command
from kfp_image_tuning.engines.katib.request.claims import merge_claims
from kfp_image_tuning.engines.katib.request.locations import Location, store_environment, volume_and_mount
from kfp_image_tuning.engines.katib.request.options import DEFAULT_IMAGE, KatibOptions

# Below a folder that nobody else mounts: claims of a pipeline's step, often at /data, are the trials' as well.
SCRATCH = "/trial/scratch"
DATA = "/trial/data"
MODELS = "/trial/models"
TRIAL_NAME_PARAMETER = "trial_name"
ENTRY_MODULE = "kfp_image_tuning.engines.katib.pod.trial"

TRIAL_PACKAGES = ("safetensors>=0.5", "simplejpeg>=1.8", "opencv-python-headless>=4.10", "obstore>=0.8")
"""What the trainer needs and a PyTorch image lacks; NumPy and Pillow are there."""

_INSTALLED = f"{SCRATCH}/packages"
_PIP = "python3 -m pip install --quiet --no-deps --disable-pip-version-check --target=$PYTHONPATH"
"""Without dependencies: NumPy is in the image, and a second one beside it would break PyTorch."""


def build_environment(
    options: KatibOptions, hyperparameters: str, search: str, experiment: str, seed: int
) -> list[dict[str, Any]]:
    """Environment variables of the trial's container; `trial` reads those that start with TRIAL.

    Args:
        options: The user's.
        hyperparameters: `parameters.encode_trial`'s.
        search: Name of the search, under which its launcher gives signs of life.
        experiment: Its name, under which models are written.
        seed: Of the training.
    """
    data, models = Location.parse("data", options.data), Location.parse("output_uri", options.output_uri)
    signs = {}
    if options.orphan_timeout_seconds:
        folder = f"{MODELS}/{search}" if models.is_volume else models.below(search).uri
        signs = {"TRIAL_HEARTBEAT": folder, "TRIAL_ORPHAN_SECONDS": f"{options.orphan_timeout_seconds:g}"}
    values = {
        "TRIAL_NAME": f"${{trialParameters.{TRIAL_NAME_PARAMETER}}}",
        "TRIAL_HYPERPARAMETERS": hyperparameters,
        "TRIAL_DATA": DATA if data.is_volume else data.uri,
        "TRIAL_MODELS": f"{MODELS}/{experiment}" if models.is_volume else models.below(experiment).uri,
        "TRIAL_INITIAL_MODEL": options.initial_model,
        "TRIAL_SEED": str(seed),
        "TRIAL_PROCESSES": str(max(1, options.pods.gpus)),
        **signs,
        # The root file system is read-only; everything that libraries write goes here.
        "HOME": SCRATCH,
        "TMPDIR": SCRATCH,
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    if not options.pods.image:
        values["PYTHONPATH"] = _INSTALLED
        values["TRIAL_PACKAGES"] = " ".join(TRIAL_PACKAGES)
        values["TRIAL_CODE_PACKAGE"] = options.pods.package
        values["PIP_INDEX_URL"] = options.pods.packages_index
        values["PIP_TRUSTED_HOST"] = options.pods.trusted_host
    plain: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in values.items() if value]
    return [*plain, *store_environment(options), *_own_variables(options)]


def _own_variables(options: KatibOptions) -> list[dict[str, Any]]:
    """The user's variables in Kubernetes' form."""
    return [
        {"name": name, **({"value": value} if isinstance(value, str) else value)}
        for name, value in options.pods.env.items()
    ]


def build_command(options: KatibOptions) -> list[str]:
    """The command, in the one form that survives Katib's wrapping.

    Katib joins a command with spaces, unquoted, and appends redirections and markers; a script after ``sh -c`` it
    keeps. It must be one command or one group, or only the end of it would be redirected, and collected.

    The group passes on to the trial what tells the pod to end, and waits until it has left its model: Kubernetes tells
    a container's first process alone, which is this shell, and kills everything else when that is gone. A hook before
    the end (``preStop``) could do it as well, but not in a TrainJob. The shell has one child, because Katib's collector
    ends a trial early only then.
    """
    start = f"{_build_program(options)} & trial=$!; trap 'kill -TERM $trial' TERM"
    # A signal ends the first wait before its time.
    wait = "wait $trial; status=$?; while kill -0 $trial 2> /dev/null; do wait $trial; status=$?; done"
    return ["sh", "-c", f"{{ {start}; {wait}; (exit $status); }}"]


def mounts_code(options: KatibOptions) -> bool:
    """Whether trials get our code from the namespace's ConfigMap."""
    return not options.pods.image and not options.pods.package


def _build_program(options: KatibOptions) -> str:
    """The shell's one child: what installs our code and what the image lacks, and then becomes the trial.

    pip's options are in the environment where they can be.
    """
    trial = f"python3 -m {ENTRY_MODULE}"
    if options.pods.image:
        return trial
    if mounts_code(options):
        missing = (
            f"ConfigMap {config_map_name()}, which has the code of trials, is not in this namespace; to put it there: "
            f"{install_command(options.namespace or 'NAMESPACE')}"
        )
        unpack = f"python3 -m zipfile -e {ARCHIVE_PATH} $PYTHONPATH"
        code = f"if [ ! -f {ARCHIVE_PATH} ]; then echo 'Error: {missing}'; exit 1; fi; {unpack}"
    else:
        code = f'echo "$TRIAL_CODE_PACKAGE" > $HOME/package && {_PIP} -r $HOME/package'
    packages = f'if [ -n "$TRIAL_PACKAGES" ]; then {_PIP} --only-binary=:all: $TRIAL_PACKAGES; fi'
    return f"( {code} && {packages} && exec {trial} )"


def build_resources(options: KatibOptions) -> dict[str, Any]:
    """CPU and memory asked for and allowed, and GPUs, which are only ever allowed whole."""
    pods = options.pods
    amounts = {"cpu": pods.cpu, "memory": pods.memory}
    limits = {name: amount for name, amount in amounts.items() if amount}
    requests = dict(limits)
    if pods.gpus:
        limits[pods.gpu_resource] = requests[pods.gpu_resource] = str(pods.gpus)
    return {"requests": requests, "limits": limits} if limits else {}


def build_volumes(options: KatibOptions) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The pod's volumes, and the container's mounts of them."""
    pods = options.pods
    scratch = {"sizeLimit": pods.scratch} if pods.scratch else {}
    pairs: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"name": "scratch", "emptyDir": scratch}, {"name": "scratch", "mountPath": SCRATCH}),
        (
            {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": pods.shared_memory}},
            {"name": "shared-memory", "mountPath": "/dev/shm"},
        ),
    ]
    data, models = Location.parse("data", options.data), Location.parse("output_uri", options.output_uri)
    if data.is_volume:
        pairs.append(volume_and_mount(data, "data", DATA, read_only=True))
    if models.is_volume:
        pairs.append(volume_and_mount(models, "models", MODELS, read_only=False))
    if mounts_code(options):
        # Optional, so that a trial without it says what is missing; it would wait for ever otherwise.
        code = {"name": "code", "configMap": {"name": config_map_name(), "optional": True}}
        pairs.append((code, {"name": "code", "mountPath": MOUNT_PATH, "readOnly": True}))
    volumes, mounts = [volume for volume, _ in pairs], [mount for _, mount in pairs]
    return merge_claims([*volumes, *map(dict, pods.volumes)], [*mounts, *map(dict, pods.volume_mounts)])


def build_tolerations(options: KatibOptions) -> list[dict[str, Any]]:
    """The user's, and the taint that keeps other pods off GPU nodes."""
    found = [dict(toleration) for toleration in options.pods.tolerations]
    # Parts of a GPU (nvidia.com/mig-1g.10gb) are on nodes with the same taint.
    vendor = options.pods.gpu_resource.partition("/")[0]
    gpu = {"key": f"{vendor}/gpu", "operator": "Exists", "effect": "NoSchedule"}
    return [*found, gpu] if options.pods.gpus and gpu not in found else found


def pod_labels(options: KatibOptions) -> dict[str, str]:
    """Labels of the trial's pods."""
    istio = {} if options.pods.istio else {"sidecar.istio.io/inject": "false"}
    return {**istio, **options.pods.labels}


def pod_security(options: KatibOptions) -> dict[str, Any]:
    """The pod's security context; Katib's own container in the pod runs under it as well."""
    user = options.pods.user
    return {
        "runAsNonRoot": True,
        "runAsUser": user,
        "runAsGroup": user,
        "fsGroup": user,
        # A whole claim need not be walked through at each start.
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> dict[str, Any]:
    """The container's security context."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def image_of(options: KatibOptions) -> str:
    """The image that trials run in."""
    return options.pods.image or options.pods.base_image or DEFAULT_IMAGE


def without_empty(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document without fields that hold nothing."""
    return {name: value for name, value in document.items() if value not in ({}, [], (), "", None)}
