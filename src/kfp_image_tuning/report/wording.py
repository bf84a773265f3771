"""Numbers as people read them."""

import math
from datetime import UTC, datetime


def percent(share: float, digits: int = 1) -> str:
    """``0.9731`` as ``97.3 %``; only what is exactly 1 reads as 100 %, and only what is exactly 0 as 0 %."""
    scale = 10.0**digits
    rounded = round(share * 100 * scale) / scale
    if share < 1 and rounded >= 100:
        rounded = 100 - 1 / scale
    if share > 0 and rounded <= 0:
        return f"< {1 / scale:.{digits}f} %"
    return f"{rounded:.{digits}f} %"


def points(difference: float) -> str:
    """A difference of two accuracies in percentage points, with its sign."""
    rounded = round(difference * 100, 1)
    sign = "+" if rounded > 0 else "\N{MINUS SIGN}" if rounded < 0 else "±"
    return f"{sign}{abs(rounded):.1f}"


def moment(unix_time: float) -> str:
    """``21 Nov 2026, 14:03 UTC``."""
    when = datetime.fromtimestamp(unix_time, UTC)
    return f"{when.day} {when:%b %Y, %H:%M} UTC"


def value(item: object) -> str:
    """A hyperparameter's value with three significant digits."""
    if isinstance(item, bool) or not isinstance(item, float):
        return ", ".join(map(str, item)) if isinstance(item, list | tuple) else str(item)
    if not math.isfinite(item):
        return str(item)
    if item != 0 and (abs(item) < 1e-3 or abs(item) >= 1e5):
        mantissa, exponent = f"{item:.2e}".split("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    # What is close to 1 is told by its distance to 1, as decay rates are.
    digits = 3 if not 0.9 < item < 1 else min(6, 2 - math.floor(math.log10(1 - item)))
    return f"{item:.{digits}g}" if digits == 3 else f"{item:.{digits}f}".rstrip("0").rstrip(".")


def size(number: int) -> str:
    """Bytes in a unit that fits."""
    for unit, step in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= step:
            return f"{number / step:.1f} {unit}"
    return f"{number} bytes"
