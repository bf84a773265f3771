"""A trial's look at its launcher's sign of life, beside the models: trials end when nobody wants them any more.

Whoever loses a launcher for good would pay for its trials to their end. Clocks of different machines may differ, so a
trial goes by what it sees change, on its own clock. The time in the file counts only for a trial that starts long after
the last sign: it need not wait so long again.
"""

import json
import threading
import time
from collections.abc import Callable

from kfp_image_tuning.core.errors import ImageTuningError

FILE_NAME = "heartbeat.json"
BEAT_SECONDS = 60.0
BEATS_PER_TIMEOUT = 10
"""More often where the timeout is short."""
LATE_START_BEATS = 3
"""Beats without which a trial ends that starts when the last one is older than the timeout."""


def beat_seconds(orphan_timeout_seconds: float) -> float:
    """Seconds between two signs of life."""
    return min(BEAT_SECONDS, orphan_timeout_seconds / BEATS_PER_TIMEOUT)


class OrphanWatch:
    """Looks for the sign every now and then.

    Args:
        read: Gives the file's content; None: there is none.
        orphan_timeout_seconds: After so long without a sign the trial ends.
        end: Called once, with the seconds without a sign.
    """

    def __init__(
        self, read: Callable[[], bytes | None], orphan_timeout_seconds: float, end: Callable[[float], None]
    ) -> None:
        self._read, self._end = read, end
        self._orphan_seconds = orphan_timeout_seconds
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
