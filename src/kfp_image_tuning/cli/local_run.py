"""Run the pipeline on this machine, in a process group of its own: show what its components say, end it in order.

Nothing that runs below outlives this process: a signal is passed on to the whole group, and when this process is
killed, the group notices and ends.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from kfp_image_tuning.cli.kfp_output import OutputFilter
from kfp_image_tuning.cli.run_directory import RunDirectory
from kfp_image_tuning.cli.users_words import in_users_words, line_in_users_words
from kfp_image_tuning.core.console import (
    CLEAR_LINE,
    STEP_VARIABLE,
    has_bar,
    is_quiet,
    pass_on,
    say,
    show_status,
    wanted_of_steps,
)
from kfp_image_tuning.core.errors import DefectError, ImageTuningError

GRACE_SECONDS = 20.0
LAST_WORDS = 20
"""Lines of a step that ended without saying why."""
_HEADINGS: Mapping[str, str] = {
    "preflight": "",
    "preparation": "1/3 Preparing images",
    "tuning": "2/3 Searching hyperparameters",
    "evaluation": "3/3 Evaluating the best model",
}
"""What to show when a task starts, by the end of its name; the check of parameters is silent when all is well."""


class RunError(ImageTuningError):
    """A step of the pipeline that failed.

    Args:
        message: What the step said, or what is known.
        code: Of the step's own error, if it told one.
    """

    code = "run"
    way_out = "Look at what the step said last; the option --resume continues with the same run."

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code or self.code


class RunStopped(Exception):  # noqa: N818  # not an error: somebody wanted it
    """A signal ended the run.

    Attributes:
        number: The signal's number.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def run_pipeline(directory: RunDirectory, engine: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Run an engine's pipeline in a run's folder.

    Args:
        directory: The folder; it holds the results afterwards.
        engine: Whose pipeline.
        parameters: The pipeline's parameters.

    Returns:
        The pipeline's outputs: paths of artifacts and values, by name.

    Raises:
        RunError: With the message of the component that failed.
        RunStopped: If SIGINT or SIGTERM came in.
    """
    lock = directory.lock()
    try:
        directory.clear_pipeline()
        outputs_path = directory.work / "outputs.json"
        outputs_path.unlink(missing_ok=True)
        # Here the search's state is files; elsewhere it is what an engine finds again by the run's identity.
        state = {"tune_work_directory": str(directory.work)} if engine == "local" else {"tune_run": directory.identity}
        request = {
            "pipeline_root": str(directory.pipeline_root),
            "engine": engine,
            "parameters": {
                **parameters,
                "data_work_directory": str(directory.path),
                **state,
            },
            "outputs_path": str(outputs_path),
        }
        try:
            _execute(request, lock)
        except (RunError, RunStopped) as error:
            directory.collect_partial_result()
            if isinstance(error, RunError):
                raise RunError(directory.with_places_kept(str(error)), error.code) from None
            raise
        outputs: dict[str, Any] = json.loads(outputs_path.read_text(encoding="utf-8"))
        outputs_path.unlink()
        directory.collect(outputs)
        return outputs
    finally:
        os.close(lock)


def _execute(request: Mapping[str, Any], lock: int) -> None:
    """Run the program that runs the pipeline, to its end."""
    output = OutputFilter(_HEADINGS)
    last_words: deque[str] = deque(maxlen=LAST_WORDS)
    process = subprocess.Popen(
        [sys.executable, "-m", "kfp_image_tuning.cli.local_execution"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, "PYTHONUNBUFFERED": "1", STEP_VARIABLE: wanted_of_steps()},
        start_new_session=True,
        pass_fds=[lock],
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with _pass_signals_on(process) as received, process.stdin:
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            for line in process.stdout:
                if pass_on(line):
                    continue
                for text in output.lines(line):
                    last_words.append(text)
                    say(line_in_users_words(text))
        except BaseException:
            _end_group(process, signal.SIGKILL)
            raise
        code = process.wait()
    show_status(None)
    if received:
        raise RunStopped(received[0])
    if code != 0:
        if output.error and output.code == DefectError.code and is_quiet():
            # Its message speaks of a traceback above it.
            output.error = [*last_words, *output.error]
        raise RunError(in_users_words("\n".join(output.error)) or _unexplained(last_words), output.code)


@contextmanager
def _pass_signals_on(process: "subprocess.Popen[str]") -> Iterator[list[int]]:
    """Ask the group to end at the first signal, and end it at the second or when it takes too long.

    Yields:
        The signals received so far.
    """
    received: list[int] = []
    timer = threading.Timer(GRACE_SECONDS, _end_group, (process, signal.SIGKILL))
    timer.daemon = True

    def on_signal(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        if len(received) == 1:
            # print is not safe here: the handler may run in the middle of another one.
            os.write(2, (CLEAR_LINE if has_bar() else b"") + b"Stopping; once more to stop at once.\n")
            _end_group(process, signal.SIGTERM)
            timer.start()
        else:
            _end_group(process, signal.SIGKILL)

    previous = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        timer.cancel()
        for number, handler in previous.items():
            signal.signal(number, handler)


def _end_group(process: "subprocess.Popen[str]", number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


def _unexplained(last_words: Iterable[str]) -> str:
    told = (
        "a step ended without saying why. If the system ended it, it may have run out of memory: try "
        "--parallel-trials 1 or a smaller --image-shape"
    )
    words = [f"  {line}" for line in last_words]
    return "\n".join([f"{told}. Its last words:", *words]) if words else told


def exit_code(number: int) -> int:
    """What a shell expects of a program that a signal ended."""
    return 128 + number
