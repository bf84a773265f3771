"""A launcher's sign of life beside the models, for which its trials look (`pod.orphan_watch`)."""

import threading
import time

from kfp_image_tuning.core.errors import ImageTuningError
from kfp_image_tuning.core.wording import duration
from kfp_image_tuning.engines.katib.pod.orphan_watch import FILE_NAME, beat_seconds
from kfp_image_tuning.engines.katib.session.model_store import ModelStore

FIRST_BEAT_SECONDS = 10.0
"""Time for the first one, before trials are started."""


class Heartbeat:
    """Gives a sign every now and then.

    Args:
        store: Of the models; where it cannot be seen, nothing is written, and trials go on to their end.
        folder: The search's folder there, a URI.
        orphan_timeout_seconds: After so long without a sign trials end; 0: they never do.
    """

    def __init__(self, store: ModelStore, folder: str, orphan_timeout_seconds: float) -> None:
        self._store, self._folder = store, folder
        self._orphan_seconds = orphan_timeout_seconds
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
                    f"{duration(self._orphan_seconds)} after it (--orphan-timeout)"
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
