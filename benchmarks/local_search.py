"""The local search against plain Optuna and Ray Tune: which accuracy it reaches on test images, and how soon.

ResNet-20, three epochs a trial, two processes of one thread, within AWS's documented ranges. Who they are and how they
are used stands in ``search_baselines.py``. Two data sets of real images:

* MNIST-5k: 5,000 handwritten digits, 28x28, 500 of them for test: a standard error of 0.6 points on every accuracy;
* scikit-learn's digits: 1,797 from another source, 8x8 made 16x16, 359 of them for test; a fifth of the time.

Told is the accuracy on the test images, which no search sees, of the model that validation calls best after a third of
the time and at the end; the mean over seeds, and each. A seed decides what is suggested, not which images are for test.

What was set on which data: where the engine looks first (`USUALLY_GOOD`, `MINI_BATCHES`) and when it ends bad trials
were chosen by trainings on MNIST-5k, which favours it there. Nothing of it was ever changed for, or tried on,
scikit-learn's digits before they were measured. Times are wall times: run it on an idle machine::

    python benchmarks/local_search.py [--seeds 0,1,2] [--data mnist] [--only ours] [--seconds 300]

Ray Tune wants much of an environment, so it gets its own: ``make bench`` makes it, and so does
``make .venv-ray/.installed``.
"""

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.search_baselines import (
    EPOCHS,
    PROCESSES,
    RAY_PYTHON,
    Standing,
    has_ray,
    make_search,
    search_with_optuna,
    search_with_ray,
)

NAMES = {"ours": "ours", "optuna": "plain Optuna, TPE + median pruner", "ray": "Ray Tune, random + ASHA"}
DATA = {"mnist": "MNIST-5k", "digits": "scikit-learn's digits"}
SHARES_OF_TIME = {"mnist": 1.0, "digits": 0.2}
EARLY = 1 / 3
FRACTIONS = {"mnist": (0.8, 0.1, 0.1), "digits": (0.6, 0.2, 0.2)}
DIGITS_SIDE = 16

Search = Callable[[Path, Path, float, int], int]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[0, 1, 2])
    parser.add_argument("--seconds", type=float, default=300.0, help="wall time of each search on MNIST-5k")
    parser.add_argument("--only", action="append", choices=NAMES, help="one way alone; may be given twice")
    parser.add_argument("--data", action="append", choices=DATA, help="one data set alone")
    arguments = parser.parse_args()
    ways = [way for way in NAMES if way in (arguments.only or NAMES)]
    if "ray" in ways and not has_ray():
        ways.remove("ray")
        print(f"Ray Tune is left out, {RAY_PYTHON} has it not; make it with `make .venv-ray/.installed`")
    for data in arguments.data or DATA:
        compare(data, ways, arguments.seeds, arguments.seconds * SHARES_OF_TIME[data])


def compare(data: str, ways: Sequence[str], seeds: Sequence[int], seconds: float) -> None:
    """Run every search on a data set, and tell how far they came."""
    searches: dict[str, Search] = {"ours": search_ours, "optuna": search_with_optuna, "ray": search_with_ray}
    rows = []
    with tempfile.TemporaryDirectory(prefix="local-search-") as temporary:
        place = Path(temporary)
        prepare(data, place)
        # Ways take turns, so that none has all of a machine's busy time.
        reached: dict[str, list[tuple[float, float, int]]] = {way: [] for way in ways}
        for seed in seeds:
            for way in ways:
                folder = place / f"{way}-{seed}"
                folder.mkdir()
                print(f"{DATA[data]}, seed {seed}, {NAMES[way]}: {seconds:g} s …", flush=True)
                trials = searches[way](place / "dataset", folder, seconds, seed)
                early, late = (find_test_accuracy(place, folder, end) for end in (EARLY * seconds, seconds + 60))
                print(f"  test accuracy {early:.1%}, then {late:.1%}; {trials} trials", flush=True)
                reached[way].append((early, late, trials))
        rows = [(NAMES[way], *zip(*found, strict=True)) for way, found in reached.items()]
    print(
        f"\n{DATA[data]}, ResNet-20, {EPOCHS} epochs, {PROCESSES} trials at a time, seeds {seeds}; test accuracy in %:"
    )
    print(f"{'':34} {f'after {EARLY * seconds:g} s':24} {f'after {seconds:g} s':24} trials")
    for name, first, last, counts in rows:
        print(f"{name:34} {show(first):24} {show(last):24} {' '.join(map(str, counts))}")
    for name, _, last, _ in rows[1:] if ways[0] == "ours" else []:
        print(f"Test errors of {name} to ours: {(1.001 - mean(last)) / (1.001 - mean(rows[0][2])):.1f} to 1")
    print()


def prepare(data: str, place: Path) -> None:
    """Write a data set's images and prepare them."""
    from kfp_image_tuning.cli.demo_images import write_demo_images
    from kfp_image_tuning.preparation.preparation import prepare_dataset

    (write_demo_images if data == "mnist" else write_digits)(place / "source")
    prepare_dataset(str(place / "source"), place / "dataset", fractions=FRACTIONS[data], progress=lambda _: None)


def write_digits(folder: Path) -> None:
    """Scikit-learn's digits, of 8x8 pixels with 17 shades, enlarged."""
    import cv2
    from sklearn.datasets import load_digits

    digits = load_digits()
    for number, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = folder / str(label) / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = (image * 255 / 16).round().astype("uint8")
        cv2.imwrite(str(path), cv2.resize(pixels, (DIGITS_SIDE, DIGITS_SIDE), interpolation=cv2.INTER_LINEAR))


def search_ours(dataset: Path, folder: Path, seconds: float, seed: int) -> int:
    """Run the local engine; every model that was the best at some time is kept for the standing."""
    from kfp_image_tuning.engines.local.engine import LocalEngine
    from kfp_image_tuning.engines.local.journal import JOURNAL_NAME
    from kfp_image_tuning.engines.local.trial_files import TrialFiles
    from kfp_image_tuning.engines.run import run_search

    standing, files = Standing(folder), TrialFiles(folder / "search")
    journal = folder / "search" / JOURNAL_NAME
    over = threading.Event()
    began = time.time()

    def watch() -> None:
        best, names = (0.0, 0.0), {}
        while not over.wait(0.2):
            lines = journal.read_text().splitlines() if journal.exists() else []
            for event in map(json.loads, lines[:-1]):
                if event["event"] == "started":
                    names[event["number"]] = event["name"]
                elif event["event"] == "epoch" and (reached := _merit(event["epoch"])) > best:
                    best = reached
                    model = folder / "models" / f"{names[event['number']]}-{event['epoch']['epoch']}"
                    files.copy_model(names[event["number"]], model)
                    standing.add(began, best[0], model, names[event["number"]])

    watcher = threading.Thread(target=watch)
    watcher.start()
    engine = LocalEngine(dataset, folder / "search", folder / "model")
    try:
        plan = engine.plan(make_search(dataset, seconds, seed))
        result = run_search(engine, plan, folder / "result.json", show=_silence)
    finally:
        over.set()
        watcher.join()
    # At the end counts what the search itself calls the best.
    standing.add(began, 1.0, folder / "model", "best")
    return len(result.trials)


def find_test_accuracy(place: Path, folder: Path, seconds: float) -> float:
    """Share of test images that the best model after so many seconds gets right; 0 if there was none."""
    from kfp_image_tuning.dataset.document import Dataset
    from kfp_image_tuning.dataset.pixel_store import PixelStore
    from kfp_image_tuning.model.model_files import load_model

    best = Standing(folder).best_until(seconds)
    if best is None:
        return 0.0
    prepared = Dataset.load(place / "dataset")
    split = prepared.split("test")
    store = PixelStore.open(split.record_paths, image_shape=prepared.image_shape, cache_directory=place / "images")
    return float((load_model(Path(best["model"])).predict(store.images).argmax(axis=1) == store.labels).mean())


def show(accuracies: Sequence[float]) -> str:
    """Mean, and each."""
    each = " ".join(f"{accuracy:.1%}".rstrip("%") for accuracy in accuracies)
    return f"{mean(accuracies):.1%} ({each})".replace("%", "")


def _merit(epoch: dict[str, Any]) -> tuple[float, float]:
    return epoch["validation_accuracy"], -epoch["validation_loss"]


def _silence(_: str) -> None:
    """Progress would fill the screen."""


if __name__ == "__main__":
    main()
