"""Lines for whoever reads the output; that may be nobody any more, which must neither break nor delay anything."""

import os
import sys


def say(line: str) -> None:
    """Write a line to standard output at once; where its reader has gone, this line and all later ones are dropped.

    KFP's launcher, which reads a step's output, dies when a run is terminated. The step goes on for a moment, in which
    it has better things to do than to fail at a line of progress.
    """
    try:
        print(line, flush=True)
    except (OSError, ValueError):
        _drop_output()


def _drop_output() -> None:
    """Let whatever is written to standard output from now on, by anybody in this process, go nowhere."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError, AttributeError):
        # No file is behind it: a test's or a notebook's.
        return
