"""A launcher's sign of life beside the models, and a trial's look at it: trials end when nobody wants them any more.

Whoever loses a launcher for good would pay for its trials to their end. Clocks of different machines may differ, so a
trial goes by what it sees change, on its own clock. The time in the file counts only for a trial that starts long after
the last sign: it need not wait so long again.
"""

import json
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from kfp_image_tuning.core.errors import ImageTuningError

if TYPE_CHECKING:
    from kfp_image_tuning.engines.katib.session.model_store import ModelStore

FILE_NAME = "heartbeat.json"
BEAT_SECONDS = 60.0
BEATS_PER_TIMEOUT = 10
"""More often where the timeout is short."""
LATE_START_BEATS = 3
"""Beats without which a trial ends that starts when the last one is older than the timeout."""
FIRST_BEAT_SECONDS = 10.0
"""Time for the first one, before trials are started."""


def beat_seconds(orphan_seconds: float) -> float:
    """Seconds between two signs of life."""
    return min(BEAT_SECONDS, orphan_seconds / BEATS_PER_TIMEOUT)


class Heartbeat:
    """The launcher's side.

    Args:
        store: Of the models; where it cannot be seen, nothing is written, and trials go on to their end.
        folder: The search's folder there, a URI.
        orphan_seconds: After so long without a sign trials end; 0: they never do.
    """

    def __init__(self, store: "ModelStore", folder: str, orphan_seconds: float) -> None:
        self._store, self._folder = store, folder
        self._orphan_seconds = orphan_seconds
        self._thread: threading.Thread | None = None
        self._has_tried, self._over = threading.Event(), threading.Event()
        self._problem = ""

    def start(self) -> None:
        """Give a sign now, and from now on, in a thread: a store that hangs must not keep a signal from being heard."""
        if not self._orphan_seconds or not self._store.is_seen:
            return
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()
        self._has_tried.wait(FIRST_BEAT_SECONDS)

    def take_problem(self) -> str:
        """Why the last sign could not be given; told once until another could."""
        problem, self._problem = self._problem, ""
        return problem

    def end(self, *, is_over: bool = False) -> None:
        """Give no more signs.

        Args:
            is_over: Whether the search is: what somebody makes of its Experiments later does not wait for a launcher.
        """
        self._over.set()
        if is_over and self._thread is not None:
            self._thread.join(FIRST_BEAT_SECONDS)
            self._write(is_over=True)

    def _beat(self) -> None:
        failed = False
        while not self._over.is_set():
            problem = self._write(is_over=False)
            if problem and not failed:
                self._problem = (
                    f"this launcher's sign of life cannot be written ({problem}); trials that have seen one before end "
                    f"{self._orphan_seconds / 60:g} minutes after it (--orphan-timeout)"
                )
            failed = bool(problem)
            self._has_tried.set()
            self._over.wait(beat_seconds(self._orphan_seconds))

    def _write(self, *, is_over: bool) -> str:
        try:
            self._store.write(self._folder, FILE_NAME, {"written_at": time.time(), "is_over": is_over})
        except (ImageTuningError, OSError) as error:
            return str(error)
        return ""


class OrphanWatch:
    """The trial's side.

    Args:
        read: Gives the file's content; None: there is none.
        orphan_seconds: After so long without a sign the trial ends.
        end: Called once, with the seconds without a sign.
    """

    def __init__(self, read: Callable[[], bytes | None], orphan_seconds: float, end: Callable[[float], None]) -> None:
        self._read, self._end = read, end
        self._orphan_seconds = orphan_seconds
        self._last: bytes | None = None
        self._changed_at = 0.0
        self._age = 0.0

    def start(self) -> None:
        """Look every now and then, in a thread."""
        threading.Thread(target=self._watch, daemon=True).start()

    def silence(self, now: float, wall_clock: float) -> float:
        """Look once; for how long there has been no sign if that is too long, or 0.

        Without a file, or a store that answers, nothing is known of the launcher: that is not silence.

        Args:
            now: By a clock that never jumps.
            wall_clock: Unix time.
        """
        try:
            content = self._read()
            beat = json.loads(content) if content else {"is_over": True}
            is_over, written_at = bool(beat["is_over"]), float(beat.get("written_at", wall_clock))
        except (ImageTuningError, OSError, ValueError, KeyError, TypeError):
            content, is_over, written_at = None, True, wall_clock
        if content != self._last or is_over:
            self._last, self._changed_at, self._age = content, now, wall_clock - written_at
        silent = now - self._changed_at
        if silent > self._orphan_seconds:
            return silent
        started_late = self._age > self._orphan_seconds
        return (
            self._age + silent
            if started_late and silent > LATE_START_BEATS * beat_seconds(self._orphan_seconds)
            else 0.0
        )

    def _watch(self) -> None:
        while not (silent := self.silence(time.monotonic(), time.time())):
            time.sleep(beat_seconds(self._orphan_seconds))
        self._end(silent)
