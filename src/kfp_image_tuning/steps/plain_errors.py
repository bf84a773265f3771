"""How a component fails: its last words are an error's code, what is wrong and the way out, in a frame.

Kubeflow's user interface shows no text for a failed step. The reason stands in the step's log alone, above lines of
KFP's launcher, so it must be easy to find there. The same text goes to the container's termination log, which
Kubernetes puts into the pod's status and Argo into the message of the workflow's node. Nothing is uploaded for a step
that fails, so no artifact can hold it; and its exit code is lost, so none has a meaning.
"""

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from kfp_image_tuning.core.errors import DefectError
from kfp_image_tuning.core.foreign_errors import as_own_error

RULE = "=" * 79
"""Above and below the last words."""
MARK = "kfp-image-tuning: ERROR "
"""What the first line within the frame begins with; the code follows."""
TERMINATION_LOG = Path("/dev/termination-log")
TERMINATION_LOG_BYTES = 4096
"""What Kubernetes keeps of it."""
_SHORTENED = "\n… (the rest stands at the end of this step's log)"


@contextmanager
def plain_errors() -> Iterator[None]:
    """End the process with a framed message and exit code 1, whatever goes wrong within.

    What users can fix is told without a traceback. Anything else is a defect of ours: its traceback comes first.
    """
    try:
        yield
    except Exception as error:
        own = as_own_error(error)
        if isinstance(own, DefectError):
            traceback.print_exc()
        _fail(own.code, str(own))


def framed(code: str, message: str) -> str:
    """The last words of a component that fails.

    Args:
        code: What kind of error it is.
        message: What is wrong, and the way out.
    """
    return f"{RULE}\n{MARK}{code}\n{message}\n{RULE}\n"


def write_termination_log(text: str, path: Path = TERMINATION_LOG) -> None:
    """Leave a text for the pod's status, where the container has a termination log.

    Args:
        text: Shortened at its end to what Kubernetes keeps.
        path: The log. It is never made: outside a pod there is none.
    """
    content = text.encode()
    if len(content) > TERMINATION_LOG_BYTES:
        kept = content[: TERMINATION_LOG_BYTES - len(_SHORTENED.encode())]
        content = kept.decode(errors="ignore").encode() + _SHORTENED.encode()
    # A step that fails must fail for its own reason.
    with contextlib.suppress(OSError), open(os.open(path, os.O_WRONLY | os.O_TRUNC), "wb") as log:
        log.write(content)


def _fail(code: str, message: str) -> NoReturn:
    write_termination_log(f"{code}: {message}")
    # Whoever reads our output may be gone already.
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.write(framed(code, message))
        sys.stderr.flush()
    raise SystemExit(1) from None
