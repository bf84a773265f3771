"""The search's side of its worker processes: start, commands, events, end."""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kfp_image_tuning.core.errors import EngineError
from kfp_image_tuning.engines.local.devices import Device

PROGRAM = "kfp_image_tuning.engines.local.worker"
LOG_NAME = "workers.log"
STARTS = 3
"""Workers that may end one after another before one is ready."""
LONGEST_TAIL = 2000
"""Characters of the log that an error message shows."""


@dataclass(frozen=True)
class WorkerEvents:
    """What came from one worker.

    Attributes:
        worker: From which.
        events: In order.
        exit: How its process ended, in words; None while it is there.
    """

    worker: "Worker"
    events: list[dict[str, Any]]
    exit: str | None = None


class WorkerPool:
    """As many workers as there are devices; one that ends is replaced.

    Args:
        devices: What they train on.
        setup: Their first command: which images to open.
        directory: Gets a log of what they write outside of trials.
    """

    def __init__(self, devices: Sequence[Device], setup: Mapping[str, Any], directory: Path) -> None:
        self._setup = setup
        self._log = directory / LOG_NAME
        self._failed_starts = 0
        self._workers = [self._start(device) for device in devices]

    def ready(self) -> list["Worker"]:
        """The workers that can take or have a trial."""
        return [worker for worker in self._workers if worker.is_ready]

    def wait(self, seconds: float) -> list[WorkerEvents]:
        """Wait for events, so long at most. A worker that ended has been replaced when this returns.

        Raises:
            EngineError: If workers do not start.
        """
        with selectors.DefaultSelector() as selector:
            for worker in self._workers:
                selector.register(worker, selectors.EVENT_READ, worker)
            speaking = [key.data for key, _ in selector.select(seconds)]
        return [self._read(worker) for worker in speaking]

    def end(self) -> None:
        """End all of them."""
        for worker in self._workers:
            worker.close()
        for worker in self._workers:
            worker.end()
        self._workers = []

    def _start(self, device: Device) -> "Worker":
        return Worker(device, self._setup, self._log)

    def _read(self, worker: "Worker") -> WorkerEvents:
        events, alive = worker.read()
        if alive:
            self._failed_starts = 0 if worker.is_ready else self._failed_starts
            return WorkerEvents(worker, events)
        exit_in_words = worker.end()
        if not worker.is_ready:
            self._failed_starts += 1
        if self._failed_starts >= STARTS:
            tail = self._log.read_text(errors="replace")[-LONGEST_TAIL:].strip()
            raise EngineError(f"the worker processes do not start: {exit_in_words}. The end of {self._log}:\n{tail}")
        self._workers[self._workers.index(worker)] = self._start(worker.device)
        return WorkerEvents(worker, events, exit_in_words)


class Worker:
    """One worker process.

    Attributes:
        device: What it trains on.
        is_ready: Whether it has said that it can take a trial.

    Args:
        device: What it trains on.
        setup: Its first command.
        log: Gets what it writes outside of trials.
    """

    def __init__(self, device: Device, setup: Mapping[str, Any], log: Path) -> None:
        self.device = device
        self.is_ready = False
        self._received = b""
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                env=_environment(device),
                # A signal to the terminal's or the scheduler's process group is the search's to answer.
                start_new_session=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._commands, self._events = self._process.stdin, self._process.stdout
        os.set_blocking(self._events.fileno(), False)
        self.send("open", **setup, device=device.name, threads=device.threads)

    def fileno(self) -> int:
        """What to wait on for events."""
        return self._events.fileno()

    def send(self, command: str, **content: Any) -> None:
        """Send a command. A worker that has just died does not get it; its end is among the events."""
        line = json.dumps({"command": command, **content}, allow_nan=False).encode() + b"\n"
        with contextlib.suppress(BrokenPipeError):
            self._commands.write(line)
            self._commands.flush()

    def read(self) -> tuple[list[dict[str, Any]], bool]:
        """What has come since the last time, and whether the process is still there."""
        alive = True
        while True:
            try:
                part = os.read(self.fileno(), 65536)
            except BlockingIOError:
                break
            if not part:
                alive = False
                break
            self._received += part
        *lines, self._received = self._received.split(b"\n")
        events = [json.loads(line) for line in lines]
        self.is_ready = self.is_ready or any(event["event"] == "ready" for event in events)
        return events, alive

    def kill(self) -> None:
        """End the process at once; its end is among the next events."""
        self._process.kill()

    def close(self) -> None:
        """Let the process end by itself."""
        with contextlib.suppress(BrokenPipeError):
            self._commands.close()

    def end(self, patience: float = 2.0) -> str:
        """See the process end, whatever it takes, and say in words how it did."""
        self.close()
        try:
            code = self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._events.close()
        return _describe_exit(code)


def _environment(device: Device) -> dict[str, str]:
    """The environment of a worker: modules are found where they are found here, and idle threads sleep."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": str(device.threads),
        # Threads that wait by spinning take the cores of the trials beside them.
        "OMP_WAIT_POLICY": "PASSIVE",
    }


def _describe_exit(code: int) -> str:
    if code >= 0:
        return f"its process ended with exit code {code}"
    name = signal.Signals(-code).name
    hint = ", which is how the system ends processes when memory runs out" if name == "SIGKILL" else ""
    return f"its process was ended by {name}{hint}"
