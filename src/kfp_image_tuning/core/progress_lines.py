"""How far a long step is: a line that changes where there is a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable

from kfp_image_tuning.core.console import Status, has_bar, show_status
from kfp_image_tuning.core.wording import duration

FIRST_LINE_SECONDS = 2.0
EVERY_SECONDS = 5.0
FIRST_STATUS_SECONDS = 0.5
EVERY_STATUS_SECONDS = 0.1


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
        self._has_bar = has_bar()
        self._next = self._start + (FIRST_STATUS_SECONDS if self._has_bar else FIRST_LINE_SECONDS)

    def add(self, count: int) -> None:
        """Count what has been done; says so every few seconds."""
        self._done += count
        now = time.monotonic()
        if self._has_bar:
            self._show_status(now)
            return
        if now < self._next and (self._done < self._total or now - self._start < FIRST_LINE_SECONDS):
            return
        self._next = now + EVERY_SECONDS
        seconds = max(now - self._start, 1e-9)
        rate = self._done / seconds
        outlook = f"{self._left(seconds)} left" if self._done < self._total else f"in {duration(round(seconds))}"
        self._say(f"{self._text()}, {rate:,.0f} a second, {outlook}")

    def _show_status(self, now: float) -> None:
        if self._done >= self._total:
            show_status(None)
        elif now >= self._next:
            self._next = now + EVERY_STATUS_SECONDS
            show_status(Status(self._done / self._total, self._text(), f"{self._left(now - self._start)} left"))

    def _text(self) -> str:
        return f"{self._verb} {self._done:,} of {self._total:,} {self._noun}"

    def _left(self, seconds: float) -> str:
        return duration(round((self._total - self._done) * seconds / self._done)) if self._done else "?"
