"""A line now and then about how far a long step is."""

import time
from collections.abc import Callable

from kfp_image_tuning.core.wording import duration

FIRST_LINE_SECONDS = 2.0
EVERY_SECONDS = 5.0


class Progress:
    """Says how much is done, how fast, and how long it will still take.

    Args:
        say: Takes a line.
        verb: What is being done, as a participle: ``prepared``.
        total: How much there is to do.
        noun: Of what.
    """

    def __init__(self, say: Callable[[str], object], verb: str, total: int, noun: str = "images") -> None:
        self._say = say
        self._verb = verb
        self._total = total
        self._noun = noun
        self._done = 0
        self._start = time.monotonic()
        self._next = self._start + FIRST_LINE_SECONDS

    def add(self, count: int) -> None:
        """Count what has been done; says so every few seconds."""
        self._done += count
        now = time.monotonic()
        if now < self._next and (self._done < self._total or now - self._start < FIRST_LINE_SECONDS):
            return
        self._next = now + EVERY_SECONDS
        seconds = max(now - self._start, 1e-9)
        rate = self._done / seconds
        left = (self._total - self._done) / rate if rate else 0
        outlook = f"{duration(round(left))} left" if self._done < self._total else f"in {duration(seconds)}"
        self._say(f"{self._verb} {self._done:,} of {self._total:,} {self._noun}, {rate:,.0f} a second, {outlook}")
