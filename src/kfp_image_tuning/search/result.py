"""Trials and the result document, the same for every engine.

``result.json`` (schema: ``result.schema.json`` beside this file) holds the search, every trial with its history, the
best one, and the command that runs the same search again. It is written after every finished trial, so that nothing is
lost when a search is cut off.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from kfp_image_tuning.core.errors import DocumentError
from kfp_image_tuning.core.json_files import read_json, write_json

SCHEMA_VERSION = 1

TrialStatus = Literal["running", "completed", "early_stopped", "failed", "stopped"]
"""``early_stopped``: ended since other trials did better at the same point; ``stopped``: ended with the search."""

SearchStatus = Literal["running", "completed", "stopped", "failed"]
"""``stopped``: cut off by the user or the platform; ``failed``: without a single usable trial, or with too many failed
ones."""


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One epoch of one trial, as far as the engine knows it.

    Attributes:
        epoch: Counted from 0, as the built-in algorithm's log does.
        validation_accuracy: ``validation:accuracy``, 0 to 1.
        train_accuracy: 0 to 1.
        validation_loss: Mean cross-entropy in nats.
        train_loss: Mean cross-entropy in nats.
        learning_rate: The rate that the epoch was trained with.
        seconds: Wall time of training and validation.
    """

    epoch: int
    validation_accuracy: float
    train_accuracy: float | None = None
    validation_loss: float | None = None
    train_loss: float | None = None
    learning_rate: float | None = None
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One trial of a search.

    Attributes:
        name: Unique within the search; the engine's own name for it (training job, Katib trial).
        status: What became of it.
        hyperparameters: Typed values of what the trial was given, tuned and optimizer; without what its optimizer
            ignores.
        objective: ``validation:accuracy`` of the model it leaves behind (its best epoch), or None.
        best_epoch: The epoch of that model, counted from 0.
        history: Its epochs in order.
        started_at: Seconds since the epoch (Unix time, UTC).
        finished_at: Seconds since the epoch; None while it runs.
        failure_reason: One sentence, for failed trials.
        model_uri: Where its model is; None when it left none or it was not kept.
        log_uri: Where its log is.
        note: What else a reader should know, such as ``diverged in epoch 2``.
    """

    name: str
    status: TrialStatus
    hyperparameters: Mapping[str, Any]
    objective: float | None = None
    best_epoch: int | None = None
    history: tuple[Epoch, ...] = ()
    started_at: float | None = None
    finished_at: float | None = None
    failure_reason: str | None = None
    model_uri: str | None = None
    log_uri: str | None = None
    note: str | None = None

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will come of it."""
        return self.status != "running"

    @property
    def seconds(self) -> float:
        """Wall time from start to end; 0 where either is unknown."""
        return max(0.0, (self.finished_at or 0.0) - (self.started_at or 0.0)) if self.finished_at else 0.0

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read the JSON form."""
        return cls(**{**document, "history": tuple(Epoch(**epoch) for epoch in document["history"])})


def find_best_epoch(history: Sequence[Epoch]) -> Epoch | None:
    """The epoch of the highest validation accuracy, the earliest of several; None: there is none yet."""
    return max(history, key=lambda epoch: epoch.validation_accuracy, default=None)


def find_best_trial(trials: Sequence[Trial]) -> Trial | None:
    """The trial with the highest `ranking_key`; of equals, the one that started first. None: none has an objective."""
    return max((trial for trial in trials if trial.objective is not None), key=ranking_key, default=None)


def ranking_key(trial: Trial) -> tuple[float, float]:
    """What trials are ranked by, the higher the better: the objective, and of equals the lower validation loss.

    A few hundred validation images give many trials the same accuracy; their loss tells more of other images. Where an
    engine does not know it, it counts as infinite.
    """
    losses = (epoch.validation_loss for epoch in trial.history if epoch.epoch == trial.best_epoch)
    loss = next((loss for loss in losses if loss is not None), math.inf)
    return trial.objective or 0.0, -loss


@dataclass(frozen=True, kw_only=True)
class TuningResult:
    """The result of a search.

    Attributes:
        engine: ``local``, ``katib`` or ``sagemaker``.
        status: Whether the search ended by itself.
        stop_reason: Why it ended, one sentence.
        search: The search as `Search.to_dict` describes it (space, budget, strategy, seed, data set).
        trials: Every trial, in the order of their start.
        started_at: Seconds since the epoch (Unix time, UTC).
        seconds: Wall time used in all, over restarts.
        reproduction_command: What to type to run the same search again.
        engine_details: What only this engine knows (job names, links, versions).
    """

    engine: str
    status: SearchStatus
    stop_reason: str
    search: Mapping[str, Any]
    trials: tuple[Trial, ...]
    started_at: float
    seconds: float
    reproduction_command: str = ""
    engine_details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def best_trial(self) -> Trial | None:
        """The trial with the highest objective, if any has one."""
        return find_best_trial(self.trials)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form, ``result.json``."""
        best = self.best_trial
        document = {"schema_version": SCHEMA_VERSION, **asdict(self)}
        document["objective"] = {"metric": "validation:accuracy", "direction": "maximize"}
        document["best_trial"] = best.name if best else None
        document["best_objective"] = best.objective if best else None
        document["best_hyperparameters"] = dict(best.hyperparameters) if best else None
        return document

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read the JSON form.

        Raises:
            DocumentError: If it is not a result document, or of a version that this release does not know.
        """
        version = document.get("schema_version")
        if version != SCHEMA_VERSION:
            raise DocumentError(
                f"result document: schema_version is {version!r}, this release reads {SCHEMA_VERSION}; "
                "use the release that wrote it"
            )
        derived = {"schema_version", "objective", "best_trial", "best_objective", "best_hyperparameters"}
        values = {name: value for name, value in document.items() if name not in derived}
        try:
            values["trials"] = tuple(Trial.from_dict(trial) for trial in document["trials"])
            return cls(**values)
        except (KeyError, TypeError) as error:
            raise DocumentError(f"result document: is incomplete or has unknown fields ({error})") from None

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read ``result.json``.

        Raises:
            DocumentError: If the file is missing, no JSON, or no result document of a known version.
        """
        return cls.from_dict(read_json(path))

    def save(self, path: Path) -> None:
        """Write ``result.json`` atomically."""
        write_json(path, self.to_dict())
