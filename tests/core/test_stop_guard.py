"""The stop guard, in a process that is signalled, killed and stuck; a server says what arrives, and when."""

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kfp_image_tuning.core.stop_guard import StopGuard, StopRequest

READY = "ready\n"
SOON = 2.0
"""Seconds within which a request has arrived; it takes 0.01 where nothing else runs."""
STUCK = """
import hashlib, signal, sys, time
from kfp_image_tuning.core.signals import stop_on_signals
from kfp_image_tuning.core.stop_guard import StopGuard, StopRequest

request = StopRequest(method="POST", url=sys.argv[1], headers={"X-Ours": "1"}, body="end", passing=("busy",))
guard = StopGuard(lambda: request)
guard.start()
with stop_on_signals(guard.stop):
    print("ready", flush=True)
    # One long call in C: no handler of Python runs before its end.
    hashlib.pbkdf2_hmac("sha256", b"a", b"b", 2_000_000_000)
"""


class Receiver:
    """A server that keeps what it is sent.

    Attributes:
        arrived: When, method, path and body of each request.
        answers: Statuses and texts of the next answers; 200 when there are none.
    """

    def __init__(self) -> None:
        self.arrived: list[tuple[float, str, str]] = []
        self.connections = 0
        self.answers: list[tuple[int, str]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                receiver.connections += 1

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                receiver.arrived.append((time.monotonic(), self.path, body))
                status, text = receiver.answers.pop(0) if receiver.answers else (200, "")
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/stop?all=1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wait(self, count: int, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while len(self.arrived) < count:
            assert time.monotonic() < deadline, self.arrived
            time.sleep(0.01)


def waiting_signals(process: int) -> int:
    """Signals, one a bit, that were sent to a process and that it has not taken yet."""
    status = Path(f"/proc/{process}/status").read_text()
    found = re.findall(r"^(?:SigPnd|ShdPnd):\s*([0-9a-f]+)$", status, re.MULTILINE)
    return int(found[0], 16) | int(found[1], 16)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    running = Receiver()
    yield running
    running.close()


@pytest.fixture
def stuck(receiver: Receiver) -> Iterator["subprocess.Popen[str]"]:
    """A process whose main thread hears no signal, and has a guard."""
    process = subprocess.Popen([sys.executable, "-c", STUCK, receiver.url], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == READY
    deadline = time.monotonic() + 60
    while not receiver.connections:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    yield process
    process.kill()
    process.wait()


def test_the_request_is_sent_though_the_main_thread_hears_nothing(
    receiver: Receiver, stuck: "subprocess.Popen[str]"
) -> None:
    asked = time.monotonic()
    stuck.terminate()
    receiver.wait(1)
    when, path, body = receiver.arrived[0]
    assert when - asked < SOON
    assert (path, body) == ("/stop?all=1", "end")
    assert stuck.poll() is None
    assert receiver.connections == 1, "the connection was open before"


def test_it_is_sent_when_the_process_is_killed_right_after_the_signal(
    receiver: Receiver, stuck: "subprocess.Popen[str]"
) -> None:
    stuck.terminate()
    # Of two signals that wait, the kernel takes the one that kills, and the process never sees the other.
    while waiting_signals(stuck.pid) & 1 << (signal.SIGTERM - 1):
        time.sleep(0.01)
    time.sleep(0.05)
    stuck.kill()
    receiver.wait(1)
    time.sleep(0.5)
    assert len(receiver.arrived) == 1


def test_nothing_is_sent_when_the_process_is_killed_without_a_word(
    receiver: Receiver, stuck: "subprocess.Popen[str]"
) -> None:
    stuck.kill()
    stuck.wait()
    time.sleep(1)
    assert receiver.arrived == []


def test_it_is_sent_until_it_is_heard(receiver: Receiver, stuck: "subprocess.Popen[str]") -> None:
    receiver.answers = [(503, ""), (400, "Busy, try later"), (429, "")]
    stuck.terminate()
    receiver.wait(4)
    time.sleep(1)
    assert len(receiver.arrived) == 4


def test_a_refusal_for_good_is_the_end(receiver: Receiver, stuck: "subprocess.Popen[str]") -> None:
    receiver.answers = [(400, "it has ended")]
    stuck.terminate()
    receiver.wait(1)
    time.sleep(1)
    assert len(receiver.arrived) == 1


def test_what_was_disarmed_sends_nothing(receiver: Receiver) -> None:
    program = STUCK.replace("with stop_on_signals", "guard.disarm()\nwith stop_on_signals")
    process = subprocess.Popen([sys.executable, "-c", program, receiver.url], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == READY
    process.terminate()
    time.sleep(1)
    process.kill()
    process.wait()
    assert receiver.arrived == []


def test_a_guard_that_has_died_is_no_trouble_to_signals_and_a_thread_sends_the_stop(
    receiver: Receiver, capfd: pytest.CaptureFixture[str]
) -> None:
    guard = StopGuard(lambda: StopRequest(method="POST", url=receiver.url, headers={}, body="end", passing=()))
    guard.start()
    assert guard._process is not None
    guard._process.kill()
    guard._process.wait()
    earlier = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        signal.raise_signal(signal.SIGUSR1)
        guard.stop()
        receiver.wait(1)
    finally:
        signal.signal(signal.SIGUSR1, earlier)
        guard.close()
    assert capfd.readouterr().err == ""


def test_a_reader_that_is_gone_breaks_no_line_and_no_exit() -> None:
    program = "import time\nfrom kfp_image_tuning.core.console import say\n"
    program += "say('first')\ntime.sleep(0.5)\nfor n in range(100): say('x' * 1000)\nprint('more')\n"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) == 0
    assert process.stderr.read() == b""
