"""The engine protocol: what every engine does, and what it says while a search runs.

An engine plans, launches or adopts, follows, stops and collects; everything else is the same for all of them (`run`).
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from kfp_image_tuning.search.result import Trial
from kfp_image_tuning.search.search import Search


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an engine will do, made offline; the same search always gives the same plan.

    Attributes:
        engine: The engine's name.
        request: The engine's own request in JSON form: what is sent, applied or run.
        summary: The plan in lines for a reader, with the most that it can cost.
        warnings: What the user should know before spending.
    """

    engine: str
    request: Mapping[str, Any]
    summary: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Adopted:
    """What a search had already done when this process took it up.

    Attributes:
        trials: Its trials so far, in the order of their start; empty for a new search.
        seconds: Wall time that earlier processes have used.
        started_at: When the search first started, Unix time.
    """

    trials: tuple[Trial, ...] = ()
    seconds: float = 0.0
    started_at: float = field(default_factory=time.time)


@dataclass(frozen=True, kw_only=True)
class TrialUpdate:
    """One thing that happened.

    Attributes:
        kind: ``started``, ``progress`` (an epoch or a part of one), ``finished``, or ``waiting`` (nothing new; sent at
            least every few seconds, so that time limits act and the reader sees life).
        trial: The trial as it is now. With ``waiting`` there is none, or one that has changed in a way worth no line,
            such as having lost its model to make room.
        note: What a reader should know, such as why nothing moves.
    """

    kind: Literal["started", "progress", "finished", "waiting"]
    trial: Trial | None = None
    note: str = ""


class Engine(Protocol):
    """Where trials run.

    The verbs are called in the order in which they stand here. ``stop`` may be called from a signal handler while
    ``follow`` is being iterated: it must return at once; ``follow`` then ends by itself after the last updates.
    """

    name: str

    def plan(self, search: Search) -> Plan:
        """Translate the search into the engine's request and check it offline; spends nothing.

        Raises:
            SearchSpaceError: If the engine cannot search this space.
            BudgetError: If it cannot keep this budget.
        """
        ...

    def launch_or_adopt(self, plan: Plan) -> Adopted:
        """Start the search, or take up the one that an earlier process of the same run has started.

        Raises:
            EngineError: If it cannot be started, or a different search is in its place.
        """
        ...

    def follow(self) -> Iterator[TrialUpdate]:
        """Yield updates until every trial has ended; a note with the last one says why there are no more."""
        ...

    def stop(self) -> None:
        """End the search: no new trials; running ones keep what they have reached."""
        ...

    def collect(self) -> Mapping[str, Any]:
        """Bring in what remains, such as the best model; returns what only this engine knows (``engine_details``)."""
        ...
