"""What a search finds in a given time, against plain Optuna and Ray Tune: same images, network, bounds and cores.

MNIST-5k, ResNet-20, 3 epochs, two trials at a time. The bounds are AWS's documented ones for all.

* ours: the local engine, as ``kfp-image-tuning run`` uses it;
* plain Optuna: TPE and the median pruner in two processes that share a journal; even ranges within the bounds;
* Ray Tune: random search and ASHA over epochs, the same even ranges; if Ray is there.

The baselines train by the same trainer from the same decoded images in processes that stay warm. Told are the accuracy
on test images, which no search sees, of the model that validation calls best after ``--early`` seconds and at the end.
The engine's first guesses and its early stopping were set with trainings on these same digits in view, which favours
it; on other images it may do worse. Times are wall times: run it on an idle machine::

    python benchmarks/local_search.py [--seconds 300] [--only ours] [--seed 0]

Ray Tune wants much of an environment, so it gets its own: ``python -m venv .venv-ray`` and
``.venv-ray/bin/pip install 'ray[tune]' -e '.[local,demo]'``.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RAY_PYTHON = Path(os.environ.get("RAY_PYTHON", ROOT / ".venv-ray" / "bin" / "python"))
EPOCHS, PROCESSES = 3, 2
WAYS = ("ours", "optuna", "ray")
os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


class Standing:
    """The best model so far of one way, as all of its processes write it down."""

    def __init__(self, folder: Path) -> None:
        self._lines = folder / "standing.jsonl"

    def add(self, began: float, objective: float, model: Path) -> None:
        """Note what a model reached."""
        line = json.dumps({"seconds": time.time() - began, "objective": objective, "model": str(model)})
        with self._lines.open("a") as file:
            file.write(line + "\n")

    def best_until(self, seconds: float) -> dict[str, Any] | None:
        """The model that was the best after so many seconds."""
        lines = self._lines.read_text().splitlines() if self._lines.exists() else []
        known = [entry for entry in map(json.loads, lines) if entry["seconds"] <= seconds]
        return max(known, key=lambda entry: entry["objective"], default=None)

    def trials(self) -> int:
        """Trials that finished an epoch."""
        lines = self._lines.read_text().splitlines() if self._lines.exists() else []
        return len({json.loads(line)["model"] for line in lines})


def make_search(dataset: Path, seconds: float, seed: int) -> Any:
    from kfp_image_tuning.components.tuning_settings import TuningSettings
    from kfp_image_tuning.dataset.document import Dataset

    settings = TuningSettings(
        epochs=EPOCHS, max_trials=10_000, max_seconds=seconds, parallel_trials=PROCESSES, seed=seed
    )
    return settings.to_search(Dataset.load(dataset))


def search_ours(dataset: Path, folder: Path, seconds: float, seed: int) -> int:
    """Run the local engine; every model that was the best at some time is kept for the standing."""
    from kfp_image_tuning.components.local_tuning.engine import LocalEngine
    from kfp_image_tuning.components.local_tuning.journal import JOURNAL_NAME
    from kfp_image_tuning.components.local_tuning.trial_files import TrialFiles
    from kfp_image_tuning.tuning.engine import run_search

    standing, files = Standing(folder), TrialFiles(folder / "search")
    journal = folder / "search" / JOURNAL_NAME
    over = threading.Event()
    began = time.time()

    def watch() -> None:
        best, names = 0.0, {}
        while not over.wait(0.2):
            lines = journal.read_text().splitlines() if journal.exists() else []
            for event in map(json.loads, lines[:-1]):
                if event["event"] == "started":
                    names[event["number"]] = event["name"]
                elif event["event"] == "epoch" and event["epoch"]["validation_accuracy"] > best:
                    best = event["epoch"]["validation_accuracy"]
                    model = folder / "models" / f"{names[event['number']]}-{event['epoch']['epoch']}"
                    files.copy_model(names[event["number"]], model)
                    standing.add(began, best, model)

    watcher = threading.Thread(target=watch)
    watcher.start()
    engine = LocalEngine(dataset, folder / "search", folder / "model")
    try:
        result = run_search(engine, make_search(dataset, seconds, seed), folder / "result.json", show=_show)
    finally:
        over.set()
        watcher.join()
    standing.add(began, (result.best_trial and result.best_trial.objective) or 0.0, folder / "model")
    return len(result.trials)


class EvenTrials:
    """What the baselines' trials have in common: even ranges and the trainer."""

    def __init__(self, dataset: Path, folder: Path, began: float, seconds: float) -> None:
        import torch

        from kfp_image_tuning.dataset.document import Dataset
        from kfp_image_tuning.dataset.pixel_store import PixelStore

        torch.set_num_threads(1)
        prepared = Dataset.load(dataset)
        self.search = make_search(dataset, seconds, 0)
        self.classes = prepared.classes
        self.stores = [
            PixelStore.open(
                prepared.split(name).record_paths,
                image_shape=prepared.image_shape,
                stored_size=prepared.split(name).stored_size,
                cache_directory=folder.parent / "images",
            )
            for name in ("train", "validation")
        ]
        self.folder, self.began, self.ends = folder, began, began + seconds
        self.standing = Standing(folder)

    def train(self, values: dict[str, Any], name: str, seed: int, on_epoch: Callable[[int, float], bool]) -> float:
        """Train, until ``on_epoch`` says no or the time is over."""
        from kfp_image_tuning.trainer.training import EpochReport, train

        model = self.folder / "models" / name
        best = 0.0

        def after_epoch(report: EpochReport) -> bool:
            nonlocal best
            best = max(best, report.validation_accuracy)
            self.standing.add(self.began, best, model)
            return on_epoch(report.epoch, report.validation_accuracy) and time.time() < self.ends

        train(
            self.search.complete(values),
            *self.stores,
            classes=self.classes,
            model_directory=model,
            seed=seed,
            on_epoch=after_epoch,
            on_progress=lambda _: time.time() < self.ends,
            log=lambda _: None,
        )
        return best


def search_with_optuna(dataset: Path, folder: Path, seconds: float, seed: int) -> int:
    """Two processes that each call ``study.optimize`` on the same study."""
    began = time.time()
    command = [sys.executable, __file__, "--process", "--dataset", dataset, "--folder", folder, "--began", str(began)]
    processes = [
        subprocess.Popen([*command, "--seconds", str(seconds), "--seed", str(seed + number)])
        for number in range(PROCESSES)
    ]
    if any(process.wait() for process in processes):
        sys.exit("plain Optuna failed")
    return Standing(folder).trials()


def optimize(dataset: Path, folder: Path, began: float, seconds: float, seed: int) -> None:
    """One of Optuna's processes."""
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    trials = EvenTrials(dataset, folder, began, seconds)
    study = optuna.create_study(
        study_name="baseline",
        storage=JournalStorage(JournalFileBackend(str(folder / "optuna.journal"))),
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(),
        load_if_exists=True,
    )

    def objective(trial: optuna.Trial) -> float:
        ranges = trials.search.space.ranges
        values: dict[str, Any] = {"optimizer": trial.suggest_categorical("optimizer", ranges["optimizer"].values)}
        for name, values_range in trials.search.space.active_ranges(values["optimizer"]).items():
            suggest = trial.suggest_int if name == "mini_batch_size" else trial.suggest_float
            values[name] = suggest(name, values_range.minimum, values_range.maximum)

        def on_epoch(epoch: int, accuracy: float) -> bool:
            trial.report(accuracy, epoch)
            return not trial.should_prune()

        return trials.train(values, f"trial-{trial.number}", trial.number, on_epoch)

    study.optimize(objective, timeout=began + seconds - time.time())


def search_with_ray(dataset: Path, folder: Path, seconds: float, seed: int) -> int:
    """Ray Tune in its own environment."""
    command = [RAY_PYTHON, __file__, "--ray-process", "--dataset", dataset, "--folder", folder]
    subprocess.run([*command, "--seconds", str(seconds), "--seed", str(seed)], check=True)
    return Standing(folder).trials()


def tune_with_ray(dataset: Path, folder: Path, seconds: float, seed: int) -> None:
    """The process that drives Ray Tune; its start counts."""
    began = time.time()
    import random

    import ray
    from ray import tune

    ray.init(num_cpus=PROCESSES, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    search = make_search(dataset, seconds, 0)
    ranges = {name: each for name, each in search.space.ranges.items() if name != "optimizer"}
    space: dict[str, Any] = {name: tune.uniform(each.minimum, each.maximum) for name, each in ranges.items()}
    size = ranges["mini_batch_size"]
    space |= {
        "mini_batch_size": tune.randint(size.minimum, size.maximum + 1),
        "optimizer": tune.choice(list(search.space.optimizers)),
    }

    def trainable(config: dict[str, Any]) -> None:
        trials = EvenTrials(dataset, folder, began, seconds)

        def on_epoch(epoch: int, accuracy: float) -> bool:
            tune.report({"accuracy": accuracy, "epochs": epoch + 1})
            return True

        name = f"trial-{random.SystemRandom().getrandbits(48):x}"
        trials.train(config, name, 0, on_epoch)

    tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space=space,
        tune_config=tune.TuneConfig(
            metric="accuracy",
            mode="max",
            num_samples=10_000,
            time_budget_s=began + seconds - time.time(),
            scheduler=tune.schedulers.ASHAScheduler(time_attr="epochs", max_t=EPOCHS, grace_period=1),
            search_alg=tune.search.BasicVariantGenerator(random_state=seed, max_concurrent=PROCESSES),
        ),
        run_config=tune.RunConfig(storage_path=str(folder / "ray"), verbose=0),
    ).fit()


def test_accuracy(dataset: Path, model: Path, cache: Path) -> float:
    """Share of test images that a model gets right."""
    from kfp_image_tuning.dataset.document import Dataset
    from kfp_image_tuning.dataset.pixel_store import PixelStore
    from kfp_image_tuning.trainer.model_files import load_model

    prepared = Dataset.load(dataset)
    split = prepared.split("test")
    store = PixelStore.open(split.record_paths, image_shape=prepared.image_shape, cache_directory=cache)
    return float((load_model(model).predict(store.images).argmax(axis=1) == store.labels).mean())


def compare(arguments: argparse.Namespace) -> None:
    from kfp_image_tuning.components.data_preparation.preparation import prepare_dataset
    from kfp_image_tuning.pipelines.demo_images import write_demo_images

    searches = {"ours": search_ours, "optuna": search_with_optuna, "ray": search_with_ray}
    names = {"ours": "ours", "optuna": "plain Optuna, TPE + median pruner", "ray": "Ray Tune, random + ASHA"}
    ways = [way for way in WAYS if way in (arguments.only or WAYS)]
    if "ray" in ways and not _has_ray():
        ways.remove("ray")
        print(
            f"Ray Tune is left out, {RAY_PYTHON} has it not. How to add it stands at the head of {Path(__file__).name}"
        )
    early, seconds = min(arguments.early, arguments.seconds), arguments.seconds
    rows = []
    with tempfile.TemporaryDirectory(prefix="local-search-") as temporary:
        place = Path(temporary)
        write_demo_images(place / "source")
        prepare_dataset(str(place / "source"), place / "dataset", progress=lambda _: None)
        for way in ways:
            folder = place / way
            folder.mkdir()
            print(f"{names[way]}: {seconds:g} s …", flush=True)
            trials = searches[way](place / "dataset", folder, seconds, arguments.seed)
            rows.append((way, trials, *(_accuracies(place, Standing(folder), end) for end in (early, seconds + 60))))
    print(f"\nMNIST-5k, ResNet-20, {EPOCHS} epochs, {PROCESSES} trials at a time; accuracy in %: validation, test")
    print(f"{'':36}{'trials':>7}{f'after {early:g} s':>18}{f'after {seconds:g} s':>18}")
    for way, trials, first, last in rows:
        print(f"{names[way]:36}{trials:>7}{_show_accuracies(first):>18}{_show_accuracies(last):>18}")
    for way, _, _, last in rows[1:]:
        print(f"Test errors of {names[way]} to ours: {(1.001 - last[1]) / (1.001 - rows[0][3][1]):.1f} to 1")


def _has_ray() -> bool:
    found = "import importlib.util, sys; sys.exit(importlib.util.find_spec('ray') is None)"
    return RAY_PYTHON.exists() and subprocess.run([RAY_PYTHON, "-c", found]).returncode == 0


def _accuracies(place: Path, standing: Standing, seconds: float) -> tuple[float, float]:
    best = standing.best_until(seconds)
    if best is None:
        return 0.0, 0.0
    return best["objective"], test_accuracy(place / "dataset", Path(best["model"]), place / "images")


def _show_accuracies(accuracies: tuple[float, float]) -> str:
    return f"{accuracies[0]:.1%}, {accuracies[1]:.1%}"


def _show(line: str) -> None:
    print(f"  {line}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300.0, help="wall time of each search")
    parser.add_argument("--early", type=float, default=100.0, help="also tell what was there after so many seconds")
    parser.add_argument("--only", action="append", choices=WAYS, help="one way alone; may be given twice")
    parser.add_argument("--seed", type=int, default=0)
    for hidden in ("--process", "--ray-process"):
        parser.add_argument(hidden, action="store_true", help=argparse.SUPPRESS)
    for hidden, kind in (("--dataset", Path), ("--folder", Path), ("--began", float)):
        parser.add_argument(hidden, type=kind, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.process:
        optimize(arguments.dataset, arguments.folder, arguments.began, arguments.seconds, arguments.seed)
    elif arguments.ray_process:
        tune_with_ray(arguments.dataset, arguments.folder, arguments.seconds, arguments.seed)
    else:
        compare(arguments)


if __name__ == "__main__":
    main()
