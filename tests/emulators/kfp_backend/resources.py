"""A container's resources as KFP's driver makes them of a specification.

From reading (``initPodSpecPatch``, ``resolvePodSpecInputRuntimeParameter`` of KFP 2.17's driver): the value of an input
is read as a text, so that a number counts as empty; an empty amount of CPU or memory, or one that is not a quantity,
ends the step before its pod is made; an accelerator without a type or a count is left out without a word.
"""

import re
from collections.abc import Mapping
from typing import Any

from kfp_image_tuning.engines.katib.request.quantities import parse_quantity

Document = dict[str, Any]
_INPUT = re.compile(r"\$.inputs.parameters\['(.+?)'\]")
_SIDES = {"Limit": "limits", "Request": "requests"}


class DriverFailed(Exception):  # noqa: N818  # it is what a driver's pod ends with
    """The driver ended with an error: the step's pod is not made."""


def make_resources(given: Document, inputs: Mapping[str, Any]) -> Document:
    """Kubernetes' form of a container's resources.

    Args:
        given: The container's in the specification.
        inputs: Values of the task's input parameters.

    Raises:
        DriverFailed: If an amount cannot be read.
    """
    made: dict[str, dict[str, str]] = {"limits": {}, "requests": {}}
    for kind in ("Cpu", "Memory"):
        for suffix, side in _SIDES.items():
            if text := given.get(f"resource{kind}{suffix}", ""):
                made[side][kind.lower()] = _quantity(_resolve(text, inputs))
    accelerator = given.get("accelerator", {})
    name = _resolve(accelerator.get("resourceType", ""), inputs)
    count = _resolve(accelerator.get("resourceCount", ""), inputs)
    if name and count:
        made["limits"][name] = _quantity(count)
    return {side: amounts for side, amounts in made.items() if amounts}


def _resolve(text: str, inputs: Mapping[str, Any]) -> str:
    found = _INPUT.search(text)
    if found is None:
        return text
    if found[1] not in inputs:
        raise DriverFailed("failed to init podSpecPatch: executorInput did not contain container Image input parameter")
    value = inputs[found[1]]
    return value if isinstance(value, str) else ""


def _quantity(text: str) -> str:
    if parse_quantity(text) is None:
        raise DriverFailed(
            "failed to init podSpecPatch: quantities must match the regular expression "
            "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        )
    return text
