"""The program of the stop guard: waits, and sends one HTTP request when a stop is asked for. `stop_guard` starts it.

It is run by its path and imports the standard library alone, so that it is there within a few hundredths of a second
and needs a few megabytes. Orders come on standard input, one a line: a `stop_guard.StopRequest` in JSON, or null for
nothing to stop. What it was told to stop is asked for by a byte on a second pipe, into which the interpreter of the
process that it guards writes the number of a signal before any handler runs. When that process ends without such a
byte, nobody has asked for a stop, and this program ends without a word.
"""

import http.client
import json
import os
import selectors
import signal
import socket
import ssl
import sys
import time
from typing import Any
from urllib.parse import urlsplit

ASKED = b"!"
"""What the guarded process writes itself when a stop is to be sent without a signal."""
HEARD, UNHEARD = b"1", b"0"
"""What is reported for each request: that it has done its work, or has to be repeated."""
TIMEOUT = 3.0
"""Seconds for a connection, and for an answer."""
FIRST_PAUSE, LONGEST_PAUSE, GROWTH = 0.2, 5.0, 1.5
"""Seconds between two tries."""
REOPEN_SECONDS = 5.0
"""Between two attempts to have a connection ready."""
ALONE_SECONDS = 10.0
"""So long the request is repeated after the guarded process has gone; whoever starts it again is not to be hit."""


class Wire:
    """A connection that is open before it is needed."""

    def __init__(self) -> None:
        self._target: tuple[Any, ...] = ()
        self._connection: http.client.HTTPConnection | None = None
        self._next_opening = 0.0

    def open(self, letter: dict[str, Any]) -> None:
        """Be connected; failures pass without a word, since the request itself is tried again."""
        names = ("url", "ca_file", "certificate_file", "key_file", "verify", "server_name", "proxy")
        target = tuple(letter[name] for name in names)
        if target != self._target:
            self.close()
            self._target, self._next_opening = target, 0.0
        if self._connection is None and time.monotonic() >= self._next_opening:
            self._next_opening = time.monotonic() + REOPEN_SECONDS
            try:
                self._connection = _connect(letter)
            except (OSError, http.client.HTTPException, ValueError):
                return

    def fileno(self) -> int | None:
        """What becomes readable when the server closes the connection."""
        if self._connection is None or self._connection.sock is None:
            return None
        return int(self._connection.sock.fileno())

    def close(self) -> None:
        """Let the connection go."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def send(self, letter: dict[str, Any]) -> bool:
        """Send the request, a second time on a new connection if the open one is of no use any more.

        Returns:
            Whether nothing is gained by sending it again.
        """
        if self._connection is not None:
            try:
                return self._ask(self._connection, letter)
            except (OSError, http.client.HTTPException):
                self.close()
        try:
            self._connection = _connect(letter)
            return self._ask(self._connection, letter)
        except (OSError, http.client.HTTPException, ValueError):
            self.close()
            return False

    def _ask(self, connection: http.client.HTTPConnection, letter: dict[str, Any]) -> bool:
        address = urlsplit(letter["url"])
        path = f"{address.path or '/'}?{address.query}" if address.query else address.path or "/"
        connection.request(letter["method"], path, body=letter["body"].encode() or None, headers=letter["headers"])
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", errors="replace").lower()
        if answer.status < 300:
            return True
        passes = answer.status >= 500 or answer.status == 429
        return not passes and not any(words.lower() in text for words in letter["passing"])


def send_until_heard(letter: dict[str, Any]) -> None:
    """Send a request until it has done its work: for a process that has no guard."""
    wire, pause = Wire(), FIRST_PAUSE
    deadline = time.monotonic() + ALONE_SECONDS
    while not wire.send(letter) and time.monotonic() < deadline:
        time.sleep(pause)
        pause *= GROWTH
    wire.close()


class Guard:
    """What the program does.

    Args:
        orders: File descriptor of the requests.
        signals: File descriptor of the bytes that ask for a stop.
        news: File descriptor for reports.
    """

    def __init__(self, orders: int, signals: int, news: int) -> None:
        self._orders, self._signals, self._news = orders, signals, news
        for descriptor in (orders, signals, news):
            os.set_blocking(descriptor, False)
        self._wire = Wire()
        self._received = b""
        self._letter: dict[str, Any] | None = None
        self._asked = self._alone = False
        self._alone_until = self._next_try = 0.0
        self._pause = FIRST_PAUSE

    def run(self) -> None:
        """Wait, send, end."""
        while True:
            self._listen()
            if self._alone and (not self._asked or self._letter is None or time.monotonic() > self._alone_until):
                return
            if self._letter is None:
                continue
            if not self._asked:
                self._wire.open(self._letter)
            elif time.monotonic() >= self._next_try:
                self._act(self._letter)

    def _act(self, letter: dict[str, Any]) -> None:
        heard = self._wire.send(letter)
        self._report(HEARD if heard else UNHEARD)
        if heard and not letter["again"]:
            self._letter = None
            return
        self._next_try = time.monotonic() + self._pause
        self._pause = min(LONGEST_PAUSE, self._pause * GROWTH)

    def _listen(self) -> None:
        """Wait until something is to be done."""
        with selectors.DefaultSelector() as selector:
            if not self._alone:
                selector.register(self._orders, selectors.EVENT_READ)
                selector.register(self._signals, selectors.EVENT_READ)
            idle = self._wire.fileno()
            if idle is not None:
                selector.register(idle, selectors.EVENT_READ)
            ready = {key.fd for key, _ in selector.select(self._patience())}
        if idle in ready:
            # A server says nothing of its own accord, except that it has closed.
            self._wire.close()
        if self._alone:
            return
        self._alone = not self._read_orders()
        # After the orders: what was asked for before the end must not be missed.
        if signs := _read(self._signals):
            self._asked = self._asked or any(sign in signs for sign in _SIGNS)
        if self._alone:
            self._alone_until = time.monotonic() + ALONE_SECONDS

    def _patience(self) -> float | None:
        if self._letter is None:
            return 0.0 if self._alone else None
        if self._asked:
            return max(0.0, self._next_try - time.monotonic())
        return REOPEN_SECONDS

    def _read_orders(self) -> bool:
        """Take new orders; False when there will be no more."""
        part = _read(self._orders)
        if part is None:
            return True
        *lines, self._received = (self._received + part).split(b"\n")
        for line in lines:
            self._letter = json.loads(line)
        return bool(part)

    def _report(self, word: bytes) -> None:
        try:
            os.write(self._news, word)
        except OSError:
            # Nobody is there to read it, or has read for long.
            return


_SIGNS = (signal.SIGTERM, signal.SIGINT, ord(ASKED))


def _read(descriptor: int) -> bytes | None:
    """What is there; empty at the end, None if there is nothing yet."""
    try:
        return os.read(descriptor, 1 << 20)
    except BlockingIOError:
        return None


class _NamedContext(ssl.SSLContext):
    """Expects another name in the server's certificate than the one that it is called by."""

    expected = ""

    def wrap_socket(self, sock: socket.socket, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        if self.expected:
            options["server_hostname"] = self.expected
        return super().wrap_socket(sock, *arguments, **options)


def _connect(letter: dict[str, Any]) -> http.client.HTTPConnection:
    """Open a connection; the kernel keeps it alive, and finds out when the other end is gone."""
    address = urlsplit(letter["url"])
    host, proxy = address.hostname or "", urlsplit(letter["proxy"])
    connection: http.client.HTTPConnection
    if address.scheme == "https":
        place = (proxy.hostname or "", proxy.port or 3128) if letter["proxy"] else (host, address.port or 443)
        connection = http.client.HTTPSConnection(*place, context=_trust(letter), timeout=TIMEOUT)
        if letter["proxy"]:
            connection.set_tunnel(host, address.port or 443, headers=letter["proxy_headers"])
    else:
        connection = http.client.HTTPConnection(host, address.port or 80, timeout=TIMEOUT)
    connection.connect()
    for level, option, value in (
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, getattr(socket, "TCP_KEEPIDLE", socket.TCP_NODELAY), 20),
        (socket.IPPROTO_TCP, getattr(socket, "TCP_KEEPINTVL", socket.TCP_NODELAY), 5),
    ):
        connection.sock.setsockopt(level, option, value)
    return connection


def _trust(letter: dict[str, Any]) -> ssl.SSLContext:
    context = _NamedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.expected = letter["server_name"]
    if not letter["verify"]:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    elif letter["ca_file"]:
        context.load_verify_locations(letter["ca_file"])
    else:
        context.load_default_certs()
    if letter["certificate_file"]:
        context.load_cert_chain(letter["certificate_file"], letter["key_file"] or None)
    return context


def main() -> None:
    """Guard the process that started this one."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    Guard(orders=0, signals=int(sys.argv[1]), news=1).run()


if __name__ == "__main__":
    main()
