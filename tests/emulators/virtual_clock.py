"""A clock that tests can push on, so that tuning jobs of days pass in seconds."""

import threading
import time


class VirtualClock:
    """Starts now and runs as real time does; `skip` moves it on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._skipped = 0.0

    def now(self) -> float:
        """Unix time."""
        with self._lock:
            return time.time() + self._skipped

    def skip(self, seconds: float) -> None:
        """Let time pass."""
        with self._lock:
            self._skipped += seconds
