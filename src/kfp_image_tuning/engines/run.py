"""The loop that follows a search on any engine.

It does what is the same for all of them: progress output, the budget's time limit and completion criteria, signals, and
writing the result as trials finish.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from kfp_image_tuning.core.console import is_verbose, say
from kfp_image_tuning.core.errors import EngineError, ImageTuningError
from kfp_image_tuning.core.signals import stop_on_signals
from kfp_image_tuning.core.wording import count, duration
from kfp_image_tuning.engines.progress import Progress
from kfp_image_tuning.engines.protocol import Engine, EnginePlan, Event, Plan, Session
from kfp_image_tuning.search.result import SearchStatus, TuningResult, find_best_trial


def run_search(
    engine: Engine[EnginePlan],
    plan: EnginePlan,
    result_path: Path,
    *,
    reproduction_command: str = "",
    show: Callable[[str], None] = say,
) -> TuningResult:
    """Run a planned search on an engine, to its result document.

    Args:
        engine: Where trials run.
        plan: The engine's plan of the search.
        result_path: Where ``result.json`` is written, after every finished trial; never before the search is launched.
        reproduction_command: What to type to run the same search again; goes into the result.
        show: Takes one line of progress for the reader.

    Returns:
        The result; its status is ``stopped`` if a signal ended the search.

    Raises:
        EngineError: If not a single trial reached an objective; the result document is written all the same.
        ImageTuningError: Whatever else the engine refuses.
    """
    for line in plan.summary:
        show(line)
    for warning in plan.warnings:
        show(f"Warning: {warning}")
    if is_verbose():
        show(f"Request: {json.dumps(plan.request, default=str)}")
    session = engine.start(plan)
    with stop_on_signals(session.stop) as interrupted:
        events = session.events()
        run = _Run(plan, session, result_path, reproduction_command, next(events))
        try:
            reason = run.follow(events, show)
            details = session.result()
        except ImageTuningError as error:
            run.save("failed", str(error))
            raise
    if interrupted():
        return run.conclude("stopped", f"stopped by {interrupted()}", details, show)
    return run.conclude("completed", reason, details, show)


class _Run:
    """A search on its way: its trials so far, its time, its document."""

    def __init__(
        self, plan: Plan, session: Session, result_path: Path, reproduction_command: str, first: Event
    ) -> None:
        self.plan, self.search, self.session = plan, plan.search, session
        self.result_path, self.reproduction_command = result_path, reproduction_command
        self.attached = first.attached
        self.trials = {trial.name: trial for trial in first.attached.trials}
        self.began = time.monotonic()
        self.next_save = self.began

    @property
    def seconds(self) -> float:
        """Wall time used in all, over restarts."""
        return self.attached.seconds + time.monotonic() - self.began

    def follow(self, events: Iterator[Event], show: Callable[[str], None]) -> str:
        """Follow the session to its end; returns why the search is over."""
        progress = Progress(self.search, self.attached.trials, self.attached.seconds, show, self.plan.parallel_trials)
        stop_reason = last_note = ""
        for event in events:
            last_note = event.note
            if event.trial is not None:
                self.trials[event.trial.name] = event.trial
            progress.show(event)
            if event.kind == "finished":
                self.save_in_passing()
            reason = self.search.budget.reason_to_stop(tuple(self.trials.values()), self.seconds)
            if reason and not stop_reason:
                stop_reason = reason
                self.session.stop()
        progress.end()
        return stop_reason or last_note or "the engine has no more trials to suggest"

    def save_in_passing(self) -> None:
        """Keep what has been reached, but spend no more than about a twentieth of the time on it."""
        started = time.monotonic()
        if started >= self.next_save:
            self.save("running", "")
            self.next_save = time.monotonic() + 20 * (time.monotonic() - started)

    def save(self, status: SearchStatus, reason: str, details: Mapping[str, Any] | None = None) -> TuningResult:
        """Write the result document as it is now."""
        result = TuningResult(
            engine=self.plan.engine,
            status=status,
            stop_reason=reason,
            search=self.search.to_dict(),
            trials=tuple(sorted(self.trials.values(), key=lambda trial: (trial.started_at or 0.0, trial.name))),
            started_at=self.attached.started_at,
            seconds=round(self.seconds, 3),
            reproduction_command=self.reproduction_command,
            engine_details=details or {},
        )
        result.save(self.result_path)
        return result

    def conclude(
        self, status: SearchStatus, reason: str, details: Mapping[str, Any], show: Callable[[str], None]
    ) -> TuningResult:
        """Write the result and say what came of the search.

        Raises:
            EngineError: If no trial left a model.
        """
        failed = [trial for trial in self.trials.values() if trial.status == "failed"]
        if find_best_trial(tuple(self.trials.values())) is None or len(failed) > self.search.budget.failures_tolerated:
            status = "failed"
        result = self.save(status, reason, details)
        best = result.best_trial
        if best is None:
            reasons = sorted({trial.failure_reason or "no reason known" for trial in failed})
            listed = "; ".join(reasons[:3]) or "no trial ended an epoch"
            raise EngineError(
                f"the search ended without a model: {reason}. "
                f"{len(result.trials)} trials, {len(failed)} failed: {listed}. Every trial is listed "
                f"in {self.result_path}"
            )
        show(
            f"Search over: {reason}. Best of {count(len(result.trials), 'trial')}: {best.name} with "
            f"validation:accuracy {best.objective:.4f}, after {duration(result.seconds)}."
        )
        return result
