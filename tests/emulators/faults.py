"""Faults on demand: what a cloud does to a client that follows a job for days."""

import fnmatch
import random
import threading
from dataclasses import dataclass
from typing import Literal

FaultKind = Literal[
    "throttling", "internal", "unavailable", "reset", "lost_response", "expired_token", "denied", "limit"
]
"""``reset``: the connection ends before the call is made; ``lost_response``: after it was made."""

ERRORS: dict[str, tuple[int, str, str]] = {
    "throttling": (400, "ThrottlingException", "Rate exceeded"),
    "internal": (500, "InternalFailure", "The request processing has failed because of an unknown error."),
    "unavailable": (503, "ServiceUnavailableException", "The service is unavailable."),
    "expired_token": (400, "ExpiredTokenException", "The security token included in the request is expired"),
    "denied": (400, "AccessDeniedException", "User: arn:aws:sts::123456789012:assumed-role/pod is not authorized"),
    "limit": (
        400,
        "ResourceLimitExceeded",
        "The account-level service limit 'ml.g4dn.xlarge for training job usage' is 0 Instances",
    ),
}


@dataclass
class Fault:
    """One fault, some times over.

    Attributes:
        kind: What happens.
        operations: Which calls it hits, such as ``Describe*``.
        times: How often.
        after: How many calls pass before the first.
    """

    kind: FaultKind
    operations: str = "*"
    times: int = 1
    after: int = 0


class Faults:
    """The faults that are still to come; safe to change while the server runs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._planned: list[Fault] = []
        self._random: random.Random | None = None
        self._rate = 0.0
        self._left = 0
        self._kinds: tuple[FaultKind, ...] = ()
        self.injected: list[tuple[str, FaultKind]] = []

    def add(self, kind: FaultKind, operations: str = "*", times: int = 1, after: int = 0) -> None:
        """Plan a fault."""
        with self._lock:
            self._planned.append(Fault(kind, operations, times, after))

    def scatter(self, count: int, kinds: tuple[FaultKind, ...], rate: float = 0.4, seed: int = 0) -> None:
        """Hit calls by chance until ``count`` were hit."""
        with self._lock:
            self._random, self._rate, self._left, self._kinds = random.Random(seed), rate, count, kinds

    def draw(self, operation: str) -> FaultKind | None:
        """What happens to this call, if anything."""
        with self._lock:
            kind = self._draw(operation)
            if kind:
                self.injected.append((operation, kind))
            return kind

    def _draw(self, operation: str) -> FaultKind | None:
        for fault in self._planned:
            if fault.times == 0 or not fnmatch.fnmatch(operation, fault.operations):
                continue
            if fault.after:
                fault.after -= 1
                continue
            fault.times -= 1
            return fault.kind
        if self._random and self._left and self._random.random() < self._rate:
            self._left -= 1
            return self._random.choice(self._kinds)
        return None
