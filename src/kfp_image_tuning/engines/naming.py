"""Names of what a search makes elsewhere: from the run alone, never from the clock, so that it is found again."""

import re

DIGEST_LENGTH = 16
"""Characters of a digest that a name has."""


def make_name(prefix: str, digest: str, longest: int) -> str:
    """``PREFIX-DIGEST`` in lower-case letters, digits and single dashes, of so many characters at most.

    Args:
        prefix: What it starts with; what a name may not hold is left out of it.
        digest: What tells it from others.
        longest: Characters.
    """
    start = re.sub(r"[^a-z0-9]+", "-", prefix.lower()).strip("-")[: longest - len(digest) - 1].strip("-")
    return f"{start}-{digest}" if start else digest
