"""A request against botocore's own model of the service: all of it, where botocore itself checks only a part.

botocore refuses unknown fields, wrong types and minima when it sends; patterns, enumerations and maxima it leaves to
the service, which answers with one complaint at a time, after the pod has started. Here everything is checked, at
once, and offline.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

# Python's re has no Unicode properties. Inside a character class these stand for the same characters, but for the
# underscore, which every pattern that uses them allows as well.
_PROPERTIES = {
    r"\p{L}": r"\w",
    r"\p{N}": r"\w",
    r"\p{Z}": " \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000",
}
_EXAMPLES = {
    "RoleArn": "arn:aws:iam::123456789012:role/sagemaker-execution",
    "S3Uri": "s3://bucket/folder",
    "KmsKeyId": "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
    "SubnetId": "subnet-0123456789abcdef0",
    "SecurityGroupId": "sg-0123456789abcdef0",
}
_SHOWN_CHOICES = 8
_TYPES: Mapping[str, tuple[type, ...]] = {
    "structure": (dict,),
    "map": (dict,),
    "list": (list, tuple),
    "string": (str,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "boolean": (bool,),
}


@dataclass(frozen=True)
class Violation:
    """One thing that the service's model does not allow.

    Attributes:
        sentence: Place, rule and value.
        of_form: Whether a field is missing or of the wrong type, so that other rules cannot be asked.
    """

    sentence: str
    of_form: bool = False


def find_violations(operation: str, request: Mapping[str, Any], service: str = "sagemaker") -> list[Violation]:
    """Everything in a request that the service's model does not allow.

    Args:
        operation: Such as ``CreateHyperParameterTuningJob``.
        request: The request's parameters.
        service: botocore's name of the service.

    Returns:
        Every violation.
    """
    return list(_walk(input_shape(operation, service), request, ""))


def input_shape(operation: str, service: str = "sagemaker") -> Any:
    """What an operation takes, in the form of botocore's model."""
    return _service_model(service).operation_model(operation).input_shape


def instance_types() -> frozenset[str]:
    """The machine types that the service model knows for training."""
    return frozenset(_service_model("sagemaker").shape_for("TrainingInstanceType").metadata["enum"])


def _walk(shape: Any, value: Any, place: str) -> Iterator[Violation]:
    accepted = _TYPES.get(shape.type_name)
    if accepted is None:
        return
    sound = isinstance(value, accepted) and (shape.type_name == "boolean" or not isinstance(value, bool))
    if not sound:
        yield Violation(f"{place}: must be a {shape.type_name}, got {value!r}", of_form=True)
        return
    yield from _walk_size(shape, value, place)
    if shape.type_name == "structure":
        yield from _walk_structure(shape, value, place)
    elif shape.type_name == "list":
        for position, element in enumerate(value):
            yield from _walk(shape.member, element, f"{place}[{position}]")
    elif shape.type_name == "map":
        for key, element in value.items():
            yield from _walk(shape.key, key, f"{place} key {key!r}")
            yield from _walk(shape.value, element, f"{place}.{key}")
    elif shape.type_name == "string":
        yield from _walk_string(shape, value, place)


def _walk_structure(shape: Any, value: Mapping[str, Any], place: str) -> Iterator[Violation]:
    prefix = f"{place}." if place else ""
    for name in shape.required_members:
        if name not in value:
            yield Violation(f"{prefix}{name}: is required and missing", of_form=True)
    for name, element in value.items():
        if name in shape.members:
            yield from _walk(shape.members[name], element, f"{prefix}{name}")
        else:
            yield Violation(f"{prefix}{name}: is unknown to the service")


def _walk_size(shape: Any, value: Any, place: str) -> Iterator[Violation]:
    if shape.type_name in ("structure", "boolean"):
        return
    numeric = shape.type_name in ("integer", "long", "float", "double")
    size = value if numeric else len(value)
    noun = {"string": " characters", "list": " entries", "map": " entries"}.get(shape.type_name, "")
    minimum, maximum = shape.metadata.get("min"), shape.metadata.get("max")
    shown = f"{value!r}" if numeric else f"{size}{noun}"
    if minimum is not None and size < minimum:
        yield Violation(f"{place}: must be at least {minimum}{noun}, got {shown}")
    if maximum is not None and size > maximum:
        yield Violation(f"{place}: must be at most {maximum}{noun}, got {shown}")


def _walk_string(shape: Any, value: str, place: str) -> Iterator[Violation]:
    choices = shape.metadata.get("enum")
    if choices and value not in choices:
        yield Violation(f"{place}: must be {_describe_choices(choices, value)}, got {value!r}")
    pattern = shape.metadata.get("pattern")
    if pattern and (found := _compiled(pattern)) and not found.fullmatch(value):
        yield Violation(f"{place}: {value!r} does not have the form {pattern}{_example(shape.name)}")


def _example(shape_name: str) -> str:
    example = _EXAMPLES.get(shape_name)
    return f"; give one such as {example}" if example else ""


def _describe_choices(choices: list[str], value: str) -> str:
    """The accepted words, or of many the nearest ones."""
    if len(choices) <= _SHOWN_CHOICES:
        return "one of " + ", ".join(choices)
    # Imported here: only a refused word needs it.
    from difflib import get_close_matches

    near = get_close_matches(value, choices, n=3) or choices[:3]
    return f"one of the service's {len(choices)} words (such as {', '.join(near)})"


@cache
def _compiled(pattern: str) -> re.Pattern[str] | None:
    """A pattern of the service model; None where it is written in a dialect that Python does not have."""
    for unicode_property, characters in _PROPERTIES.items():
        pattern = pattern.replace(unicode_property, characters)
    try:
        return re.compile(pattern)
    except re.error:
        return None


@cache
def model_loader() -> Any:
    """Botocore's loader of service models, one for all: reading SageMaker's takes longer than a call to it."""
    # Imported here: planning code is imported where botocore may be missing.
    from botocore.session import get_session

    return get_session().get_component("data_loader")


@cache
def _service_model(service: str) -> Any:
    from botocore.model import ServiceModel

    return ServiceModel(model_loader().load_service_model(service, "service-2"), service)
