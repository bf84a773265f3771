"""Checks of what pods may use: processors, memory and accelerators, in Kubernetes' words.

KFP's driver fails a step with an amount that it cannot read, shows no reason, and leaves out an accelerator without a
word where one of type and count is missing.
"""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from kfp_image_tuning.engines.katib.request.quantities import parse_quantity

STEPS = ("data", "tune", "eval")
"""Prefixes in the run form."""

_CPU = re.compile(r"\d+(\.\d+)?|\d+m")
_COUNT = re.compile(r"0|[1-9]\d*")
_ACCELERATOR = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?/[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_FEW_BYTES = 1 << 20
"""No Python starts in less."""
_MANY_PROCESSORS = 4096
_NUMBER = re.compile(r"\d+(\.\d+)?")


def find_resource_problems(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Parameter and sentence for each amount that no pod can have.

    Args:
        values: Parameters by the run form's names; one that is missing has its default, which is no limit.
    """
    for step in STEPS:
        yield from _cpu_problems(f"{step}_cpu", values.get(f"{step}_cpu", "0"))
        yield from _memory_problems(f"{step}_memory", values.get(f"{step}_memory", "0"))
        yield from _accelerator_problems(f"{step}_accelerator", values)


def _cpu_problems(name: str, text: str) -> Iterator[tuple[str, str]]:
    amount = parse_quantity(text) if _CPU.fullmatch(text) else None
    if amount is None or amount > _MANY_PROCESSORS:
        number = _NUMBER.search(text)
        example = f"write {number[0]}" if number and amount is None else "write a number such as 4, or 500m for a half"
        yield name, f"{text!r} is not a number of processors; {example}; 0 for no limit"


def _memory_problems(name: str, text: str) -> Iterator[tuple[str, str]]:
    amount = parse_quantity(text)
    if amount is not None and (amount == 0 or amount >= _FEW_BYTES):
        return
    number = _NUMBER.search(text)
    unit = "Mi" if number and re.search(r"m", text, re.IGNORECASE) else "Gi"
    example = f"{Decimal(number[0])}{unit}" if number and Decimal(number[0]) else "16Gi"
    found = "is not an amount of memory" if amount is None else f"is {amount:f} bytes, in which nothing runs"
    yield name, f"{text!r} {found}; write {example}, or 0 for no limit"


def _accelerator_problems(name: str, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    kind, count = values.get(name, ""), values.get(f"{name}_count", "0")
    if kind and not _ACCELERATOR.fullmatch(kind):
        yield (
            name,
            f"{kind!r} is not a resource of a node; write it as `kubectl describe node` does under Allocatable, "
            "such as nvidia.com/gpu",
        )
    if not _COUNT.fullmatch(count):
        yield f"{name}_count", f"{count!r} is not a whole number; write how many, such as 1, or 0 for none"
    elif kind and count == "0":
        yield f"{name}_count", f"is 0, so no {kind} would be there; write how many, or leave {name} empty"
    elif not kind and count != "0":
        yield f"{name}_count", f"{count} of what? {name} is empty; write there what they are called: nvidia.com/gpu"
