"""What readers see: lines that fit the terminal, one line of progress below them, JSON at the end."""

import json
import os
import re
import sys
import textwrap
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

from kfp_image_tuning.core.console import CLEAR_LINE, Console, Status, printable

if TYPE_CHECKING:
    from tqdm import tqdm

USUAL_WIDTH = 80
_COMMAND = re.compile(r"(?:kfp-image-tuning|pip install|kubectl) [^;,()`\n]+")
"""A command in a sentence: it stays in one piece, so that it can be copied."""
_GLUE = "\0"


class OutputLostError(BaseException):
    """The output takes no more lines: an end of the program like Ctrl-C, which nobody on the way takes for his own.

    Attributes:
        error: Why: its reader has gone (``| head``), or the disk is full.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(error)
        self.error = error


class Terminal(Console):
    """Takes what is said while a command runs. A context manager: the line of progress is gone at its end.

    Args:
        quiet: Show results and errors alone.
        verbose: Show the details too.
        as_json: Standard output is for the last line alone; all others go to standard error.
        notes_aside: What is no result goes to standard error: the result is made to be piped on.
    """

    def __init__(
        self, *, quiet: bool = False, verbose: bool = False, as_json: bool = False, notes_aside: bool = False
    ) -> None:
        self.is_quiet = quiet
        self.is_verbose = verbose
        self._as_json = as_json
        self._results = sys.stderr if as_json else sys.stdout
        self._notes = sys.stderr if as_json or notes_aside else sys.stdout
        self.has_bar = not quiet and _can_redraw(self._notes)
        self._bar: tqdm[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.status(None)

    def line(self, text: str) -> None:  # noqa: D102  # as declared
        if not self.is_quiet:
            self._write(self._notes, text)

    def row(self, text: str) -> None:  # noqa: D102  # as declared
        if not self.is_quiet:
            width = _width(self._notes)
            self._write(self._notes, text if width is None or self.is_verbose else cut(text, width))

    def result(self, text: str) -> None:  # noqa: D102  # as declared
        # In JSON the result is the last line: what is here told in words is a note.
        if not (self.is_quiet and self._as_json):
            self._write(self._results, text)

    def document(self, text: str) -> None:  # noqa: D102  # as declared
        try:
            if not self._as_json:
                print(text, end="", file=self._results, flush=True)
        except OSError as error:
            raise OutputLostError(error) from None

    def error(self, text: str) -> None:
        """Show what went wrong."""
        self.status(None)
        self._write(sys.stderr, printable(text))

    def status(self, status: Status | None) -> None:  # noqa: D102  # as declared
        if not self.has_bar:
            return
        if status is None:
            if self._bar is not None:
                self._bar.close()
            self._bar = None
            return
        if self._bar is None:
            self._bar = _make_bar(self._notes)
        # Asked each time: the window may have been resized. The last column stays free, where some terminals wrap.
        width = (_width(self._notes) or USUAL_WIDTH) - 1
        if width < self._bar.ncols:
            # Blanks over what is longer than the window would wrap.
            self._notes.write(CLEAR_LINE.decode())
            self._bar.sp = self._bar.status_printer(self._notes)
        self._bar.ncols = width
        self._bar.n = status.done
        self._bar.set_description_str(status.text, refresh=False)
        self._bar.set_postfix_str(status.left, refresh=False)
        self._bar.refresh()

    def _write(self, stream: TextIO, text: str) -> None:
        width = _width(stream)
        try:
            if self._bar is not None:
                self._bar.clear()
            print(text if width is None else fold(text, width), file=stream, flush=True)
            if self._bar is not None:
                self._bar.refresh()
        except OSError as error:
            raise OutputLostError(error) from None


def print_json(document: Mapping[str, Any]) -> None:
    """Write a document in one line to standard output; in ASCII, so that nothing in it acts on a terminal."""
    print(json.dumps(document, allow_nan=False).replace("\x7f", "\\u007f"), flush=True)


def fold(text: str, width: int) -> str:
    """Break lines between words, so that a terminal does not do it within them.

    Args:
        text: Lines; those that fit stay as they are.
        width: Columns of the terminal.
    """
    return "\n".join(line if len(line) <= width else _fold_line(line, width) for line in text.split("\n"))


def cut(line: str, width: int) -> str:
    """A line that is no longer than a terminal is wide."""
    return line if len(line) <= width else line[: width - 1] + "…"


def _fold_line(line: str, width: int) -> str:
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    glued = _COMMAND.sub(lambda found: found[0].rstrip().replace(" ", _GLUE) + found[0][len(found[0].rstrip()) :], line)
    folded = textwrap.wrap(
        glued, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, replace_whitespace=False
    )
    return "\n".join(folded).replace(_GLUE, " ")


def _can_redraw(stream: TextIO) -> bool:
    """Whether a line can change in its place: on a terminal, unless it or its reader wants plain text."""
    wants_plain = os.environ.get("NO_COLOR") or os.environ.get("CI") or os.environ.get("TERM", "dumb") == "dumb"
    return not wants_plain and _width(stream) is not None


def _width(stream: TextIO) -> int | None:
    """The columns of the terminal that a stream goes to; None: it goes elsewhere."""
    try:
        if not stream.isatty():
            return None
        return os.get_terminal_size(stream.fileno()).columns or USUAL_WIDTH
    except (OSError, ValueError):
        return None


def _make_bar(stream: TextIO) -> "tqdm[None]":
    # Imported here: most commands end before they need it.
    from tqdm import tqdm

    # It would start a thread that redraws bars which nobody moves.
    tqdm.monitor_interval = 0
    return tqdm(
        total=1.0,
        file=stream,
        ncols=USUAL_WIDTH,
        nrows=2,
        # Nothing is drawn before there is something to draw.
        delay=1e-9,
        leave=False,
        mininterval=0,
        bar_format="{desc} {bar} {percentage:3.0f} %{postfix}",
    )
