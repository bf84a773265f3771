"""The options that only one engine has, and what that engine cannot do without."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from kfp_image_tuning.options.declaration import options_of
from kfp_image_tuning.options.declared import KatibFieldOptions
from kfp_image_tuning.options.pipelines import ENGINES, OWN_OPTIONS

_PACKAGES: Mapping[str, Mapping[str, str]] = {
    "local": {"kfp": "pipelines", "torch": "local", "optuna": "local"},
    "katib": {"kfp": "pipelines", "kubernetes": "katib", "torch": "train"},
    "sagemaker": {"kfp": "pipelines", "boto3": "sagemaker"},
}
"""What an engine's pipeline imports on this machine, and the extra that brings it."""
_OFFLINE_PACKAGES = {"torch": "train", "safetensors": "train"}
"""What reading SageMaker's model here needs as well."""


def option_problems(options: Mapping[str, Any]) -> list[str]:
    """What does not fit the engine, or is missing for it; one sentence each."""
    engine = options.get("engine", "local")
    problems = [
        f"{option.flag}: is an option of --engine {other}, and the engine is {engine}; leave it out, or give "
        f"--engine {other}"
        for other in ENGINES
        if other != engine
        for option in options_of(*OWN_OPTIONS[other])
        if option.flag and options.get(option.key) is not None
    ]
    problems += [
        f"{option.flag}: is given by --katib-options as well, as {'.'.join(option.inside)}; leave one of them out"
        for option in options_of(KatibFieldOptions)
        if option.key in options and _has(options.get("katib_options", {}), option.inside)
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
            f"--{name}: is needed with --engine sagemaker: {meanings[name]}" for name in needed if not options.get(name)
        ]
    return problems


def katib_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """``--katib-options`` with what other options say of its fields."""
    merged = dict(options.get("katib_options", {}))
    for option in options_of(KatibFieldOptions):
        if option.key in options:
            merged = _put(merged, option.inside, options[option.key])
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
