"""A function over batches on all cores: results in order, few batches in flight, no worker left behind."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait
from types import TracebackType
from typing import Self, TypeVar

from kfp_image_tuning.core.errors import DatasetError

Batch = TypeVar("Batch")
Result = TypeVar("Result")

IN_FLIGHT_PER_WORKER = 3


_GUARD = (
    'in a script, call this below `if __name__ == "__main__":`, because each worker process imports the script again; '
    "or use workers=1"
)


def refuse_in_starting_worker() -> None:
    """Refuse a preparation that a worker is about to start because it imports the script that has started it.

    Raises:
        DatasetError: If this process is such a worker.
    """
    # Python's own mark, by which it refuses to start further processes here.
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise DatasetError(f"a worker process has come to prepare the images itself: {_GUARD}")


class Workers:
    """Worker processes for pure functions of one argument; with one worker, this process itself.

    Args:
        count: Number of processes.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool: ProcessPoolExecutor | None = None
        self._has_worked = False

    def map(self, function: Callable[[Batch], Result], batches: Iterable[Batch]) -> Iterator[Result]:
        """Results in the order of the batches.

        Raises:
            DatasetError: If a worker was killed.
        """
        if self._pool is None:
            yield from map(function, batches)
            return
        waiting: deque[Future[Result]] = deque()
        try:
            for batch in batches:
                with _interrupts_held_back():
                    waiting.append(self._pool.submit(function, batch))
                if len(waiting) >= IN_FLIGHT_PER_WORKER * self.count:
                    yield self._wait_for(waiting.popleft())
            while waiting:
                yield self._wait_for(waiting.popleft())
        except BrokenProcessPool:
            raise DatasetError(self._explain_end()) from None
        finally:
            for future in waiting:
                future.cancel()

    def _wait_for(self, future: Future[Result]) -> Result:
        result = future.result()
        self._has_worked = True
        return result

    def _explain_end(self) -> str:
        if self._has_worked:
            return (
                "a worker process was killed while it prepared images, most likely for want of memory; use fewer than "
                f"{self.count} workers or more memory"
            )
        return f"a worker process ended before it had prepared an image: {_GUARD}; or there was no memory for it"

    def __enter__(self) -> Self:
        if self.count > 1:
            # A fork would copy the locks of other threads (downloads, OpenMP) in whatever state they are.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.count, context, initializer=_end_with_parent)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Let processes that start within never see Ctrl-C, which all of a terminal get: their parent ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    """A killed parent cannot stop its workers, so they watch it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        sentinel = parent.sentinel

        def watch() -> None:
            wait([sentinel])
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()
