"""Times, numbers and fingerprints as people read them, the same in lines, messages and reports."""

_UNITS = ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))
"""From how many seconds on a unit is used, its name, and the one below it that is told as well."""
_FIRST_DAYS = 2 * 86400
_DIGITS = 8


def duration(seconds: float) -> str:
    """``3.1 s``, ``42 s``, ``4 min 20 s``, ``2 h 5 min``, ``3 d 4 h``.

    Args:
        seconds: 0 or more; below 10, tenths are told.
    """
    whole = round(seconds)
    if seconds < 9.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    for step, unit, part, name in _UNITS:
        # Hours up to two days: that is how people count a night.
        if whole >= (_FIRST_DAYS if unit == "d" else step):
            # To the nearest of the smaller unit, which may fill the larger one.
            large, small = divmod(round(whole / part), step // part)
            return f"{large:,} {unit} {small} {name}" if small else f"{large:,} {unit}"
    return f"{whole} s"


def count(number: int, noun: str) -> str:
    """``1 trial``, ``2 trials``, ``1,000 trials``."""
    return f"{number:,} {noun if number == 1 else noun + 's'}"


def short_fingerprint(fingerprint: str) -> str:
    """``sha256:1a2b3c4d…``: enough to tell two apart by eye.

    Args:
        fingerprint: With or without the name of its algorithm.
    """
    algorithm, colon, digits = fingerprint.rpartition(":")
    return f"{algorithm}{colon}{digits[:_DIGITS]}…" if len(digits) > _DIGITS else fingerprint
