"""What a search has done, on disk: one line of JSON for each thing that happened, written when it happens.

A search that was killed at any moment is read back from these lines: finished trials stay as they are, running ones are
known with their hyperparameters and start again. The first line says which search it is; a different one is refused.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from io import BufferedRandom
from pathlib import Path
from typing import Any

from kfp_image_tuning.core.errors import DocumentError, EngineError
from kfp_image_tuning.engines.local.trial_records import Point, Record
from kfp_image_tuning.search.result import Epoch, Trial, find_best_epoch
from kfp_image_tuning.search.search import Search

SCHEMA_VERSION = 1
JOURNAL_NAME = "journal.jsonl"


class Journal:
    """The trials of one search, in memory and on disk. One process at a time has it open.

    Attributes:
        records: The trials, by number.
        started_at: When the search first started, Unix time.
        earlier_seconds: Wall time that earlier processes have used.

    Args:
        directory: The search's work directory; made if need be.
        search: The search that it is, or becomes, the journal of.
        initial_model: The model that every trial starts from; None: none.

    Raises:
        EngineError: If another process has it open, or it is of another search.
        DocumentError: If it is damaged, or of a version that this release does not know.
    """

    def __init__(self, directory: Path, search: Search, initial_model: str | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._path = directory / JOURNAL_NAME
        self.records: list[Record] = []
        self.started_at = time.time()
        self.earlier_seconds = 0.0
        self._began = time.monotonic()
        # In append mode a line goes to the end whatever was read before.
        self._file: BufferedRandom = self._path.open("a+b")
        try:
            self._lock()
            if not self._read(search, initial_model):
                header: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "fingerprint": search.fingerprint}
                header |= {"started_at": self.started_at, "search": search.to_dict()}
                self._append("search", **header, initial_model=initial_model)
        except BaseException:
            self._file.close()
            raise

    @property
    def seconds(self) -> float:
        """Wall time that the search has used, in all processes."""
        return self.earlier_seconds + time.monotonic() - self._began

    def close(self) -> None:
        """Let another process open it."""
        self._file.close()

    def add_started(self, record: Record) -> None:
        """Note a new trial."""
        self.records.append(record)
        trial = record.trial
        self._append(
            "started",
            number=record.number,
            values=record.values,
            source=record.source,
            name=trial.name,
            hyperparameters=dict(trial.hyperparameters),
            started_at=trial.started_at,
            log_uri=trial.log_uri,
        )

    def add_point(self, record: Record, point: Point) -> None:
        """Note how far a trial got within its first epoch."""
        _put_point(record, point)
        self._append("point", number=record.number, point=asdict(point))

    def add_epoch(self, record: Record, epoch: Epoch) -> None:
        """Note a finished epoch."""
        _put_epoch(record, epoch)
        self._append("epoch", number=record.number, epoch=asdict(epoch))

    def add_finished(self, record: Record, trial: Trial) -> None:
        """Note the end of a trial; it stands on the disk when this returns."""
        record.trial = trial
        self._append("finished", number=record.number, trial=asdict(trial))
        os.fsync(self._file.fileno())

    def _append(self, event: str, **content: Any) -> None:
        line = json.dumps({"event": event, "seconds": round(self.seconds, 3), **content}, allow_nan=False)
        self._file.write(line.encode() + b"\n")
        self._file.flush()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EngineError(
                f"{self._path.parent}: another process is running a search in this work directory; "
                "wait for it, stop it, or choose another work directory"
            ) from None
        except OSError:
            # A file system without locks: then it is the user's care.
            return

    def _read(self, search: Search, initial_model: str | None) -> bool:
        """Take up what is there, if anything is; a last line that a kill cut short is removed."""
        self._file.seek(0)
        content = self._file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            self._file.truncate(whole)
        try:
            lines = [json.loads(line) for line in content[:whole].splitlines()]
            if lines:
                self._check(lines[0], search, initial_model)
                self.records = replay(lines[1:])
                self.earlier_seconds = lines[-1]["seconds"]
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise DocumentError(
                f"{self._path}: is damaged ({error}); choose another work directory, or delete this one to "
                "start from scratch"
            ) from None
        return bool(lines)

    def _check(self, header: Mapping[str, Any], search: Search, initial_model: str | None) -> None:
        """Refuse the journal of another search."""
        version = header.get("schema_version")
        if version != SCHEMA_VERSION:
            raise DocumentError(
                f"{self._path}: schema_version is {version!r}, this release reads {SCHEMA_VERSION}; "
                "choose another work directory, or use the release that wrote it"
            )
        if (header["fingerprint"], header["initial_model"]) != (search.fingerprint, initial_model):
            theirs = _flatten({"initial_model": header["initial_model"], **header["search"]})
            ours = _flatten({"initial_model": initial_model, **search.to_dict()})
            names = sorted(name for name in theirs.keys() | ours.keys() if theirs.get(name) != ours.get(name))
            changes = [
                f"{name} was {theirs.get(name)}, is now {ours.get(name)}" for name in names if name[:7] != "budget."
            ]
            raise EngineError(
                f"{self._path.parent}: holds a different search ({'; '.join(changes[:4])}). Only the budget may change "
                "when a search continues: choose another work directory, or delete this one to start from scratch"
            )
        self.started_at = header["started_at"]


def read_records(journal: bytes) -> list[Record]:
    """The trials of a journal that is elsewhere; none of one that has no line yet.

    Raises:
        ValueError: If it is of another version (or, as KeyError and the like, if it is damaged).
    """
    lines = [json.loads(line) for line in journal.splitlines()]
    if lines and lines[0]["schema_version"] != SCHEMA_VERSION:
        raise ValueError(
            f"the journal's schema_version is {lines[0]['schema_version']!r}, this release reads {SCHEMA_VERSION}"
        )
    return replay(lines[1:])


def replay(lines: Iterable[Mapping[str, Any]]) -> list[Record]:
    """The trials as they were after these lines of a journal, without its first."""
    records: list[Record] = []
    for line in lines:
        event, number = line["event"], line["number"]
        if event == "started":
            about = {name: line[name] for name in line.keys() - {"event", "seconds", "number", "values", "source"}}
            records.append(Record(number, line["values"], line["source"], Trial(status="running", **about)))
        elif event == "point":
            _put_point(records[number], Point(**line["point"]))
        elif event == "epoch":
            _put_epoch(records[number], Epoch(**line["epoch"]))
        else:
            records[number].trial = Trial.from_dict(line["trial"])
    return records


def _put_point(record: Record, point: Point) -> None:
    """Add a point; those at or after it are of a start that was cut off."""
    record.points = [earlier for earlier in record.points if earlier.images < point.images] + [point]


def _put_epoch(record: Record, epoch: Epoch) -> None:
    """Add an epoch; those at or after it are of a start that was cut off."""
    history = (*(earlier for earlier in record.trial.history if earlier.epoch < epoch.epoch), epoch)
    best = find_best_epoch(history) or epoch
    record.trial = replace(record.trial, history=history, objective=best.validation_accuracy, best_epoch=best.epoch)


def _flatten(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested document as dotted names."""
    flat: dict[str, Any] = {}
    for name, value in document.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
