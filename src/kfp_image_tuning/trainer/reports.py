"""What a training tells while it runs and when it ends."""

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["completed", "early_stopped", "stopped", "diverged"]


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """Where a training is within an epoch.

    Attributes:
        epoch: From 0.
        step: Steps done in this epoch.
        steps: Steps of an epoch.
        train_loss: Mean over this epoch so far.
        train_accuracy: Mean over this epoch so far.
        learning_rate: Of the last step.
    """

    epoch: int
    step: int
    steps: int
    train_loss: float
    train_accuracy: float
    learning_rate: float


@dataclass(frozen=True, kw_only=True)
class EpochReport:
    """What one epoch reached. All numbers are finite.

    Attributes:
        epoch: From 0.
        train_loss: Mean over the epoch's steps, each before its update.
        train_accuracy: The same.
        validation_loss: After the epoch.
        validation_accuracy: The same, over exactly the validation images (MXNet counts its last batch's padding, too).
        train_top_k_accuracy: With ``top_k`` only.
        validation_top_k_accuracy: With ``top_k`` only.
        learning_rate: Of the epoch's last step.
        seconds: Training and validation.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    train_top_k_accuracy: float | None = None
    validation_top_k_accuracy: float | None = None
    learning_rate: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """How a training ended.

    Attributes:
        outcome: ``completed``; ``early_stopped`` by the hyperparameters; ``stopped`` by the caller; ``diverged``, when
            the loss was no longer a finite number.
        best_epoch: Whose model was saved: the one of the highest validation accuracy, the earliest of several. None
            if no epoch came to its end; then no model was saved.
        best_validation_accuracy: In that epoch; 0 if there is none.
        history: One report for each finished epoch.
        seconds: Of the whole training, including what a resumed one had done before.
    """

    outcome: Outcome
    best_epoch: int | None
    best_validation_accuracy: float
    history: tuple[EpochReport, ...]
    seconds: float
