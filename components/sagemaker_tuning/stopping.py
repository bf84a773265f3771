"""Stopping a job from a signal handler: at once, without a lock, and until it is heard.

A handler interrupts the main thread anywhere, in the middle of a call, too. It therefore only puts a wish into a queue
that is made for that; a thread that waits for it since the launch sends the call.
"""

import queue
import threading
import time

from kfp_image_tuning.components.sagemaker_tuning.calls import Caller, Refusal, Setback

UNBORN_SECONDS = 30.0
"""How long a job that is not there may still be on its way into being."""
PAUSE_SECONDS = 0.2


class Stopper:
    """Stops one job when it is told to.

    Args:
        caller: Makes the call.
        method: The call, such as ``stop_transform_job``.
        **job: The job's name, as the call wants it.

    Attributes:
        wished: Whether the end was wished for.
    """

    def __init__(self, caller: Caller, method: str, **job: str) -> None:
        self._caller, self._method, self._job = caller, method, job
        self._wishes: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._answered = threading.Event()
        self.wished = False
        threading.Thread(target=self._serve, name=method, daemon=True).start()

    def stop(self) -> None:
        """Wish for the end; returns at once."""
        self.wished = True
        self._wishes.put(True)

    def wait(self, seconds: float) -> None:
        """Wait until the service has answered a wish, or for so long."""
        self._answered.wait(seconds)

    def close(self) -> None:
        """Stop nothing any more."""
        self._closed.set()
        self._wishes.put(False)

    def _serve(self) -> None:
        while self._wishes.get():
            self._send()
            self._answered.set()

    def _send(self) -> None:
        began = time.monotonic()
        while not self._closed.is_set():
            try:
                self._caller.sagemaker(self._method, **self._job)
                return
            except Refusal as refusal:
                # A job that has ended already cannot be stopped, which is just as well.
                if not refusal.is_of_missing or time.monotonic() - began > UNBORN_SECONDS:
                    return
            except Setback:
                pass
            time.sleep(PAUSE_SECONDS)
