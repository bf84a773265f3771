"""What stops a search elsewhere, ready to be sent by a small process of its own: the stop guard.

When Kubeflow terminates a run, a step has between nothing and two seconds: its process group gets SIGTERM, whoever
reads its output dies at once, and the whole container is gone. A signal handler of Python waits for the end of whatever
call the main thread is in. The guard waits for nothing: it has a connection open and the request ready made, stands in
a session of its own, which the signal does not reach, and hears of it from the interpreter before any handler runs. It
sends only what somebody has asked for: a process that is killed leaves everything to the one that follows it.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from kfp_image_tuning.core import stop_program

RENEWAL_SECONDS = 60.0
"""Signatures and tokens in a request get old: AWS takes one for five minutes."""
END_PATIENCE = 2.0
"""Seconds that the guard has to end."""
LOOK_SECONDS = 0.05


@dataclass(frozen=True, kw_only=True)
class StopRequest:
    """One HTTP request that stops something, with the credentials for it.

    Attributes:
        method: Of HTTP.
        url: Where it goes.
        headers: With it; also those that say who asks.
        body: With it.
        ca_file: File of the authorities that are trusted; empty: the system's.
        certificate_file: The client's certificate; empty: none.
        key_file: Its key.
        verify: Whether the server must prove who it is.
        server_name: Name that its certificate must have; empty: the host's.
        proxy: URL of an HTTP proxy; empty: none.
        proxy_headers: For the proxy.
        passing: Words in a refusal after which the same request may work.
        again: Whether what it stops may still be in the making, so that it is sent again after it has worked.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    verify: bool = True
    server_name: str = ""
    proxy: str = ""
    proxy_headers: Mapping[str, str] = field(default_factory=dict)
    passing: Sequence[str] = ()
    again: bool = False


class StopGuard:
    """The guard of one thing that runs elsewhere. Its methods are the main thread's; `stop` may be a handler's.

    Args:
        prepare: Makes the request, with credentials that count now. It may take as long as any call does.

    Attributes:
        asked: Whether a stop was asked for by `stop`.
    """

    def __init__(self, prepare: Callable[[], StopRequest]) -> None:
        self._prepare = prepare
        self._request: StopRequest | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._reading = self._signals = -1
        self._release: weakref.finalize[..., StopGuard] | None = None
        self._next_renewal = 0.0
        self._heard = False
        self.asked = False

    def start(self) -> None:
        """Be ready from now on."""
        self._request = self._prepare()
        self._next_renewal = time.monotonic() + RENEWAL_SECONDS
        self._spawn()

    def renew(self, *, at_once: bool = False) -> None:
        """Make the request again when it gets old; call it every few seconds."""
        if self._request is None or (time.monotonic() < self._next_renewal and not at_once):
            return
        self._request = self._prepare()
        self._next_renewal = time.monotonic() + RENEWAL_SECONDS
        if self._process is not None and self._process.poll() is None:
            self._hand_over()
        else:
            self._end()
            self._spawn()

    def stop(self) -> None:
        """Have the request sent; returns at once."""
        self.asked = True
        if self._process is not None and self._process.poll() is None:
            os.write(self._signals, stop_program.ASKED)
        elif self._request is not None:
            letter = asdict(self._request)
            threading.Thread(target=stop_program.send_until_heard, args=(letter,), daemon=True).start()

    def disarm(self) -> None:
        """Nothing is left that could be stopped."""
        if self._request is not None:
            self._request = None
            self._hand_over()

    def wait(self, seconds: float) -> bool:
        """Wait until the request has done its work, or for so long; returns whether it has."""
        deadline = time.monotonic() + seconds
        while not self._has_heard() and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
        return self._heard

    def close(self) -> None:
        """Guard nothing any more, whatever was asked for."""
        self.disarm()
        self._end()

    def _has_heard(self) -> bool:
        if self._process is not None and self._process.stdout is not None:
            with contextlib.suppress(OSError, ValueError):
                self._heard = self._heard or stop_program.HEARD in (os.read(self._process.stdout.fileno(), 4096) or b"")
        return self._heard

    def _spawn(self) -> None:
        """Start the process, and have the interpreter tell it of signals."""
        # This process keeps the reading end as well: when a signal comes after the guard has died, the interpreter
        # would complain of a pipe without a reader.
        self._reading, self._signals = os.pipe()
        os.set_blocking(self._signals, False)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(Path(stop_program.__file__)), str(self._reading)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=[self._reading],
                start_new_session=True,
            )
        except OSError:
            # Without a guard, a thread sends the request.
            self._process = None
            self._close_pipe()
            return
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self._hand_over()
        if threading.current_thread() is threading.main_thread():
            earlier = signal.set_wakeup_fd(self._signals, warn_on_full_buffer=False)
            # Also for an engine that an error ends: the interpreter must not continue writing to a guard that is gone.
            self._release = weakref.finalize(self, _listen_no_more, earlier)

    def _hand_over(self) -> None:
        if self._process is None or self._process.stdin is None:
            return
        letter = None if self._request is None else asdict(self._request)
        # A guard that has gone is noticed, and replaced, when the request is renewed.
        with contextlib.suppress(BrokenPipeError, ValueError):
            self._process.stdin.write(json.dumps(letter).encode() + b"\n")
            self._process.stdin.flush()

    def _end(self) -> None:
        if self._release is not None:
            self._release()
            self._release = None
        self._close_pipe()
        process, self._process = self._process, None
        if process is None:
            return
        for stream in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()
        try:
            process.wait(END_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _close_pipe(self) -> None:
        for end in (self._reading, self._signals):
            if end >= 0:
                os.close(end)
        self._reading = self._signals = -1


def _listen_no_more(earlier: int) -> None:
    """Have the interpreter tell whom it told before of signals; another thread cannot, and need not."""
    with contextlib.suppress(ValueError, OSError):
        signal.set_wakeup_fd(earlier)
