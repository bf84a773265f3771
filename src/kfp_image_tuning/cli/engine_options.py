"""The options that only one engine has, and what that engine cannot do without."""

import argparse
from collections.abc import Mapping
from importlib.util import find_spec
from itertools import chain
from typing import Any

from kfp_image_tuning.cli import option_types

ENGINES = ("local", "katib", "sagemaker")

PARAMETERS: Mapping[str, Mapping[str, str]] = {
    "local": {"initial_model": "tune_initial_model", "prior": "tune_prior"},
    "katib": {
        "gpus": "tune_gpus",
        "storage": "tune_storage",
        "storage_mount": "tune_storage_mount",
        "katib_options": "tune_katib_options",
    },
    "sagemaker": {
        "role": "tune_role",
        "bucket": "tune_bucket",
        "region": "tune_region",
        "sagemaker_options": "tune_sagemaker_options",
        "evaluate": "eval_mode",
    },
}
"""Which parameter of its pipeline each option of an engine gives."""

KATIB_FIELDS: Mapping[str, tuple[str, ...]] = {
    "namespace": ("namespace",),
    "image": ("pods", "image"),
    "pending_timeout": ("pending_timeout_seconds",),
    "orphan_timeout": ("orphan_timeout_seconds",),
    "keep_experiments": ("keep_experiments",),
}
"""Options for what is asked for most among the fields of ``--katib-options``, and where they stand in it."""

_OPTIONS: Mapping[str, tuple[str, ...]] = {
    engine: (*names, *(KATIB_FIELDS if engine == "katib" else ())) for engine, names in PARAMETERS.items()
}
OPTIONS = tuple(chain.from_iterable(_OPTIONS.values()))
"""The names of all engines' options."""

_PACKAGES: Mapping[str, Mapping[str, str]] = {
    "local": {"kfp": "pipelines", "torch": "local", "optuna": "local"},
    "katib": {"kfp": "pipelines", "kubernetes": "katib", "torch": "train"},
    "sagemaker": {"kfp": "pipelines", "boto3": "sagemaker"},
}
"""What an engine's pipeline imports on this machine, and the extra that brings it."""
_OFFLINE_PACKAGES = {"torch": "train", "safetensors": "train"}
"""What reading SageMaker's model here needs as well."""


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--engine`` and the options of each engine."""
    where = parser.add_argument_group("engine")
    where.add_argument(
        "--engine", choices=ENGINES, help="where trials run: local (this machine, the default), katib, sagemaker"
    )
    local = parser.add_argument_group("with --engine local: trials train on this machine")
    local.add_argument(
        "--initial-model",
        metavar="MODEL",
        help="model that every trial starts from: a folder or .tar.gz, a path, s3://, gs:// or https://; with "
        "use_pretrained_model 1 in the search space its last layer starts anew",
    )
    local.add_argument(
        "--prior",
        choices=("auto", "none"),
        help="auto (default): bayesian and hyperband look first where values are usually good, in ranges that you do "
        "not give; none: they search every range evenly",
    )
    katib = parser.add_argument_group("with --engine katib: trials are pods of the current kubeconfig's cluster")
    katib.add_argument("--gpus", type=option_types.natural, metavar="N", help="GPUs of each trial (default: 1)")
    katib.add_argument(
        "--storage",
        metavar="URI",
        help="where trials read images and leave models: s3://, gs:// or minio://BUCKET/FOLDER, or pvc://CLAIM/FOLDER "
        "(default: beside the data set, if pods reach that)",
    )
    katib.add_argument(
        "--storage-mount", metavar="DIR", help="where this machine sees the folder of --storage pvc://CLAIM/FOLDER"
    )
    katib.add_argument("--namespace", metavar="NAME", help="where in the cluster (default: the kubeconfig's)")
    katib.add_argument(
        "--image",
        metavar="REF",
        help="image of the trials, with kfp-image-tuning in it, such as make image makes (default: a public "
        "PyTorch image, into which the trainer is mounted)",
    )
    katib.add_argument(
        "--pending-timeout",
        type=option_types.duration,
        metavar="TIME",
        help="give up when no trial has run for so long: seconds, or 10m, 2h (default: 1h)",
    )
    katib.add_argument(
        "--orphan-timeout",
        type=option_types.duration_or_never,
        metavar="TIME",
        help="trials end when this command has given no sign of life for so long, such as on a laptop that sleeps: "
        "seconds, or 10m, 2h; 0: never (default: 30m)",
    )
    katib.add_argument(
        "--keep-experiments",
        action=argparse.BooleanOptionalAction,
        help="leave Experiments, trials and logs in the cluster when the search is over (default: no)",
    )
    katib.add_argument(
        "--katib-options",
        type=option_types.options_object,
        metavar="FILE",
        help="""everything else: a JSON or YAML file, or JSON itself, such as '{"algorithm": "tpe", "pods":
        {"memory": "16Gi", "queue": "gpus"}}'; docs/katib.md lists them""",
    )
    sagemaker = parser.add_argument_group("with --engine sagemaker: trials are training jobs in your AWS account")
    sagemaker.add_argument("--role", metavar="ARN", help="execution role of the training jobs; needed")
    sagemaker.add_argument(
        "--bucket", metavar="BUCKET", help="where data and models lie: my-bucket, or s3://my-bucket/folder; needed"
    )
    sagemaker.add_argument("--region", metavar="REGION", help="AWS region (default: from AWS_REGION)")
    sagemaker.add_argument(
        "--sagemaker-options",
        type=option_types.options_object,
        metavar="FILE",
        help="""everything else: a JSON or YAML file, or JSON itself, such as '{"instance_type": "ml.g5.xlarge",
        "spot": true}'; docs/sagemaker.md lists them""",
    )
    sagemaker.add_argument(
        "--evaluate",
        choices=("transform", "offline"),
        help="test the best model by batch transform, as it will serve (default), or on this machine",
    )


def option_problems(options: Mapping[str, Any]) -> list[str]:
    """What does not fit the engine, or is missing for it; one sentence each."""
    engine = options.get("engine", "local")
    problems = [
        f"{_as_typed(name)}: is an option of --engine {other}, and the engine is {engine}; leave it out, or give "
        f"--engine {other}"
        for other in ENGINES
        if other != engine
        for name in _OPTIONS[other]
        if options.get(name) is not None
    ]
    problems += [
        f"{_as_typed(name)}: is given by --katib-options as well, as {'.'.join(place)}; leave one of them out"
        for name, place in KATIB_FIELDS.items()
        if name in options and _has(options.get("katib_options", {}), place)
    ]
    data_in_bucket = str(options.get("data", "")).startswith("s3://")
    if engine == "sagemaker":
        needed = ("role",) if data_in_bucket else ("role", "bucket")
        meanings = {
            "role": "the ARN of the role that training jobs assume, such as arn:aws:iam::123456789012:role/tuning "
            "(manifests/aws/README.md says how to make it)",
            "bucket": "the S3 bucket for images and models, such as my-bucket",
        }
        problems += [
            f"{_as_typed(name)}: is needed with --engine sagemaker: {meanings[name]}"
            for name in needed
            if not options.get(name)
        ]
    return problems


def katib_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """``--katib-options`` with what other options say of its fields."""
    merged = dict(options.get("katib_options", {}))
    for name, place in KATIB_FIELDS.items():
        if name in options:
            merged = _put(merged, place, options[name])
    return merged


def missing_packages(options: Mapping[str, Any]) -> list[str]:
    """What the engine needs and this environment lacks; a sentence, or nothing."""
    engine = str(options.get("engine", "local"))
    needed = dict(_PACKAGES[engine]) | (_OFFLINE_PACKAGES if options.get("evaluate") == "offline" else {})
    missing = {package: extra for package, extra in needed.items() if find_spec(package) is None}
    if not missing:
        return []
    extras = ",".join(dict.fromkeys(missing.values()))
    return [
        f"--engine {engine}: needs {', '.join(missing)}, which this environment lacks; "
        f"pip install 'kfp-image-tuning[{extras}]'"
    ]


def _put(document: Any, place: tuple[str, ...], value: Any) -> Any:
    """A document with a value in its place; what is not an object there stays, to be refused by the check of forms."""
    if not place:
        return value
    if not isinstance(document, Mapping):
        return document
    return {**document, place[0]: _put(document.get(place[0], {}), place[1:], value)}


def _has(document: Any, place: tuple[str, ...]) -> bool:
    for name in place:
        if not isinstance(document, Mapping) or name not in document:
            return False
        document = document[name]
    return True


def _as_typed(name: str) -> str:
    return "--" + name.replace("_", "-")
