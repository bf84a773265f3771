"""A proxy in front of a real API server that fails on demand: what busy and restarting API servers do to a client.

Everything else goes through untouched, watches as they come.
"""

import http.client
import json
import re
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Literal
from urllib.parse import urlsplit

from tests.emulators.loopback_https import LoopbackServer

FaultKind = Literal["status", "hold", "hold_answer", "reset", "lost_answer", "expired"]
CHUNK = 65536


@dataclass
class Fault:
    """One fault, some times over.

    Attributes:
        kind: ``status``: an answer with this status; ``hold``: the request waits before it is made; ``hold_answer``:
            its answer waits; ``reset``: the connection ends before the request is made; ``lost_answer``: after it was
            made; ``expired``: a watch tells that its place in history is gone (410).
        request: Pattern of ``METHOD /path?query``.
        times: How often.
        after: How many such requests pass before.
        status: The answer's.
        reached: Set when the fault has happened.
        release: Set it to let continue what waits.
    """

    kind: FaultKind
    request: str
    times: int = 1
    after: int = 0
    status: int = 503
    reached: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)


class ApiServerProxy:
    """The proxy.

    Args:
        server: URL of the API server.

    Attributes:
        server: URL of the proxy.
        certificate: Its certificate, in PEM form.
        requests: What was asked, as ``METHOD /path?query``.
    """

    def __init__(self, server: str) -> None:
        self._target = urlsplit(server)
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self.requests: list[str] = []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except (OSError, http.client.HTTPException):
                    self.close_connection = True

            def serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                proxy.serve(self, body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = serve  # noqa: N815  # the names that http.server wants

        self._server = LoopbackServer(Handler)
        self.certificate = self._server.certificate
        self.server = f"https://127.0.0.1:{self._server.port}"

    def add(self, kind: FaultKind, request: str, *, times: int = 1, after: int = 0, status: int = 503) -> Fault:
        """Plan a fault."""
        fault = Fault(kind, request, times, after, status)
        with self._lock:
            self._faults.append(fault)
        return fault

    def close(self) -> None:
        self._closed.set()
        self._server.close()

    def serve(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        """Answer one request."""
        request = f"{handler.command} {handler.path}"
        fault = self._draw(request)
        self.requests.append(request)
        if fault is None:
            self._forward(handler, body)
        elif fault.kind == "status":
            _answer(handler, fault.status, _status_body(fault.status))
        elif fault.kind == "expired":
            event = {"type": "ERROR", "object": json.loads(_status_body(410))}
            _answer(handler, 200, json.dumps(event).encode() + b"\n")
        elif fault.kind == "hold" and self._wait_for_release(fault):
            self._forward(handler, body)
        elif fault.kind in ("hold_answer", "lost_answer"):
            self._forward(handler, body, fault)
        else:
            handler.close_connection = True
        if fault is not None:
            fault.reached.set()

    def _wait_for_release(self, fault: Fault) -> bool:
        """Wait until the fault is released; False: the proxy was closed before."""
        fault.reached.set()
        while not fault.release.wait(0.05):
            if self._closed.is_set():
                return False
        return True

    def _draw(self, request: str) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if fault.times and re.search(fault.request, request):
                    if fault.after:
                        fault.after -= 1
                        continue
                    fault.times -= 1
                    return fault
        return None

    def _forward(self, handler: BaseHTTPRequestHandler, body: bytes, fault: Fault | None = None) -> None:
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection(self._target.hostname or "", self._target.port, context=context)
        try:
            headers = {name: value for name, value in handler.headers.items() if name.lower() != "host"}
            connection.request(handler.command, handler.path, body=body or None, headers=headers)
            response = connection.getresponse()
            if fault is not None and (fault.kind == "lost_answer" or not self._wait_for_release(fault)):
                handler.close_connection = True
            else:
                _pass_on(handler, response)
        finally:
            connection.close()


def _pass_on(handler: BaseHTTPRequestHandler, response: http.client.HTTPResponse) -> None:
    handler.send_response(response.status)
    for name, value in response.getheaders():
        if name.lower() not in ("transfer-encoding", "connection", "content-length", "date", "server"):
            handler.send_header(name, value)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    while chunk := response.read1(CHUNK):
        handler.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
        handler.wfile.flush()
    handler.wfile.write(b"0\r\n\r\n")


def _answer(handler: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(body)))
    if status == 429:
        handler.send_header("Retry-After", "1")
    handler.end_headers()
    handler.wfile.write(body)


def _status_body(status: int) -> bytes:
    reasons = {410: "Expired", 429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable"}
    messages = {410: "too old resource version: 1 (2)", 429: "Too many requests, please try again later."}
    document = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status}
    document |= {"reason": reasons[status], "message": messages.get(status, "the server is unable to handle it")}
    return json.dumps(document).encode()
