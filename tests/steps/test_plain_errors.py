"""How a component fails: code, sentence and way out are its last words, in its log and in its pod's status."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kfp_image_tuning.cli.kfp_output import OutputFilter
from kfp_image_tuning.cli.local_run import RunError
from kfp_image_tuning.cli.run_directory import RunDirectoryError
from kfp_image_tuning.core import errors
from kfp_image_tuning.delivery.specification import CompilationError
from kfp_image_tuning.steps.plain_errors import TERMINATION_LOG_BYTES, write_termination_log

RULE = "=" * 79

STEP = """
from pathlib import Path
from kfp_image_tuning.steps import plain_errors
from kfp_image_tuning.core.errors import BudgetError
plain_errors.write_termination_log.__defaults__ = (Path({log!r}),)
print("trial 1 is running")
with plain_errors.plain_errors():
    {body}
"""


def fail(body: str, folder: Path, *, log: bool = True) -> tuple[list[str], str]:
    """Run a step that fails; the lines that it prints, and what it leaves for its pod's status."""
    path = folder / "termination-log"
    if log:
        path.write_text("left by an earlier attempt, and longer than " + "x" * 5000)
    done = subprocess.run(
        [sys.executable, "-c", STEP.format(log=str(path), body=body)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout
    return done.stdout.splitlines(), path.read_text() if log else ""


def test_what_users_can_mend_is_told_without_a_traceback(tmp_path: Path) -> None:
    lines, status = fail("""raise BudgetError("max_trials: 0", "epochs: -1")""", tmp_path)
    assert lines == [
        "trial 1 is running",
        RULE,
        "kfp-image-tuning: ERROR budget",
        "2 problems:",
        "  - max_trials: 0",
        "  - epochs: -1",
        RULE,
    ]
    assert status == "budget: 2 problems:\n  - max_trials: 0\n  - epochs: -1"


@pytest.mark.parametrize(
    ("body", "code", "told"),
    [
        ("1 / 0", "unexpected", "ZeroDivisionError: division by zero"),
        ("import a_package_that_nobody_has", "environment", "a_package_that_nobody_has"),
        ("raise OSError(28, 'No space left on device', '/minio/x')", "disk", "/minio/x: no space is left"),
        ("raise MemoryError", "memory", "the memory ran out"),
    ],
)
def test_everything_else_ends_with_the_same_frame(body: str, code: str, told: str, tmp_path: Path) -> None:
    lines, status = fail(body, tmp_path)
    start = lines.index(f"kfp-image-tuning: ERROR {code}")
    assert lines[start - 1] == lines[-1] == RULE
    assert told in "\n".join(lines[start:])
    assert status.startswith(f"{code}: ")
    assert told in status
    assert ("Traceback (most recent call last):" in lines) == (code == "unexpected")
    if code == "unexpected":
        assert "Please report it" in status


def test_without_a_termination_log_none_is_made(tmp_path: Path) -> None:
    lines, _ = fail("""raise BudgetError("max_trials: 0")""", tmp_path, log=False)
    assert lines[-2:] == ["max_trials: 0", RULE]
    assert not (tmp_path / "termination-log").exists()


def test_termination_log_holds_no_more_than_kubernetes_keeps(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    write_termination_log("dataset: " + "ä" * 5000, log)
    content = log.read_bytes()
    assert TERMINATION_LOG_BYTES - 4 < len(content) <= TERMINATION_LOG_BYTES
    assert content.decode().startswith("dataset: ääää")
    assert content.decode().endswith("(the rest stands at the end of this step's log)")


def test_a_reader_that_has_gone_hides_no_reason(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    body = """raise BudgetError("max_trials: 0")"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    process = subprocess.Popen(
        [sys.executable, "-c", STEP.format(log=str(log), body=body)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
    )
    assert process.stdout is not None
    process.stdout.close()
    process.wait(60)
    assert log.read_text() == "budget: max_trials: 0"


def test_a_local_run_takes_the_reason_out_of_the_frame(tmp_path: Path) -> None:
    lines, _ = fail("""raise BudgetError("max_trials: 0", "epochs: -1")""", tmp_path)
    output = OutputFilter({})
    shown = [text for line in lines for text in output.lines(f"    {line}\n")]
    assert shown == ["trial 1 is running"]
    assert output.error == ["2 problems:", "  - max_trials: 0", "  - epochs: -1"]


def test_a_rule_that_frames_nothing_is_shown() -> None:
    output = OutputFilter({})
    assert [text for line in (RULE, "a table", RULE, RULE, "end") for text in output.lines(line)] == [
        RULE,
        "a table",
        RULE,
        RULE,
        "end",
    ]


def test_every_error_has_a_code_of_its_own() -> None:
    def family(one: type[errors.ImageTuningError]) -> list[type[errors.ImageTuningError]]:
        return [one, *(member for child in one.__subclasses__() for member in family(child))]

    members = family(errors.ImageTuningError)
    assert {RunError, RunDirectoryError, CompilationError, errors.DatasetError} < set(members)
    assert all("code" in vars(member) for member in members)
    codes = [member.code for member in members]
    assert len(codes) == len(set(codes))
    assert all(code.replace("-", "").isalpha() and code.islower() for code in codes)
