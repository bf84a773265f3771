"""What a trial of the local engine costs besides its training, against a process of its own for each trial.

Trials on the same images: once by warm workers, once by ``python -m kfp_image_tuning.trainer`` for each; the images are
decoded already. Told is the median of what a trial takes from start to end beyond its epochs: in a warm worker building
the network, files and messages; in a process of its own also Python, torch, opening the images and validating a hundred
of them. Run it with ``python benchmarks/local_startup.py``.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}

from kfp_image_tuning.cli.demo_images import write_demo_images
from kfp_image_tuning.dataset.document import Dataset
from kfp_image_tuning.engines.local.engine import LocalEngine
from kfp_image_tuning.engines.run import run_search
from kfp_image_tuning.preparation.preparation import prepare_dataset
from kfp_image_tuning.search.result import TuningResult
from kfp_image_tuning.search.search import Search
from kfp_image_tuning.steps.tuning_settings import TuningSettings

TRIALS, PROCESSES = 8, 4
FRACTIONS = (0.08, 0.02, 0.9)
"""400 training images: the epochs are of no interest here."""


def time_warm_workers(dataset: Path, search: Search, folder: Path) -> tuple[list[float], list[float]]:
    """Seconds beyond its epochs of each trial, and from the end of one to the start of the next."""
    engine = LocalEngine(dataset, folder / "search", folder / "model")
    result: TuningResult = run_search(engine, engine.plan(search), folder / "result.json", show=lambda _: None)
    beyond = [trial.seconds - sum(epoch.seconds or 0.0 for epoch in trial.history) for trial in result.trials]
    between = [
        (after.started_at or 0.0) - (before.finished_at or 0.0)
        for before, after in zip(result.trials, result.trials[1:], strict=False)
    ]
    return beyond, between


def time_own_process(dataset: Path, search: Search, folder: Path) -> float:
    """Seconds of one trial in a process of its own beyond its epochs."""
    hyperparameters = search.complete({**search.space.default_values("sgd"), "optimizer": "sgd"})
    file = folder / "hyperparameters.json"
    file.write_text(json.dumps(hyperparameters.to_strings()))
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "kfp_image_tuning.trainer",
        "--dataset",
        dataset,
        "--hyperparameters",
        file,
    ]
    began = time.perf_counter()
    ended = subprocess.run(
        [*command, "--cache", folder / "cache", "--model-dir", folder / "own", "--threads", "1"],
        check=True,
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - began
    return seconds - sum(map(float, re.findall(r"Time cost=([\d.]+)", ended.stdout)))


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="local-startup-") as temporary:
        folder = Path(temporary)
        write_demo_images(folder / "source")
        prepare_dataset(str(folder / "source"), folder / "dataset", fractions=FRACTIONS, progress=lambda _: None)
        settings = TuningSettings(
            epochs=1, max_trials=TRIALS, parallel_trials=1, strategy="random", stop_bad_trials=False
        )
        search = settings.to_search(Dataset.load(folder / "dataset"))
        time_own_process(folder / "dataset", search, folder)
        own = [time_own_process(folder / "dataset", search, folder) for _ in range(PROCESSES)]
        beyond, between = time_warm_workers(folder / "dataset", search, folder)
    warm, cold = statistics.median(beyond), statistics.median(own)
    print(f"seconds of a trial beyond its epochs, medians of {TRIALS} and {PROCESSES}:")
    print(f"  {'warm worker':32}{warm:8.3f}   (and {statistics.median(between):.3f} between two trials)")
    print(f"  {'a process of its own':32}{cold:8.3f}   {cold / warm:.0f} times as much")


if __name__ == "__main__":
    main()
