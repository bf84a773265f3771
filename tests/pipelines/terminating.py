"""Ends runs on the stand-in for KFP's backend in the middle of a step, and looks at what is left of them."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from tests.emulators.kfp_backend import Backend, Run

LONGEST_PHASE = 120.0


def wait_for_phase(run: Run, task: str, is_reached: Callable[[str], bool]) -> None:
    """Wait until the running pod of a task has written what says that a phase is reached."""
    deadline = time.monotonic() + LONGEST_PHASE
    while True:
        found = [entry for entry in run.tasks if entry.name == task and entry.attempts and entry.pod.is_running]
        if found and is_reached(found[0].log):
            return
        assert run.state == "RUNNING", run.explain()
        assert time.monotonic() < deadline, run.explain()
        time.sleep(0.01)


def terminate(backend: Backend, run: Run) -> float:
    """Terminate a run, wait for its end, and see that it left no process; returns when it was asked (monotonic)."""
    asked = time.monotonic()
    backend.terminate(run)
    run.wait(60)
    assert run.state == "FAILED"
    assert processes_of(run) == []
    return asked


def processes_of(run: Run) -> list[str]:
    """Commands that run in any pod of a run."""
    names = [f"KFP_POD_UID={pod.uid}".encode() for task in run.tasks for pod in task.attempts]
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(name in (process / "environ").read_bytes().split(b"\0") for name in names):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found
