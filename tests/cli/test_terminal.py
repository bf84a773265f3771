"""What readers see: a line of progress on a terminal, plain lines elsewhere, as much as wanted, JSON for programs."""

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import kfp_image_tuning.cli
from kfp_image_tuning.cli.terminal import cut, fold

COMMAND = [sys.executable, "-m", "kfp_image_tuning.cli.command_line"]
SCHEMA = json.loads((Path(kfp_image_tuning.cli.__file__).parent / "outcome.schema.json").read_text(encoding="utf-8"))
SPACE = '{"optimizer": ["sgd"], "mini_batch_size": 16, "learning_rate": {"min": 0.01, "max": 0.2}}'
SMALL = ["--max-trials", "2", "--epochs", "2", "--test-fraction", "0.2", "--search-space", SPACE]


class Screen:
    """A terminal of 80 columns that a command writes to."""

    def __init__(self, *words: str | Path, cwd: Path, command: Sequence[str] = COMMAND, **environment: str) -> None:
        self.master, slave = pty.openpty()
        self.resize(80)
        usual = {name: value for name, value in os.environ.items() if name not in ("CI", "NO_COLOR", "COLUMNS")}
        self.process = subprocess.Popen(
            [*command, *map(str, words)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**usual, "TERM": "xterm", **environment},
            start_new_session=True,
            cwd=cwd,
        )
        os.close(slave)
        self.written = b""

    def resize(self, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def read_until(self, is_enough: Callable[[str], bool] = lambda _text: False) -> str:
        """All that was written so far; to the end, if it is never enough."""
        while not is_enough(self.text):
            try:
                piece = os.read(self.master, 65536)
            except OSError:
                break
            if not piece:
                break
            self.written += piece
        return self.text

    @property
    def text(self) -> str:
        return self.written.decode(errors="replace")

    @property
    def lines(self) -> list[str]:
        """What stays on the screen, line by line: what was drawn last in each place, without what was cleared."""
        shown = []
        for line in self.text.split("\r\n"):
            cells: list[str] = []
            for drawn in line.split("\r"):
                cells = [] if drawn.startswith("\x1b[K") else cells
                drawn = drawn.removeprefix("\x1b[K")
                cells[: len(drawn)] = drawn
            shown.append("".join(cells).rstrip())
        return shown

    def end(self) -> int:
        self.read_until()
        os.close(self.master)
        return self.process.wait(timeout=60)


def call(*words: str | Path, **more: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*COMMAND, *map(str, words)], capture_output=True, text=True, check=False, **more)


def last_document(output: str) -> dict[str, Any]:
    """The only line of standard output."""
    (line,) = output.splitlines()
    document: dict[str, Any] = json.loads(line)
    jsonschema.validate(document, SCHEMA)
    return document


def test_a_run_on_a_terminal_has_one_line_of_progress_that_is_gone_at_the_end(digits: Path, tmp_path: Path) -> None:
    screen = Screen("run", "--data", digits, "--output", "run", *SMALL, cwd=tmp_path)
    assert screen.end() == 0, screen.text
    states = [part for part in screen.text.replace("\n", "\r").split("\r") if " trials, " in part and "%" in part]
    assert states[0].startswith("0/2 trials")
    assert any("left" in state for state in states)
    assert states[-1].startswith("2/2 trials, best ")
    assert "100 %" in states[-1]
    # A path stays whole, however long it is.
    lines = screen.text.replace("\n", "\r").split("\r")
    assert [line for line in lines if len(line) > 80 and " " in line] == []
    assert not any("%," in line for line in screen.lines), "the line of progress is cleared"
    assert sum("early_stopped" in line or "completed" in line for line in screen.lines) <= 2
    assert any(line.startswith("One epoch took ") for line in screen.lines)
    assert not any("epoch 1/2" in line for line in screen.lines), "epochs are details"


def test_line_of_progress_fits_a_window_that_is_resized(tmp_path: Path) -> None:
    program = (
        "from kfp_image_tuning.cli.terminal import Terminal\n"
        "from kfp_image_tuning.core.console import Status\n"
        "with Terminal() as terminal:\n"
        "    terminal.status(Status(0.5, '3/6 trials, best 0.9412', 'about 4 min left'))\n"
        "    input()\n"
        "    terminal.status(Status(0.6, '4/6 trials, best 0.9412', 'about 3 min left'))\n"
    )
    screen = Screen("-c", program, cwd=tmp_path, command=[sys.executable])
    screen.read_until(lambda text: "50 %" in text)
    wide = len(screen.text)
    screen.resize(40)
    os.write(screen.master, b"\n")
    assert screen.end() == 0
    assert 60 < len(screen.text[:wide].split("\r")[-1]) < 80
    drawn = [part for part in screen.text.replace("\n", "\r").split("\r") if part.startswith("4/6")]
    assert len(drawn) == 1
    assert len(drawn[0]) < 40


@pytest.mark.parametrize("plain", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"CI": "true"}])
def test_plain_lines_where_a_line_cannot_or_should_not_be_redrawn(
    plain: dict[str, str], digits: Path, tmp_path: Path
) -> None:
    screen = Screen("prepare", "--data", digits, "--output", "dataset", cwd=tmp_path, **plain)
    assert screen.end() == 0
    assert not any("\r" in line.rstrip("\r") for line in screen.text.split("\n"))
    assert "\x1b" not in screen.text


def test_interrupted_work_leaves_a_clean_line(digits: Path, tmp_path: Path) -> None:
    more = ["--max-trials", "50", "--epochs", "50"]
    screen = Screen("run", "--data", digits, "--output", "run", *SMALL, *more, cwd=tmp_path)
    screen.read_until(lambda text: "0/50 trials, best" in text)
    screen.process.send_signal(signal.SIGINT)
    assert screen.end() == 130
    assert "Traceback" not in screen.text
    assert screen.lines[-2].startswith("  kfp-image-tuning run --resume") or "Continue with" in screen.lines[-2]
    assert not any("%," in line for line in screen.lines)


def test_interrupted_preparation_ends_with_one_line(digits: Path, tmp_path: Path) -> None:
    running = subprocess.Popen(
        [*COMMAND, "prepare", "--data", digits, "--output", tmp_path / "dataset"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert running.stdout is not None
    assert "images of" in running.stdout.readline()
    os.killpg(running.pid, signal.SIGINT)
    _, error = running.communicate(timeout=60)
    assert running.returncode == 130
    assert error == "Interrupted.\n"
    assert not (tmp_path / "dataset").exists()


def test_quiet_verbose_and_json(digits: Path, tmp_path: Path) -> None:
    quiet = call("run", "-q", "--data", digits, "--output", tmp_path / "quiet", *SMALL)
    assert quiet.returncode == 0, quiet.stderr
    assert quiet.stderr == ""
    assert quiet.stdout.lstrip().startswith("Test accuracy ")

    spoken = call("run", "--verbose", "--json", "--data", digits, "--output", tmp_path / "json", *SMALL)
    document = last_document(spoken.stdout)
    assert spoken.returncode == document["exit_code"] == 0
    assert document["command"] == "run"
    assert document["passed"] is True
    assert document["trials"] == 2
    assert document["best_trial"]["hyperparameters"].keys() >= {"learning_rate", "momentum"}
    assert all(Path(path).exists() for path in document["files"].values())
    assert document["files"].keys() == {"model", "result", "dataset", "evaluation", "report"}
    for detail in ("epoch 1/2", "Request: {", "trial-001 started", str(tmp_path / "json" / "work")):
        assert detail in spoken.stderr

    measured = call(
        *("evaluate", "--json", "--model", document["files"]["model"], "--dataset", document["files"]["dataset"]),
        *("--output", tmp_path / "again", "--min-accuracy", "1"),
    )
    again = last_document(measured.stdout)
    assert again["accuracy"] == document["accuracy"]
    assert again["exit_code"] == measured.returncode == (0 if again["passed"] else 3)
    assert len(again["failed_checks"]) == (0 if again["passed"] else 1)


def test_prepared_and_planned_in_json(digits: Path, tmp_path: Path) -> None:
    name = "data\x1b[2J\x7f\x9b"
    prepared = last_document(call("prepare", "--json", "--data", digits, "--output", name, cwd=tmp_path).stdout)
    assert prepared["images"].keys() == {"train", "validation", "test"}
    assert len(prepared["classes"]) == 4
    assert prepared["output"] == str(tmp_path / name)
    planned = call("plan", "--json", "--data", name, cwd=tmp_path)
    assert not any(character in planned.stdout + planned.stderr for character in "\x1b\x7f\x9b")
    document = last_document(planned.stdout)
    assert document["request"]["search"]["dataset"]["fingerprint"] == prepared["fingerprint"]
    elsewhere = call("plan", "--json", "--engine", "katib", "--data", "pvc://claim/data", "--gpus", "1")
    assert last_document(elsewhere.stdout)["request"]["documents"][0]["kind"] == "Experiment"
    assert "Experiment" in elsewhere.stderr


@pytest.mark.parametrize(
    ("words", "exit_code", "code", "command"),
    [
        (["run", "--json", "--trails", "3"], 2, "usage", ""),
        (["plan", "--json", "--data", ""], 2, "usage", ""),
        (["plan", "--json", "--search-space", '{"momentum": 7}'], 2, "search-space", "plan"),
        (["prepare", "--json", "--data", "nowhere", "--output", "out"], 2, "parameters", "prepare"),
        (["prepare", "--json", "--data", "empty", "--output", "out"], 1, "dataset", "prepare"),
        (["report", "--json", "--run", "nowhere"], 1, "run-directory", "report"),
    ],
)
def test_errors_in_json(words: list[str], exit_code: int, code: str, command: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = call(*words, cwd=tmp_path)
    document = last_document(done.stdout)
    assert (done.returncode, document["exit_code"]) == (exit_code, exit_code)
    assert (document["error"]["code"], document["command"]) == (code, command)
    assert document["error"]["message"] in done.stderr


def test_documented_json_is_of_the_schema() -> None:
    page = (Path(__file__).parents[2] / "docs" / "command_line.md").read_text(encoding="utf-8")
    blocks = [block.partition("```")[0] for block in page.split("```json\n")[1:]]
    assert len(blocks) == 2
    for block in blocks:
        jsonschema.validate(json.loads(block), SCHEMA)


def test_quiet_and_verbose_exclude_each_other(tmp_path: Path) -> None:
    assert call("plan", "-q", "-v").returncode == 2


@pytest.mark.parametrize(
    ("line", "folded"),
    [
        ("short", "short"),
        ("one two three", "one two\n  three"),
        ("  one two three", "  one two\n    three"),
        ("see kfp-image-tuning plan --data x; then go", "see\n  kfp-image-tuning plan --data x;\n  then go"),
        ("a/very/long/path/stays/whole", "a/very/long/path/stays/whole"),
    ],
)
def test_lines_are_folded_between_words_and_commands_stay_whole(line: str, folded: str) -> None:
    assert fold(line, 10) == folded


def test_rows_are_cut() -> None:
    assert cut("0123456789", 10) == "0123456789"
    assert cut("0123456789a", 10) == "012345678…"
