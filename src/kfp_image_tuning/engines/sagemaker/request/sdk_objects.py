"""The same tuning job as objects of AWS's own SDK (``sagemaker-core``), for those who continue with it in a notebook.

    from sagemaker.core.resources import HyperParameterTuningJob

    job = HyperParameterTuningJob.create(**to_sagemaker_sdk(search, options), region=options.region)

What goes over the wire is our request to the byte, which is checked when the objects are made: the SDK's own serializer
leaves out what is falsy in Python, such as seed 0. Needs the extra ``sagemaker-sdk``; no pod does.
"""

import re
from collections.abc import Mapping
from typing import Any

from kfp_image_tuning.core.errors import EngineError
from kfp_image_tuning.engines.sagemaker.request.options import SageMakerOptions
from kfp_image_tuning.engines.sagemaker.request.planning import plan_search
from kfp_image_tuning.engines.sagemaker.request.service_model import input_shape
from kfp_image_tuning.engines.sagemaker.request.validation import OPERATION
from kfp_image_tuning.search.search import Search

EXTRA = "kfp-image-tuning[sagemaker-sdk]"


class _KeptZero(int):
    """A zero that the SDK's serializer does not take for something that was left out."""

    def __bool__(self) -> bool:
        return True


def to_sagemaker_sdk(search: Search, options: SageMakerOptions) -> dict[str, Any]:
    """The arguments of ``sagemaker.core.resources.HyperParameterTuningJob.create``, as the SDK's shapes.

    Args:
        search: What is searched.
        options: Where and how.

    Raises:
        EngineError: If the SDK is not installed, with everything that SageMaker or the algorithm would refuse, or if
            the installed SDK would send another request than ours.
        BudgetError: If a grid has more combinations than the budget has trials.
    """
    request = plan_search(search, options).request
    try:
        from sagemaker.core.utils.utils import serialize
    except ImportError as error:
        raise EngineError(f"the SageMaker SDK cannot be imported ({error}); pip install '{EXTRA}'") from None
    shape = input_shape(OPERATION)
    objects = {name: _to_objects(shape.members[name], value) for name, value in request.items()}
    lost = sorted(_differences(request, serialize(objects), ""))
    if lost:
        raise EngineError(
            f"the installed SageMaker SDK would send another request than ours, it changes {', '.join(lost)}; choose "
            "other values for these, or start the tuning job without the SDK"
        )
    return {_snake_case(name): value for name, value in objects.items()}


def _to_objects(shape: Any, value: Any) -> Any:
    """A part of the request with a shape of the SDK for each structure in it."""
    from pydantic import ValidationError
    from sagemaker.core.shapes import shapes

    if shape.type_name == "list":
        return [_to_objects(shape.member, element) for element in value]
    if shape.type_name != "structure":
        return value
    members = {name: _to_objects(shape.members[name], element) for name, element in value.items()}
    try:
        made = getattr(shapes, shape.name)(**{_snake_case(name): element for name, element in members.items()})
    except (AttributeError, ValidationError) as error:
        raise EngineError(f"the installed SageMaker SDK does not know this {shape.name}: {error}; update it") from None
    for name, element in members.items():
        if type(element) is int and element == 0:
            # Past pydantic, which would make a plain zero of it again.
            vars(made)[_snake_case(name)] = _KeptZero()
    return made


def _snake_case(name: str) -> str:
    """A member's name as the SDK's attribute: ``VolumeSizeInGB`` is ``volume_size_in_gb``."""
    words = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z0-9])([A-Z])", r"\1_\2", words).lower()


def _differences(ours: Any, theirs: Any, place: str) -> set[str]:
    """The places at which two requests differ."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        names = set(ours) | set(theirs)
        return {
            found
            for name in names
            for found in _differences(ours.get(name), theirs.get(name), f"{place}.{name}" if place else name)
        }
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        pairs = enumerate(zip(ours, theirs, strict=True))
        return {found for number, pair in pairs for found in _differences(*pair, f"{place}[{number}]")}
    return set() if ours == theirs else {place}
