"""One trial, in its pod: ``python -m kfp_image_tuning.engines.katib.pod.trial``.

Turns what Katib assigned into hyperparameters, brings the data, runs the trainer, and leaves the model where the search
collects it. The trainer's lines go through untouched, since Katib collects the objective from them. When the trial is
ended early (SIGTERM) the trainer is ended, and the best epoch's model is kept like any other. The trial ends itself in
the same way when its launcher is gone for good.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Self

from kfp_image_tuning.core.errors import DefectError, EngineError
from kfp_image_tuning.core.foreign_errors import as_own_error
from kfp_image_tuning.core.object_store import PATIENT_RETRIES, open_place
from kfp_image_tuning.core.wording import duration
from kfp_image_tuning.engines.katib.pod.dataset_download import fetch_dataset
from kfp_image_tuning.engines.katib.pod.orphan_watch import FILE_NAME, OrphanWatch
from kfp_image_tuning.engines.katib.request.parameters import decode_trial

TRAINER = "kfp_image_tuning.trainer"


@dataclass(frozen=True)
class TrialSettings:
    """What the pod's environment says.

    Attributes:
        name: Katib's name of the trial.
        hyperparameters: In the trainer's form.
        data: Folder or URI of the data set.
        models: Folder or URI under which the trial leaves its model.
        initial_model: Model to start from; empty: none.
        seed: Of the training.
        processes: Of the training on this machine.
        joins_others: Whether Kubeflow Trainer has set up a training on several machines.
        is_first: Whether this is the machine that leaves the model.
        scratch: Folder for everything that nobody wants later.
        heartbeat: Folder or URI where the launcher gives signs of life; empty: it need not.
        orphan_timeout_seconds: Without one for so long, the trial ends.
    """

    name: str
    hyperparameters: Mapping[str, str]
    data: str
    models: str
    initial_model: str
    seed: str
    processes: int
    joins_others: bool
    is_first: bool
    scratch: Path
    heartbeat: str = ""
    orphan_timeout_seconds: float = 0.0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read the environment variables that the trial template sets.

        Raises:
            EngineError: If one is missing.
            HyperparameterError: If the hyperparameters cannot be read.
        """
        names = ("NAME", "HYPERPARAMETERS", "DATA", "MODELS")
        missing = [f"TRIAL_{name}" for name in names if not environment.get(f"TRIAL_{name}")]
        if missing:
            raise EngineError(f"{', '.join(missing)}: is not set; this program runs in a pod that Katib starts")
        return cls(
            name=environment["TRIAL_NAME"],
            hyperparameters=decode_trial(environment["TRIAL_HYPERPARAMETERS"]),
            data=environment["TRIAL_DATA"],
            models=environment["TRIAL_MODELS"],
            initial_model=environment.get("TRIAL_INITIAL_MODEL", ""),
            seed=environment.get("TRIAL_SEED", "0"),
            processes=int(environment.get("TRIAL_PROCESSES", "1")),
            joins_others="PET_NNODES" in environment,
            is_first=environment.get("PET_NODE_RANK", "0") == "0",
            scratch=Path(environment["HOME"]),
            heartbeat=environment.get("TRIAL_HEARTBEAT", ""),
            orphan_timeout_seconds=float(environment.get("TRIAL_ORPHAN_SECONDS", "0")),
        )

    @property
    def model_directory(self) -> Path:
        """Where the trainer writes the model."""
        return self.scratch / "model" if "://" in self.models else Path(self.models) / self.name


def main() -> int:
    """Run the trial; return the exit status."""
    try:
        return run_trial(TrialSettings.from_environment(os.environ))
    except Exception as error:
        own = as_own_error(error)
        if isinstance(own, DefectError):
            raise
        print(own, file=sys.stderr)
        return 1


def run_trial(settings: TrialSettings) -> int:
    """Bring the data, train, leave the model; return the exit status."""
    watch_launcher(settings)
    data = settings.data
    if "://" in data:
        data = str(settings.scratch / "data")
        print(f"Downloading the data set from {settings.data}", flush=True)
        fetch_dataset(settings.data, Path(data))
    hyperparameters = settings.scratch / "hyperparameters.json"
    hyperparameters.write_text(json.dumps(settings.hyperparameters))
    settings.model_directory.mkdir(parents=True, exist_ok=True)
    status = _run_to_its_end(training_command(settings, data, hyperparameters))
    if status in (-signal.SIGKILL, 128 + signal.SIGKILL):
        print("The training was killed, most likely for lack of memory", file=sys.stderr)
    names = sorted(path.name for path in settings.model_directory.iterdir() if path.is_file())
    if "://" in settings.models and settings.is_first and names:
        store = open_place(f"{settings.models}/{settings.name}", retries=PATIENT_RETRIES)
        store.upload(settings.model_directory, names)
    return status if status >= 0 else 128 - status


def watch_launcher(settings: TrialSettings) -> None:
    """From now on, end this process as from outside when the launcher gives no signs of life any more."""
    if not settings.heartbeat or not settings.orphan_timeout_seconds:
        return

    def read() -> bytes | None:
        if "://" in settings.heartbeat:
            return open_place(settings.heartbeat).read(FILE_NAME)
        path = Path(settings.heartbeat, FILE_NAME)
        return path.read_bytes() if path.is_file() else None

    def end(silent: float) -> None:
        print(
            f"The launcher of this search has given no sign of life for {duration(round(silent))} "
            f"({settings.heartbeat}/{FILE_NAME}): the trial ends, so that it holds no GPU for nobody. Run the search "
            "again: it continues. --orphan-timeout (orphan_timeout_seconds) changes the time.",
            flush=True,
        )
        os.kill(os.getpid(), signal.SIGTERM)

    OrphanWatch(read, settings.orphan_timeout_seconds, end).start()


def training_command(settings: TrialSettings, data: str, hyperparameters: Path) -> list[str]:
    """What trains: one process, or one for each GPU."""
    module = ["-m", TRAINER]
    if settings.joins_others:
        # Kubeflow Trainer has put the number of machines and processes into torchrun's own variables.
        module = ["-m", "torch.distributed.run", *module]
    elif settings.processes > 1:
        module = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={settings.processes}", *module]
    command = [sys.executable, *module, "--dataset", data, "--hyperparameters", str(hyperparameters)]
    command += ["--model-dir", str(settings.model_directory), "--cache", str(settings.scratch / "cache")]
    command += ["--seed", settings.seed]
    return [*command, "--initial-model", settings.initial_model] if settings.initial_model else command


def _run_to_its_end(command: list[str]) -> int:
    """Run a program and pass on what should end it."""
    stopped: list[int] = []
    running: list[subprocess.Popen[bytes]] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        stopped.append(number)
        for process in running:
            process.send_signal(signal.SIGTERM)

    previous = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        if stopped:
            return 128 + stopped[0]
        process = subprocess.Popen(command)
        running.append(process)
        if stopped:
            process.send_signal(signal.SIGTERM)
        status = process.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    # A trial that was ended must not look complete, whatever the trainer made of the signal.
    return 128 + stopped[0] if stopped else status


if __name__ == "__main__":
    sys.exit(main())
