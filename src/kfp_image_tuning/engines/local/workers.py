"""The search's side of its worker processes: start, orders, news, end."""

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
from kfp_image_tuning.engines.local.places import Place

PROGRAM = "kfp_image_tuning.engines.local.worker"
LOG_NAME = "workers.log"
STARTS = 3
"""Workers that may end one after another before one is ready."""
LONGEST_TAIL = 2000
"""Characters of the log that an error message shows."""


@dataclass(frozen=True)
class News:
    """What came from one worker.

    Attributes:
        worker: From which.
        messages: In order.
        exit: How its process ended, in words; None while it is there.
    """

    worker: "Worker"
    messages: list[dict[str, Any]]
    exit: str | None = None


class WorkerPool:
    """As many workers as there are places; one that ends is replaced.

    Args:
        places: Where they train.
        setup: Their first order: which images to open.
        directory: Gets a log of what they write outside of trials.
    """

    def __init__(self, places: Sequence[Place], setup: Mapping[str, Any], directory: Path) -> None:
        self._setup = setup
        self._log = directory / LOG_NAME
        self._failed_starts = 0
        self._workers = [self._start(place) for place in places]

    def ready(self) -> list["Worker"]:
        """The workers that can take or have a trial."""
        return [worker for worker in self._workers if worker.is_ready]

    def wait(self, seconds: float) -> list[News]:
        """Wait for news, so long at most. A worker that ended has been replaced when this returns.

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

    def _start(self, place: Place) -> "Worker":
        return Worker(place, self._setup, self._log)

    def _read(self, worker: "Worker") -> News:
        messages, alive = worker.read()
        if alive:
            self._failed_starts = 0 if worker.is_ready else self._failed_starts
            return News(worker, messages)
        exit_in_words = worker.end()
        if not worker.is_ready:
            self._failed_starts += 1
        if self._failed_starts >= STARTS:
            tail = self._log.read_text(errors="replace")[-LONGEST_TAIL:].strip()
            raise EngineError(f"the worker processes do not start: {exit_in_words}. The end of {self._log}:\n{tail}")
        self._workers[self._workers.index(worker)] = self._start(worker.place)
        return News(worker, messages, exit_in_words)


class Worker:
    """One worker process.

    Attributes:
        place: Where it trains.
        is_ready: Whether it has said that it can take a trial.

    Args:
        place: Where it trains.
        setup: Its first order.
        log: Gets what it writes outside of trials.
    """

    def __init__(self, place: Place, setup: Mapping[str, Any], log: Path) -> None:
        self.place = place
        self.is_ready = False
        self._received = b""
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                env=_environment(place),
                # A signal to the terminal's or the scheduler's process group is the search's to answer.
                start_new_session=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._orders, self._news = self._process.stdin, self._process.stdout
        os.set_blocking(self._news.fileno(), False)
        self.order("open", **setup, device=place.device, threads=place.threads)

    def fileno(self) -> int:
        """What to wait on for news."""
        return self._news.fileno()

    def order(self, order: str, **content: Any) -> None:
        """Send an order. A worker that has just died does not get it; its end is among the news."""
        line = json.dumps({"order": order, **content}, allow_nan=False).encode() + b"\n"
        with contextlib.suppress(BrokenPipeError):
            self._orders.write(line)
            self._orders.flush()

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
        messages = [json.loads(line) for line in lines]
        self.is_ready = self.is_ready or any(message["event"] == "ready" for message in messages)
        return messages, alive

    def kill(self) -> None:
        """End the process at once; its end is among the next news."""
        self._process.kill()

    def close(self) -> None:
        """Let the process end by itself."""
        with contextlib.suppress(BrokenPipeError):
            self._orders.close()

    def end(self, patience: float = 2.0) -> str:
        """See the process end, whatever it takes, and say in words how it did."""
        self.close()
        try:
            code = self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._news.close()
        return _describe_exit(code)


def _environment(place: Place) -> dict[str, str]:
    """The environment of a worker: modules are found where they are found here, and idle threads sleep."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": str(place.threads),
        # Threads that wait by spinning take the cores of the trials beside them.
        "OMP_WAIT_POLICY": "PASSIVE",
    }


def _describe_exit(code: int) -> str:
    if code >= 0:
        return f"its process ended with exit code {code}"
    name = signal.Signals(-code).name
    hint = ", which is how the system ends processes when memory runs out" if name == "SIGKILL" else ""
    return f"its process was ended by {name}{hint}"
