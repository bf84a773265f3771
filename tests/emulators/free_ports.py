"""Ports of this machine for servers that are told theirs before they start."""

import random
import socket
from contextlib import ExitStack

NEVER_LENT = range(20_000, 32_000)
"""Linux gives none of these to a connection that is made meanwhile, and chance keeps tests that run at once apart."""


def free_ports(count: int) -> list[int]:
    """So many ports that nobody listens on."""
    with ExitStack() as taken:
        ports: list[int] = []
        while len(ports) < count:
            port = random.SystemRandom().choice(NEVER_LENT)
            try:
                taken.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
            ports.append(port)
    return ports
