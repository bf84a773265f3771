"""The engine protocol: what every engine does, and what it says while a search runs.

    engine.plan(search) ──▶ Plan ──▶ engine.start(plan) ──▶ Session: events(), stop(), result()

An engine is made of its options: where the prepared data set is, what runs the trials, where models go. Everything that
does not differ between engines is in `run`.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

from kfp_image_tuning.search.result import Trial
from kfp_image_tuning.search.search import Search


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an engine will do, made offline; the same search and options always give the same plan.

    Attributes:
        engine: The engine's name.
        search: What is searched.
        request: The engine's own request in JSON form: what is sent, applied or run.
        summary: The plan in lines for a reader, with the most that it can cost.
        warnings: What the user should know before spending.
        parallel_trials: Trials at a time.
    """

    engine: str
    search: Search
    request: Mapping[str, Any]
    parallel_trials: int = 1
    summary: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Attached:
    """What a search had already done when this process attached to it.

    Attributes:
        trials: Its trials so far, in the order of their start; empty for a new search.
        seconds: Wall time that earlier processes have used.
        started_at: When the search first started, Unix time.
    """

    trials: tuple[Trial, ...] = ()
    seconds: float = 0.0
    started_at: float = field(default_factory=time.time)


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that happened.

    Attributes:
        kind: ``attached`` (the first one: the search is launched, or was found running), ``started``, ``progress`` (an
            epoch or a part of one), ``finished``, or ``waiting`` (nothing new; sent at least every few seconds, so that
            time limits act and the reader sees life).
        trial: The trial as it is now. With ``waiting`` there is none, or one that has changed in a way worth no line,
            such as having lost its model to make room.
        note: What a reader should know, such as why nothing moves.
        attached: With ``attached``, what the search had done before.
    """

    kind: Literal["attached", "started", "progress", "finished", "waiting"]
    trial: Trial | None = None
    note: str = ""
    attached: Attached = field(default_factory=Attached)


class Session(Protocol):
    """One search on its way: from its launch to what remains of it."""

    def events(self) -> Iterator[Event]:
        """Launch the search, or attach to the one that an earlier process of the same run has launched, and follow it.

        Yields:
            First ``attached``, then what happens until every trial has ended; a note with the last event says why there
            are no more.

        Raises:
            EngineError: If it cannot be launched or followed, or a different search is in its place. What a refused
                search finds stays as it is.
        """
        ...

    def stop(self) -> None:
        """End the search: no new trials; running ones keep what they have reached.

        May be called at any time, also from a signal handler while `events` is being iterated or has not begun: it
        returns at once, and `events` ends by itself after the last ones.
        """
        ...

    def result(self) -> Mapping[str, Any]:
        """Bring in what remains, such as the best model; returns what only this engine knows (``engine_details``)."""
        ...


EnginePlan = TypeVar("EnginePlan", bound=Plan)


class Engine(Protocol[EnginePlan]):
    """Where trials run. It keeps nothing between its two calls: a plan has everything that its session needs."""

    def plan(self, search: Search) -> EnginePlan:
        """Translate the search into the engine's request and check it; touches neither network nor disk.

        Raises:
            SearchSpaceError: If the engine cannot search this space.
            BudgetError: If it cannot keep this budget.
            EngineError: With everything else that would be refused.
        """
        ...

    def start(self, plan: EnginePlan) -> Session:
        """The session of a plan. It launches when its events are read, so that a signal always finds it to stop."""
        ...
