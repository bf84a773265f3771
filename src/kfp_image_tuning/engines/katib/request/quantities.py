"""Kubernetes' quantities: ``2Gi``, ``500m``, ``4``."""

import re
from decimal import Decimal

_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -3, "u": -2, "m": -1, "": 0, "k": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}
_FORM = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]?|[eE][+-]?\d+)")


def parse_quantity(text: str) -> Decimal | None:
    """The amount, or None if the text is not a quantity."""
    match = _FORM.fullmatch(text)
    if match is None:
        return None
    number, suffix = match.groups()
    if suffix in _BINARY:
        return Decimal(number) * Decimal(1024) ** _BINARY[suffix]
    if suffix in _DECIMAL:
        return Decimal(number) * Decimal(1000) ** _DECIMAL[suffix]
    return Decimal(number + suffix)


def canonical_quantity(text: str) -> str | None:
    """The form in which Kubernetes writes the same quantity back, or None if the text is none."""
    amount = parse_quantity(text)
    if amount is None or amount == 0:
        return None if amount is None else "0"
    is_binary = text[-2:] in _BINARY
    base, suffixes = (1024, {"": 0} | _BINARY) if is_binary else (1000, _DECIMAL)
    for suffix, power in sorted(suffixes.items(), key=lambda item: -item[1]):
        number = amount / Decimal(base) ** power
        if number == number.to_integral_value():
            return f"{int(number)}{suffix}"
    return None
