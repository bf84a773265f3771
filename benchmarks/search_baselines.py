"""Plain Optuna and Ray Tune on the same images and the same documented ranges, as their users would write it.

Both tune all nine hyperparameters in every trial, logarithmically where that is usual and the documented range allows
it (`LOGARITHMIC`), evenly otherwise, and train each trial in a process of its own:

* Optuna: its default sampler TPE and the median pruner, one study that two processes work on through a journal;
* Ray Tune: random search and ASHA over epochs.

Trials use this package's trainer and images that are decoded already, so that what differs is the search.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

EPOCHS, PROCESSES = 3, 2
LOGARITHMIC = ("learning_rate", "eps", "mini_batch_size")
ROOT = Path(__file__).resolve().parent.parent
RAY_PYTHON = Path(os.environ.get("RAY_PYTHON", ROOT / ".venv-ray" / "bin" / "python"))


class Standing:
    """The best model so far of one search, as all of its processes write it down."""

    def __init__(self, folder: Path) -> None:
        self._lines = folder / "standing.jsonl"

    def add(self, began: float, objective: float, model: Path, trial: str) -> None:
        """Note what a model reached; it must stay as it is."""
        entry = {"seconds": time.time() - began, "objective": objective, "model": str(model), "trial": trial}
        line = json.dumps(entry)
        with self._lines.open("a") as file:
            file.write(line + "\n")

    def best_until(self, seconds: float) -> dict[str, Any] | None:
        """The model that was the best after so many seconds."""
        known = [entry for entry in self._read() if entry["seconds"] <= seconds]
        return max(known, key=lambda entry: entry["objective"], default=None)

    def trials(self) -> int:
        """Trials that finished an epoch."""
        return len({entry["trial"] for entry in self._read()})

    def _read(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._lines.read_text().splitlines()] if self._lines.exists() else []


def make_search(dataset: Path, seconds: float, seed: int) -> Any:
    """The documented ranges on a data set, as all searches have them."""
    from kfp_image_tuning.dataset.document import Dataset
    from kfp_image_tuning.steps.tuning_settings import TuningSettings

    settings = TuningSettings(
        epochs=EPOCHS, max_trials=10_000, max_seconds=seconds, parallel_trials=PROCESSES, seed=seed
    )
    return settings.to_search(Dataset.load(dataset)).with_prior()


class Baseline:
    """One search of another tool: where it keeps its models, and when it is over."""

    def __init__(self, dataset: Path, folder: Path, began: float, seconds: float) -> None:
        self.dataset, self.folder, self.began, self.seconds = dataset, folder, began, seconds
        self.search = make_search(dataset, seconds, 0)

    @property
    def seconds_left(self) -> float:
        """Until it is over."""
        return self.began + self.seconds - time.time()

    def train(self, values: dict[str, Any], name: str, on_epoch: Callable[[int, float], bool]) -> None:
        """Train a trial in this process, until ``on_epoch`` says no or the time is over."""
        import torch

        from kfp_image_tuning.dataset.document import Dataset
        from kfp_image_tuning.dataset.pixel_store import PixelStore
        from kfp_image_tuning.trainer.training import EpochReport, train

        torch.set_num_threads(1)
        prepared = Dataset.load(self.dataset)
        stores = [
            PixelStore.open(
                prepared.split(name).record_paths,
                image_shape=prepared.image_shape,
                stored_size=prepared.split(name).stored_size,
                cache_directory=self.folder.parent / "images",
            )
            for name in ("train", "validation")
        ]
        model = self.folder / "models" / name
        best = 0.0

        def after_epoch(report: EpochReport) -> bool:
            nonlocal best
            if report.validation_accuracy > best:
                best = report.validation_accuracy
                kept = shutil.copytree(model, f"{model}-{report.epoch}")
                Standing(self.folder).add(self.began, best, Path(kept), name)
            return on_epoch(report.epoch, report.validation_accuracy) and self.seconds_left > 0

        train(
            self.search.complete(values),
            *stores,
            classes=prepared.classes,
            model_directory=model,
            seed=0,
            on_epoch=after_epoch,
            on_progress=lambda _: self.seconds_left > 0,
            log=lambda _: None,
        )


def search_with_optuna(dataset: Path, folder: Path, seconds: float, seed: int) -> int:
    """Two processes that each call ``study.optimize`` on the same study."""
    began = time.time()
    processes = [
        subprocess.Popen(_command(sys.executable, "optuna", dataset, folder, seconds, began, seed + 1000 * number))
        for number in range(PROCESSES)
    ]
    codes = [process.wait() for process in processes]
    if any(codes):
        sys.exit("plain Optuna failed")
    return Standing(folder).trials()


def search_with_ray(dataset: Path, folder: Path, seconds: float, seed: int) -> int:
    """Ray Tune in its own environment; its start counts."""
    command = _command(RAY_PYTHON, "ray", dataset, folder, seconds, time.time(), seed)
    # Or it gives up when the time is over before a trial has reported its first epoch.
    environment = os.environ | {"TUNE_DISABLE_STRICT_METRIC_CHECKING": "1"}
    # It draws tables even when asked for silence.
    if code := subprocess.run(command, stdout=subprocess.DEVNULL, env=environment).returncode:
        print(f"  Ray Tune ended with status {code}; what it had reached counts", flush=True)
    return Standing(folder).trials()


def optimize_with_optuna(baseline: Baseline, seed: int) -> None:
    """One of Optuna's processes."""
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name="baseline",
        storage=JournalStorage(JournalFileBackend(str(baseline.folder / "optuna.journal"))),
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(),
        load_if_exists=True,
    )

    def objective(trial: optuna.Trial) -> float:
        values: dict[str, Any] = {}
        for name, each in baseline.search.space.ranges.items():
            if name == "optimizer":
                values[name] = trial.suggest_categorical(name, each.values)
            else:
                suggest = trial.suggest_int if name == "mini_batch_size" else trial.suggest_float
                values[name] = suggest(name, each.minimum, each.maximum, log=name in LOGARITHMIC)
        best = 0.0
        command = _command(
            sys.executable, "trial", baseline.dataset, baseline.folder, baseline.seconds, baseline.began, seed
        )
        command += ["--name", f"trial-{trial.number}", "--values", json.dumps(values)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                epoch, accuracy = json.loads(line)
                best = max(best, accuracy)
                trial.report(accuracy, epoch)
                if trial.should_prune():
                    process.terminate()
                    raise optuna.TrialPruned
        return best

    study.optimize(objective, timeout=baseline.seconds_left)


def tune_with_ray(baseline: Baseline, seed: int) -> None:
    """The process that drives Ray Tune."""
    import random

    import ray
    from ray import tune

    ray.init(num_cpus=PROCESSES, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    space: dict[str, Any] = {}
    for name, each in baseline.search.space.ranges.items():
        if name == "optimizer":
            space[name] = tune.choice(list(each.values))
        elif name == "mini_batch_size":
            space[name] = tune.lograndint(each.minimum, each.maximum + 1)
        else:
            space[name] = (tune.loguniform if name in LOGARITHMIC else tune.uniform)(each.minimum, each.maximum)

    def trainable(config: dict[str, Any]) -> None:
        def on_epoch(epoch: int, accuracy: float) -> bool:
            tune.report({"accuracy": accuracy, "epochs": epoch + 1})
            return True

        baseline.train(config, f"trial-{random.SystemRandom().getrandbits(48):x}", on_epoch)

    tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space=space,
        tune_config=tune.TuneConfig(
            metric="accuracy",
            mode="max",
            num_samples=10_000,
            time_budget_s=baseline.seconds_left,
            scheduler=tune.schedulers.ASHAScheduler(time_attr="epochs", max_t=EPOCHS, grace_period=1),
            search_alg=tune.search.BasicVariantGenerator(random_state=seed, max_concurrent=PROCESSES),
        ),
        run_config=tune.RunConfig(storage_path=str(baseline.folder / "ray"), verbose=0),
    ).fit()


def train_one(baseline: Baseline, name: str, values: dict[str, Any]) -> None:
    """The process of one of Optuna's trials: a line of JSON for each epoch."""

    def on_epoch(epoch: int, accuracy: float) -> bool:
        print(json.dumps([epoch, accuracy]), flush=True)
        return True

    baseline.train(values, name, on_epoch)


def has_ray() -> bool:
    """Whether Ray Tune's environment is there."""
    found = "import importlib.util, sys; sys.exit(importlib.util.find_spec('ray') is None)"
    return RAY_PYTHON.exists() and subprocess.run([RAY_PYTHON, "-c", found]).returncode == 0


def _command(
    python: str | Path, what: str, dataset: Path, folder: Path, seconds: float, began: float, seed: int
) -> list[str]:
    options = {"dataset": dataset, "folder": folder, "seconds": seconds, "began": began, "seed": seed}
    return [str(python), __file__, what, *(f"--{name}={value}" for name, value in options.items())]


def main() -> None:
    """What the processes of a search are started with; nothing for a user."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("optuna", "ray", "trial"))
    options = {"dataset": Path, "folder": Path, "seconds": float, "began": float, "seed": int}
    for name, kind in options.items():
        parser.add_argument(f"--{name}", type=kind, required=True)
    parser.add_argument("--name")
    parser.add_argument("--values", type=json.loads)
    arguments = parser.parse_args()
    baseline = Baseline(arguments.dataset, arguments.folder, arguments.began, arguments.seconds)
    if arguments.what == "optuna":
        optimize_with_optuna(baseline, arguments.seed)
    elif arguments.what == "ray":
        tune_with_ray(baseline, arguments.seed)
    else:
        train_one(baseline, arguments.name, arguments.values)


if __name__ == "__main__":
    main()
