"""What steps say on this machine, and how the command line takes it up."""

import json
import subprocess
import sys

import pytest

from kfp_image_tuning.core.console import STEP_VARIABLE, Console, Status, pass_on, printable, speak_through

STEP = """\
from kfp_image_tuning.core.console import Status, has_bar, is_verbose, say, say_row, show_status
say("a line")
say_row("a row \\x1b[2J")
show_status(Status(0.5, "half\\nof it \\x1b", "3 s left"))
show_status(None)
say("\\x02{}")
say(f"{has_bar()} {is_verbose()}")
"""


class Reader(Console):
    """Keeps what it is shown."""

    def __init__(self) -> None:
        self.shown: list[object] = []

    def row(self, text: str) -> None:
        self.shown.append(text)

    def status(self, status: Status | None) -> None:
        self.shown.append(status)


def spoken(**environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", STEP],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin", **environment},
    )
    return done.stdout.splitlines()


def test_in_a_pod_there_are_plain_lines_alone() -> None:
    assert spoken() == ["a line", r"a row \x1b[2J", r"\x02{}", "False False"]


@pytest.mark.parametrize(("wanted", "told"), [("bar", "True False"), ("bar verbose", "True True"), ("", "False False")])
def test_a_step_learns_what_its_reader_has(wanted: str, told: str) -> None:
    assert spoken(**{STEP_VARIABLE: wanted})[-1] == told


def test_rows_and_states_are_passed_on_and_no_name_can_look_like_them() -> None:
    reader = Reader()
    with speak_through(reader):
        # As kfp.local indents it.
        lines = [line for line in spoken(**{STEP_VARIABLE: "bar"}) if not pass_on(f"    {line}\n")]
    assert lines == ["a line", r"\x02{}", "True False"]
    assert reader.shown == [r"a row \x1b[2J", Status(0.5, r"half\nof it \x1b", "3 s left"), None]


@pytest.mark.parametrize("text", ["\x1b", "\x9b", "\x7f", "\u202e", "\r", "\x02"])
def test_what_acts_on_a_terminal_is_shown_as_text(text: str) -> None:
    assert printable(f"a{text}b").isascii()
    assert text not in printable(f"a{text}b")
    assert json.dumps(printable("über\n\tx")) == json.dumps("über\n\tx")
