"""A search on this machine: a strategy suggests, warm worker processes train.

    suggest ──▶ worker 1 ─┐ points and epochs ──▶ journal ──▶ continues? ──▶ worker
            ──▶ worker 2 ─┘ the end           ──▶ journal ──▶ next suggestion

The search's process decides everything and trains nothing. What happens goes to the journal first, so that a search
that is killed continues from there.
"""

import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from kfp_image_tuning.core.errors import EngineError
from kfp_image_tuning.core.wording import short_fingerprint
from kfp_image_tuning.dataset.document import Dataset
from kfp_image_tuning.engines.local.devices import Device
from kfp_image_tuning.engines.local.early_stopping import find_reason_to_stop
from kfp_image_tuning.engines.local.journal import Journal
from kfp_image_tuning.engines.local.suggestion import seed_of, suggest
from kfp_image_tuning.engines.local.trial_files import TrialFiles
from kfp_image_tuning.engines.local.trial_records import Point, Record
from kfp_image_tuning.engines.local.workers import Worker, WorkerEvents, WorkerPool
from kfp_image_tuning.engines.protocol import Attached, Event
from kfp_image_tuning.search.result import Epoch, Trial, TrialStatus, find_best_trial
from kfp_image_tuning.search.search import Search

LONGEST_SILENCE = 0.5
"""Seconds without an update, at most: so quickly a time limit or a signal acts."""
STOP_PATIENCE = 20.0
"""Seconds that a trial has to end by itself once it is told to."""
RECENT_EPOCHS = 10
"""Epochs out of which the time of the next ones is estimated."""


@dataclass
class _Run:
    """A trial on a worker.

    Attributes:
        record: The trial.
        verdict: Why it was told to end: others did better, or the search is over; None: it was not.
        reason: The same in words.
        told_at: When it was told, by the monotonic clock.
    """

    record: Record
    verdict: TrialStatus | None = None
    reason: str | None = None
    told_at: float = 0.0


class LocalSession:
    """A search on this machine, from the journal of an earlier process or from its beginning.

    Args:
        search: What is searched.
        devices: What trials train on, one at a time each.
        dataset_directory: The prepared data set.
        work_directory: Where the search keeps its state; the search that is already there continues.
        model_directory: Gets the best trial's model.
        initial_model: A model that every trial starts from.
        initial_model_name: What a search that continues knows it by.
    """

    def __init__(
        self,
        search: Search,
        devices: Sequence[Device],
        dataset_directory: Path,
        work_directory: Path,
        model_directory: Path,
        *,
        initial_model: str | None,
        initial_model_name: str | None,
    ) -> None:
        self._search, self._devices = search, devices
        self._dataset_directory = dataset_directory
        self._work_directory = work_directory
        self._model_directory = model_directory
        self._initial_model, self._initial_model_name = initial_model, initial_model_name
        self._files = TrialFiles(work_directory)
        self._opened_journal: Journal | None = None
        self._pool: WorkerPool | None = None
        self._runs: dict[Worker, _Run] = {}
        self._pending: list[Record] = []
        self._stopping = False
        self._exhausted = False
        self._details: dict[str, Any] = {}

    def events(self) -> Iterator[Event]:
        """Take up what an earlier process has done, start trials as workers become free, until all have ended."""
        attached = self._attach()
        try:
            yield attached
            while self._pool is not None and (self._runs or self._may_start()):
                for worker in self._pool.ready():
                    if worker not in self._runs and self._may_start():
                        yield from self._start_trial(worker)
                for heard in self._pool.wait(LONGEST_SILENCE):
                    yield from self._take(heard)
                yield Event(kind="waiting")
                if self._stopping:
                    self._end_trials()
            yield Event(kind="waiting", note=self._why_over())
        finally:
            if self._pool is not None:
                self._pool.end()
            self._journal.close()

    def stop(self) -> None:
        """Start nothing any more; `events` tells the running trials to end."""
        self._stopping = True

    def result(self) -> Mapping[str, Any]:
        """Copy the best trial's model to where it is wanted."""
        best = find_best_trial([record.trial for record in self._journal.records])
        if best is not None:
            self._files.copy_model(best.name, self._model_directory)
        return {
            **self._details,
            "work_directory": str(self._work_directory),
            "devices": [vars(device) for device in self._devices],
            "python": platform.python_version(),
            "optuna": version("optuna"),
        }

    @property
    def _journal(self) -> Journal:
        assert self._opened_journal is not None
        return self._opened_journal

    def _attach(self) -> Event:
        """Read what an earlier process has done, and start the workers.

        Raises:
            EngineError: If the data set is not the search's, or the folder holds another search.
        """
        prepared = Dataset.load(self._dataset_directory)
        if prepared.fingerprint != self._search.dataset.fingerprint:
            raise EngineError(
                f"{self._dataset_directory}: holds the data set {short_fingerprint(prepared.fingerprint)}, the search "
                f"is for {short_fingerprint(self._search.dataset.fingerprint)}; plan it for this data set"
            )
        journal = self._opened_journal = Journal(self._work_directory, self._search, self._initial_model_name)
        records = journal.records
        self._files.find(records)
        self._pending = [record for record in records if record.trial.status in ("running", "stopped")]
        done = [record.trial for record in records if record not in self._pending]
        if self._search.budget.reason_to_stop(done, journal.seconds) is not None:
            self._stopping = True
        else:
            for record in self._pending:
                record.trial = replace(record.trial, status="running", finished_at=None, note=None)
            setup = {
                "dataset": str(self._dataset_directory),
                "cache": str(self._work_directory / "images"),
                "resize": self._search.space.fixed.get("resize"),
            }
            self._pool = WorkerPool(self._devices, setup, self._work_directory)
        attached = Attached(
            trials=tuple(record.trial for record in records),
            seconds=journal.earlier_seconds,
            started_at=journal.started_at,
        )
        return Event(kind="attached", attached=attached)

    def _may_start(self) -> bool:
        """Whether there is another trial to start, and the time for it."""
        left = len(self._journal.records) < self._search.budget.max_trials and not self._exhausted
        return not self._stopping and bool(self._pending or left) and self._has_time()

    def _why_over(self) -> str:
        """Why no trial was started any more, if it was not the budget's or the user's doing."""
        if self._exhausted:
            return "every combination of the grid was tried"
        return "" if self._stopping or self._has_time() else "no time is left for another whole trial"

    def _has_time(self) -> bool:
        """Whether a new trial can still come to something before the time limit.

        Where a trial takes less than half of the time there is, only a whole one does: its last epochs, with a lower
        learning rate, are its best. Of a longer one, an epoch must fit.
        """
        limit = self._search.budget.max_seconds
        epochs = [epoch.seconds for record in self._journal.records for epoch in record.trial.history if epoch.seconds]
        if limit is None or not epochs:
            return True
        recent = epochs[-RECENT_EPOCHS:]
        an_epoch = sum(recent) / len(recent)
        whole = an_epoch * self._search.max_epochs
        return limit - self._journal.seconds >= (whole if whole <= limit / 2 else an_epoch)

    def _start_trial(self, worker: Worker) -> Iterator[Event]:
        """Give a worker the next trial: one that was cut off, or a new one."""
        if self._pending:
            record = self._pending.pop(0)
        else:
            number = len(self._journal.records)
            suggestion = suggest(self._search, self._journal.records)
            if suggestion is None:
                self._exhausted = True
                return
            name = f"trial-{number + 1:03}"
            values = self._search.tuned_values(self._search.complete(suggestion.values))
            log = str(self._files.log(name))
            trial = Trial(name=name, status="running", hyperparameters=values, started_at=time.time(), log_uri=log)
            record = Record(number, suggestion.values, suggestion.source, trial)
            self._journal.add_started(record)
        name = record.trial.name
        self._files.prepare(name)
        self._runs[worker] = _Run(record)
        worker.send(
            "train",
            hyperparameters=self._search.complete(record.values).to_strings(),
            seed=seed_of(self._search, record.number),
            log=str(self._files.log(name)),
            model_directory=str(self._files.model(name)),
            checkpoint_directory=str(self._files.checkpoint(name)),
            initial_model=self._initial_model,
        )
        yield Event(kind="started", trial=record.trial)

    def _take(self, heard: WorkerEvents) -> Iterator[Event]:
        """Act on what a worker says."""
        worker = heard.worker
        for message in heard.events:
            match message.pop("event"):
                case "decoding":
                    yield Event(kind="waiting", note="decoding {split} images: {done} of {total}".format(**message))
                case "refused":
                    raise EngineError(*message["problems"])
                case "ready":
                    self._details.update(message)
                case "point":
                    self._journal.add_point(self._runs[worker].record, Point(**message))
                    self._answer(worker)
                case "epoch":
                    record = self._runs[worker].record
                    self._journal.add_epoch(record, Epoch(**message))
                    yield Event(kind="progress", trial=record.trial)
                    self._answer(worker)
                case "ended":
                    yield from self._finish(self._runs.pop(worker), **message)
                case "failed":
                    yield from self._fail(self._runs.pop(worker), message["reason"])
        if heard.exit is not None and worker in self._runs:
            run = self._runs.pop(worker)
            yield from self._close(run, status="stopped") if run.verdict == "stopped" else self._fail(run, heard.exit)

    def _answer(self, worker: Worker) -> None:
        """Say whether the trial continues."""
        run = self._runs[worker]
        reason = find_reason_to_stop(self._search, run.record, self._journal.records)
        if self._stopping:
            self._tell_to_end(worker, "stopped", None)
        elif reason is not None:
            self._tell_to_end(worker, "early_stopped", reason)
        else:
            worker.send("continue")

    def _tell_to_end(self, worker: Worker, verdict: TrialStatus, reason: str | None) -> None:
        run = self._runs[worker]
        run.verdict, run.reason, run.told_at = verdict, reason, time.monotonic()
        worker.send("end")

    def _end_trials(self) -> None:
        """Tell every running trial to end, and end the workers of those that do not."""
        for worker, run in self._runs.items():
            if run.verdict is None:
                self._tell_to_end(worker, "stopped", None)
            elif time.monotonic() - run.told_at > STOP_PATIENCE:
                worker.kill()

    def _finish(
        self, run: _Run, outcome: str, history: list[dict[str, Any]], best_epoch: int | None
    ) -> Iterator[Event]:
        """A training that ended by itself or since it was told to."""
        epochs = tuple(Epoch(**epoch) for epoch in history)
        status: TrialStatus = "completed"
        note = None
        if outcome == "stopped" and run.verdict is not None:
            status, note = run.verdict, run.reason
        elif outcome == "diverged":
            note = f"diverged in epoch {len(epochs)}"
        elif outcome == "early_stopped":
            note = f"no more improvement after epoch {best_epoch}"
        objective = None if best_epoch is None else epochs[best_epoch].validation_accuracy
        return self._close(run, status=status, note=note, history=epochs, objective=objective, best_epoch=best_epoch)

    def _fail(self, run: _Run, reason: str) -> Iterator[Event]:
        """A training that failed. What it had reached does not count: nobody knows whether its model is whole."""
        trial = run.record.trial
        reason = f"{reason.rstrip('.')} (log: {trial.log_uri})"
        return self._close(run, status="failed", failure_reason=reason, objective=None, best_epoch=None)

    def _close(self, run: _Run, **changes: Any) -> Iterator[Event]:
        """Write down the end of a trial, and tell of it and of those whose models had to go."""
        record = run.record
        trial = replace(record.trial, finished_at=time.time(), **changes)
        if trial.objective is not None:
            trial = replace(trial, model_uri=str(self._files.model(trial.name)))
        self._journal.add_finished(record, trial)
        others = [record for record in self._files.tidy(self._journal.records) if record is not run.record]
        yield from (Event(kind="waiting", trial=other.trial) for other in others)
        yield Event(kind="finished", trial=record.trial)
