"""The state of a training on disk, so that it can be killed at any moment and continues with the same bits.

``epoch-0003`` in the checkpoint folder holds the state after epoch 3: ``model.safetensors`` and ``model.json`` (a
whole model, as any other), ``optimizer.safetensors``, ``training.json`` and ``best/`` (the model of the best epoch so
far). A folder appears whole or not at all. With ``checkpoint_frequency`` all of them stay, otherwise the last one. No
random state is kept: order and augmentation of each epoch follow from the seed.
"""

import json
import re
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as deserialize
from safetensors.torch import save as serialize

from kfp_image_tuning.core.durable_file import bring_names_to_disk, write_durably
from kfp_image_tuning.core.errors import DocumentError, TrainingError
from kfp_image_tuning.model.model_files import DOCUMENT_NAME, WEIGHTS_NAME, ModelDocument, load_model, save_model
from kfp_image_tuning.model.network import ResNetV2
from kfp_image_tuning.search.hyperparameters import Hyperparameters
from kfp_image_tuning.trainer.optimizers import MXNetOptimizer
from kfp_image_tuning.trainer.reports import EpochReport, Outcome, TrainingResult

SCHEMA_VERSION = 1
STATE_NAME = "training.json"
OPTIMIZER_NAME = "optimizer.safetensors"
BEST_NAME = "best"


@dataclass
class Progress:
    """What a training has reached.

    Attributes:
        history: One report for each finished epoch.
        seconds: Spent so far, over all resumptions.
    """

    history: list[EpochReport] = field(default_factory=list)
    seconds: float = 0.0

    def best(self) -> EpochReport | None:
        """The epoch of the highest validation accuracy, the earliest of several."""
        return max(self.history, key=lambda report: report.validation_accuracy, default=None)

    def accuracies(self) -> list[float]:
        """On validation, of every epoch."""
        return [report.validation_accuracy for report in self.history]

    def result(self, outcome: Outcome, seconds: float) -> TrainingResult:
        """What `train` returns."""
        best = self.best()
        return TrainingResult(
            outcome=outcome,
            best_epoch=None if best is None else best.epoch,
            best_validation_accuracy=0.0 if best is None else best.validation_accuracy,
            history=tuple(self.history),
            seconds=seconds,
        )


class Checkpoints:
    """The checkpoint folder of one training.

    Args:
        directory: The folder.
        hyperparameters: The trial's; a checkpoint of another trial is refused.
        seed: The same.
        images: Number of training images; the same.
    """

    def __init__(self, directory: Path, hyperparameters: Hyperparameters, seed: int, images: int) -> None:
        self._directory = directory
        self._trial = {"hyperparameters": hyperparameters.to_strings(), "seed": seed, "images": images}
        self._frequency = hyperparameters.checkpoint_frequency

    def is_due(self, progress: Progress) -> bool:
        """Whether the epoch that was finished last is to be saved."""
        return len(progress.history) % (self._frequency or 1) == 0

    def save(
        self,
        progress: Progress,
        document: ModelDocument,
        network: ResNetV2,
        optimizer: MXNetOptimizer,
        scaler: torch.amp.GradScaler,
        model_directory: Path,
    ) -> Path:
        """Write the state after the last finished epoch.

        Args:
            progress: Up to that epoch.
            document: Of the network as it is now.
            network: The same.
            optimizer: The same.
            scaler: The same.
            model_directory: Where the best epoch's model is.

        Returns:
            The folder of this checkpoint.
        """
        folder = self._directory / f"epoch-{document.epoch:04d}"
        unfinished = self._directory / f".{folder.name}"
        shutil.rmtree(unfinished, ignore_errors=True)
        save_model(unfinished, document, network)
        write_durably(unfinished / OPTIMIZER_NAME, serialize(optimizer.arrays()))
        state = {
            "schema_version": SCHEMA_VERSION,
            "trial": self._trial,
            "updates": optimizer.updates,
            "loss_scale": scaler.state_dict(),
            "seconds": progress.seconds,
            "history": [asdict(report) for report in progress.history],
        }
        write_durably(unfinished / STATE_NAME, (json.dumps(state, indent=2, allow_nan=False) + "\n").encode())
        _copy_model(model_directory, unfinished / BEST_NAME)
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
        bring_names_to_disk(self._directory)
        if self._frequency is None:
            for older in self._saved()[:-1]:
                shutil.rmtree(older)
        return folder

    def load_last(
        self, network: ResNetV2, optimizer: MXNetOptimizer, scaler: torch.amp.GradScaler, model_directory: Path
    ) -> Progress | None:
        """Set network, optimizer and the best model to the last checkpoint's state.

        Returns:
            What had been reached; None if there is no checkpoint.

        Raises:
            TrainingError: If the checkpoint is of another trial or damaged.
        """
        saved = self._saved()
        if not saved:
            return None
        folder = saved[-1]
        state = _read_state(folder / STATE_NAME)
        self._check_trial(folder, state["trial"])
        network.load_state_dict(load_model(folder).network.state_dict())
        try:
            optimizer.load_arrays(deserialize((folder / OPTIMIZER_NAME).read_bytes()), state["updates"])
        except (OSError, SafetensorError, KeyError, RuntimeError) as error:
            raise TrainingError(f"{folder / OPTIMIZER_NAME}: cannot be read ({error}); remove {folder}") from None
        scaler.load_state_dict(state["loss_scale"])
        _copy_model(folder / BEST_NAME, model_directory)
        return Progress([EpochReport(**report) for report in state["history"]], state["seconds"])

    def _check_trial(self, folder: Path, trial: dict[str, Any]) -> None:
        if trial == self._trial:
            return
        theirs, ours = _flatten(trial), _flatten(self._trial)
        problems = [
            f"{folder}: has {name} {theirs.get(name)}, this training {ours.get(name)}"
            for name in sorted(theirs.keys() | ours.keys())
            if theirs.get(name) != ours.get(name)
        ]
        raise TrainingError(
            *problems, "a checkpoint continues with its own trial only; choose another checkpoint folder"
        )

    def _saved(self) -> list[Path]:
        if not self._directory.is_dir():
            return []
        folders = [path for path in self._directory.iterdir() if re.fullmatch(r"epoch-\d{4,}", path.name)]
        return sorted(folders, key=lambda path: int(path.name.removeprefix("epoch-")))


def _copy_model(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    # The document last: as long as it does not fit the weights, the pair is refused.
    for name in (WEIGHTS_NAME, DOCUMENT_NAME):
        write_durably(target / name, (source / name).read_bytes())


def _flatten(trial: dict[str, Any]) -> dict[str, Any]:
    return {**trial["hyperparameters"], "seed": trial["seed"], "training images": trial["images"]}


def _read_state(path: Path) -> dict[str, Any]:
    try:
        state = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path}: cannot be read ({error}); remove the folder {path.parent}") from None
    version = state.get("schema_version")
    if version != SCHEMA_VERSION:
        raise DocumentError(f"{path}: schema_version is {version!r}, known is {SCHEMA_VERSION}; remove {path.parent}")
    return dict(state)
