"""How a component fails: with the message alone where users can mend it, with a traceback where they cannot."""

from collections.abc import Iterator
from contextlib import contextmanager

from kfp_image_tuning.tuning.errors import ImageTuningError

MARK = "Error: "
"""What the last words of a failed component begin with."""


@contextmanager
def plain_errors() -> Iterator[None]:
    """End the process with the message of an `ImageTuningError` instead of its traceback, and exit code 1."""
    try:
        yield
    except ImageTuningError as error:
        raise SystemExit(f"{MARK}{error}") from None
