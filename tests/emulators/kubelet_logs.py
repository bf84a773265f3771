"""The part of a kubelet that hands out the logs of containers, to the API server alone."""

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.emulators.loopback_https import LoopbackServer


def serve_logs(read: Callable[[str, str, str], str], address: str = "127.0.0.1") -> LoopbackServer:
    """Start the server.

    Args:
        read: Gives the log of a container of a pod in a namespace.
        address: Where the API server reaches it.
    """

    class Logs(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            _, _, namespace, pod, container = asked.path.split("/", 4)
            lines = read(namespace, pod, container).splitlines(keepends=True)
            tail = int(parse_qs(asked.query).get("tailLines", ["0"])[0])
            body = "".join(lines[-tail:]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    return LoopbackServer(Logs, address)
