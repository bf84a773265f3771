"""A worker process: opens the images once, then trains one trial after the other.

``python -m kfp_image_tuning.engines.local.worker`` speaks lines of JSON with the process that started it:
commands on standard input, events on standard output. When standard input ends, the worker ends, wherever it is: no
worker outlives its search. What training prints, and what a crash leaves behind, goes to the log of the trial.
"""

import contextlib
import faulthandler
import json
import os
import queue
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from kfp_image_tuning.core.errors import ImageTuningError
from kfp_image_tuning.dataset.document import Dataset
from kfp_image_tuning.dataset.pixel_store import PixelStore
from kfp_image_tuning.search.hyperparameters import Hyperparameters
from kfp_image_tuning.trainer.training import EpochReport, StepReport, TrainingResult, train

POINT_STEPS = 20
"""Every so many steps of the first epoch the search is asked whether to continue. A number of steps, not of seconds, so
that the same trial asks at the same places again."""


class Connection:
    """The lines between a worker and its search.

    Args:
        commands: File descriptor to read.
        events: File descriptor to write.
    """

    def __init__(self, commands: int, events: int) -> None:
        self._events = os.fdopen(events, "w", encoding="utf-8")
        self._commands: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        threading.Thread(target=self._listen, args=(commands,), daemon=True).start()

    def send(self, event: str, **content: Any) -> None:
        """Send an event."""
        self._events.write(json.dumps({"event": event, **content}, allow_nan=False) + "\n")
        self._events.flush()

    def next_command(self) -> dict[str, Any]:
        """Wait for a command."""
        return self._commands.get()

    def may_go_on(self, *, wait: bool) -> bool:
        """Whether the running trial continues.

        Args:
            wait: For the answer to what was just sent; otherwise only a command that has come already counts.
        """
        try:
            return bool(self._commands.get(block=wait)["command"] != "end")
        except queue.Empty:
            return True

    def _listen(self, commands: int) -> None:
        with os.fdopen(commands, encoding="utf-8") as lines:
            for line in lines:
                self._commands.put(json.loads(line))
        # The search is gone. Whatever this process is doing, nobody wants it any more.
        os._exit(0)


def main() -> None:
    """Work until the search is over."""
    # A Ctrl-C reaches every process of a terminal; the search decides what becomes of its trials.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = Connection(os.dup(0), os.dup(1))
    # From here on, whatever prints writes into a log.
    os.dup2(2, 1)
    faulthandler.enable()
    setup = connection.next_command()
    torch.set_num_threads(setup["threads"])
    try:
        images = TrialImages(connection, Dataset.load(setup["dataset"]), setup["cache"])
        images.open(setup["resize"])
    except ImageTuningError as error:
        connection.send("refused", problems=error.problems)
        return
    device = torch.device(setup["device"] if torch.cuda.is_available() else "cpu")
    warm_up(device)
    connection.send("ready", device=str(device), torch=torch.__version__)
    while True:
        command = connection.next_command()
        if command["command"] == "train":
            with log_to(Path(command["log"])):
                run_trial(connection, command, images, device)


class TrialImages:
    """The decoded images of training and validation.

    Args:
        connection: Told how decoding goes.
        dataset: The data set.
        cache: Folder of the pixel stores.
    """

    def __init__(self, connection: Connection, dataset: Dataset, cache: str) -> None:
        self.classes = dataset.classes
        self._connection, self._dataset, self._cache = connection, dataset, cache
        self._opened: dict[int | None, tuple[PixelStore, PixelStore]] = {}

    def open(self, resize: int | None) -> tuple[PixelStore, PixelStore]:
        """Map the images into memory as trials with this ``resize`` see them; decode what is not decoded yet."""
        if resize not in self._opened:
            self._opened[resize] = self._open_split("train", resize), self._open_split("validation", resize)
        return self._opened[resize]

    def _open_split(self, name: str, resize: int | None) -> PixelStore:
        split = self._dataset.split(name)
        return PixelStore.open(
            split.record_paths,
            image_shape=self._dataset.image_shape,
            stored_size=split.stored_size,
            resize=resize,
            cache_directory=self._cache,
            progress=lambda done, total: self._connection.send("decoding", split=name, done=done, total=total),
        )


def warm_up(device: torch.device) -> None:
    """Train two images: a process's first training loads libraries for seconds, which no trial shall wait for."""
    images = SimpleNamespace(images=np.zeros((2, 28, 28, 3), np.uint8), labels=np.zeros(2, np.int64))
    hyperparameters = Hyperparameters(
        num_classes=2, num_training_samples=2, mini_batch_size=2, image_shape=(3, 28, 28), num_layers=20, epochs=1
    )
    with tempfile.TemporaryDirectory() as folder:
        train(
            hyperparameters,
            images,
            images,
            classes=("a", "b"),
            model_directory=Path(folder, "model"),
            checkpoint_directory=Path(folder, "checkpoint"),
            seed=0,
            log=lambda _: None,
            device=device,
        )


def run_trial(
    connection: Connection,
    command: Mapping[str, Any],
    images: TrialImages,
    device: torch.device,
) -> None:
    """Train, and tell how it goes and ends.

    An error that is not a user's leaves the process in an unknown state (a GPU's memory, half an update): it ends.
    """
    try:
        trial = _Trial(connection, command)
        training, validation = images.open(trial.hyperparameters.resize)
        result = train(
            trial.hyperparameters,
            training,
            validation,
            classes=images.classes,
            model_directory=Path(command["model_directory"]),
            seed=command["seed"],
            on_epoch=trial.on_epoch,
            on_progress=trial.on_progress,
            device=device,
            initial_model=command.get("initial_model"),
            checkpoint_directory=Path(command["checkpoint_directory"]),
        )
        connection.send("ended", **describe(result))
    except ImageTuningError as error:
        traceback.print_exc()
        connection.send("failed", reason=str(error))
    except Exception as error:
        traceback.print_exc()
        connection.send("failed", reason=f"{type(error).__name__}: {error}".splitlines()[0])
        sys.exit(1)


class _Trial:
    """Passes on what a training reports."""

    def __init__(self, connection: Connection, command: Mapping[str, Any]) -> None:
        self.hyperparameters = Hyperparameters.from_strings(command["hyperparameters"])
        self._connection = connection

    def on_progress(self, report: StepReport) -> bool:
        asks = report.epoch == 0 and report.step % POINT_STEPS == 0
        if asks:
            images = report.step * self.hyperparameters.mini_batch_size
            self._connection.send("point", images=images, loss=report.train_loss, accuracy=report.train_accuracy)
        return self._connection.may_go_on(wait=asks)

    def on_epoch(self, report: EpochReport) -> bool:
        self._connection.send("epoch", **describe_epoch(report))
        return self._connection.may_go_on(wait=True)


def describe(result: TrainingResult) -> dict[str, Any]:
    """The end of a training in JSON."""
    history = [describe_epoch(report) for report in result.history]
    return {"outcome": result.outcome, "best_epoch": result.best_epoch, "history": history}


def describe_epoch(report: EpochReport) -> dict[str, Any]:
    """An epoch as a result document holds it."""
    values = asdict(report)
    return {name: value for name, value in values.items() if "top_k" not in name}


@contextlib.contextmanager
def log_to(path: Path) -> Iterator[None]:
    """Let everything that this process prints, a crash's last words too, go to the end of a file."""
    kept = os.dup(2)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for descriptor in (1, 2):
        os.dup2(file, descriptor)
    os.close(file)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor in (1, 2):
            os.dup2(kept, descriptor)
        os.close(kept)


if __name__ == "__main__":
    main()
