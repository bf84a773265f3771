"""SIGTERM and SIGINT as a wish to stop what runs elsewhere, instead of as the end of this process."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_on_signals(stop: Callable[[], None]) -> Iterator[Callable[[], str]]:
    """Call ``stop`` first thing on SIGTERM and SIGINT; yields a function that names the signal received, or ``""``.

    A second SIGINT interrupts at once. Outside the main thread Python cannot set handlers, and none are set.
    """
    received: list[str] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        stop()
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(signal.Signals(number).name)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: ""
        return
    previous = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: received[0] if received else ""
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
