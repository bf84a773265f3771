"""Stopping a tuning job from a signal handler: at once, without a lock, and until it is heard.

A handler interrupts the main thread anywhere, in the middle of a call, too. It therefore only puts a wish into a queue
that is made for that; a thread that waits for it since the launch sends StopHyperParameterTuningJob.
"""

import queue
import threading
import time

from kfp_image_tuning.components.sagemaker_tuning.calls import Caller, Refusal, Setback

UNBORN_SECONDS = 30.0
"""How long a tuning job that is not there may still be on its way into being."""
PAUSE_SECONDS = 0.2


class Stopper:
    """Stops one tuning job when it is told to.

    Args:
        caller: Makes the call.
        job_name: Of the tuning job.
    """

    def __init__(self, caller: Caller, job_name: str) -> None:
        self._caller, self._job_name = caller, job_name
        self._wishes: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._closed = threading.Event()
        self.wished = False
        threading.Thread(target=self._serve, name="stop-tuning-job", daemon=True).start()

    def stop(self) -> None:
        """Wish for the end; returns at once."""
        self.wished = True
        self._wishes.put(True)

    def close(self) -> None:
        """Stop nothing any more."""
        self._closed.set()
        self._wishes.put(False)

    def _serve(self) -> None:
        while self._wishes.get():
            self._send()

    def _send(self) -> None:
        began = time.monotonic()
        while not self._closed.is_set():
            try:
                self._caller.sagemaker("stop_hyper_parameter_tuning_job", HyperParameterTuningJobName=self._job_name)
                return
            except Refusal as refusal:
                # A job that has ended already cannot be stopped, which is just as well.
                if refusal.code != "ResourceNotFound" or time.monotonic() - began > UNBORN_SECONDS:
                    return
            except Setback:
                pass
            time.sleep(PAUSE_SECONDS)
