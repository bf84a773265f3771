"""Lines and progress for whoever reads the output; that may be nobody any more, which must not break or delay anything.

A step in a pod writes plain lines. The command line puts a `Console` of its own in the place of that; a step that the
command line runs on this machine, as a process of its own, learns from a variable what its reader has, and sends what
is more than a line in a form of its own.
"""

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

STEP_VARIABLE = "KFP_IMAGE_TUNING_CONSOLE"
"""What the reader of a step on this machine has: ``bar``, ``verbose``, both or neither; not set in pods."""

CLEAR_LINE = b"\r\x1b[K"
"""Sent to a terminal, it removes what a signal handler finds on the line."""
_MARK = "\x02"
"""What a line begins with that is an event. No file's name gets into a line in this form: `printable` sees to that."""
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but for tab and line feed, what turns the direction of writing, and halves of characters."""


@dataclass(frozen=True)
class Status:
    """How far a long step is: a line that changes in its place.

    Attributes:
        done: Fraction of the work that is done, 0 to 1.
        text: What is being done, and how it stands.
        left: How long it will still take, in words.
    """

    done: float
    text: str
    left: str = ""


class Console:
    """Takes what is said; this one writes plain lines to standard output.

    Attributes:
        has_bar: Whether a `Status` is shown; where it is not, whoever works says in a line now and then how far it is.
        is_quiet: Whether the reader wants results and errors alone.
        is_verbose: Whether the reader wants the details.
    """

    has_bar = False
    is_quiet = False
    is_verbose = False

    def line(self, text: str) -> None:
        """Show a line; where its reader has gone, it and all later ones are dropped.

        KFP's launcher, which reads a step's output, dies when a run is terminated. The step continues for a moment, in
        which it has better things to do than to fail at a line of progress.
        """
        try:
            print(text, flush=True)
        except (OSError, ValueError):
            drop_output()

    def row(self, text: str) -> None:
        """Show a line of a table, which a terminal cuts rather than folds."""
        self.line(text)

    def result(self, text: str) -> None:
        """Show what was asked for."""
        self.line(text)

    def document(self, text: str) -> None:
        """Show what was asked for and is made for programs, as it is."""
        print(text, end="", flush=True)

    def status(self, status: Status | None) -> None:
        """Show how far it is; None: it is over."""


class _StepConsole(Console):
    """That of a step on this machine: lines, and events among them."""

    def __init__(self, wanted: str) -> None:
        self.has_bar = "bar" in wanted
        self.is_verbose = "verbose" in wanted

    def row(self, text: str) -> None:
        self._send({"row": text})

    def status(self, status: Status | None) -> None:
        if self.has_bar:
            self._send({"status": asdict(status) if status else None})

    def _send(self, event: object) -> None:
        self.line(_MARK + json.dumps(event))


_console: Console = _StepConsole(os.environ[STEP_VARIABLE]) if STEP_VARIABLE in os.environ else Console()


@contextmanager
def speak_through(console: Console) -> Iterator[None]:
    """Have all that is said within go to a console."""
    global _console
    before, _console = _console, console
    try:
        yield
    finally:
        _console = before


def say(line: str) -> None:
    """Show a line at once."""
    _console.line(printable(line))


def say_row(line: str) -> None:
    """Show a line of a table, which a terminal cuts rather than folds."""
    _console.row(printable(line))


def say_result(line: str) -> None:
    """Show a line of what was asked for, which is shown to those who want nothing else."""
    _console.result(printable(line))


def say_document(text: str) -> None:
    """Show what was asked for and is made for programs, as it is."""
    _console.document(text)


def show_status(status: Status | None) -> None:
    """Show how far a long step is, where there is a place for it; None: it is over."""
    if status is not None:
        status = Status(min(1.0, max(0.0, status.done)), printable_name(status.text), printable_name(status.left))
    _console.status(status)


def has_bar() -> bool:
    """Whether `show_status` shows anything."""
    return _console.has_bar


def is_quiet() -> bool:
    """Whether the reader wants results and errors alone."""
    return _console.is_quiet


def is_verbose() -> bool:
    """Whether the reader wants the details."""
    return _console.is_verbose


def wanted_of_steps() -> str:
    """The value of `STEP_VARIABLE` for a step whose output is passed on to this process's reader."""
    return " ".join(word for word, wanted in (("bar", has_bar()), ("verbose", is_verbose())) if wanted)


def pass_on(line: str) -> bool:
    """Show what a step on this machine has sent in a line of its output.

    Args:
        line: As it was read.

    Returns:
        False if it is a line as any other.
    """
    text = line.strip(" \n")
    if not text.startswith(_MARK):
        return False
    event = json.loads(text.removeprefix(_MARK))
    if "row" in event:
        say_row(event["row"])
    else:
        show_status(Status(**event["status"]) if event["status"] else None)
    return True


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


def drop_output() -> None:
    """Let whatever is written to standard output from now on, by anybody in this process, go nowhere."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError, AttributeError):
        # No file is behind it: a test's or a notebook's.
        return
