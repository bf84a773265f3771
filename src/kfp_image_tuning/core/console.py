"""Lines for whoever reads the output; that may be nobody any more, which must neither break nor delay anything."""

import os
import re
import sys

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but for tab and line feed, what turns the direction of writing, and halves of characters."""


def printable(text: str) -> str:
    """A text that does nothing to a terminal but appear on it: names of files may hold anything.

    Args:
        text: Any; its lines stay lines.
    """
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def printable_name(name: object) -> str:
    """The same for a file's name, which stays on one line.

    Args:
        name: A text, or a path as the system has it.
    """
    return printable(os.fsdecode(name) if isinstance(name, bytes | os.PathLike) else str(name)).replace("\n", "\\n")


def say(line: str) -> None:
    """Write a line to standard output at once; where its reader has gone, this line and all later ones are dropped.

    KFP's launcher, which reads a step's output, dies when a run is terminated. The step goes on for a moment, in which
    it has better things to do than to fail at a line of progress.
    """
    try:
        print(printable(line), flush=True)
    except (OSError, ValueError):
        drop_output()


def drop_output() -> None:
    """Let whatever is written to standard output from now on, by anybody in this process, go nowhere."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError, AttributeError):
        # No file is behind it: a test's or a notebook's.
        return
