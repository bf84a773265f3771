"""Learning curves that were recorded: 96 trials within AWS's ranges, drawn by chance but mostly
from where the local search looks first, eight epochs each, on scanned digits.

`recorded_curve` plays the one whose hyperparameters are nearest. Recorded anew (about eight minutes on two cores) with:

    python -m tests.emulators.recorded_curves
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from kfp_image_tuning.search.ranges import CategoricalRange
from kfp_image_tuning.search.search_space import DOCUMENTED_RANGES

FILE = Path(__file__).with_suffix(".json")
TRIALS, EPOCHS, IMAGES_PER_CLASS = 96, 8, 80


def recorded_curve(hyperparameters: Mapping[str, str], epochs: int) -> Sequence[float]:
    """The accuracies of the recorded trial that is nearest, the last one again and again if more are wanted."""
    alike = [trial for trial in _recorded() if trial["hyperparameters"]["optimizer"] == hyperparameters["optimizer"]]
    nearest = min(alike, key=lambda trial: _distance(trial["hyperparameters"], hyperparameters))
    accuracies: list[float] = nearest["accuracies"]
    return (accuracies + accuracies[-1:] * epochs)[:epochs]


def _distance(recorded: Mapping[str, Any], wanted: Mapping[str, str]) -> float:
    """Squared distance on the scales on which the ranges are searched."""
    total = 0.0
    for name, values in DOCUMENTED_RANGES.items():
        if name in recorded and name in wanted and not isinstance(values, CategoricalRange):
            total += (values.to_unit(recorded[name]) - values.to_unit(float(wanted[name]))) ** 2
    return total


@cache
def _recorded() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def main() -> None:
    """Record the curves."""
    from kfp_image_tuning.engines.local.engine import LocalEngine
    from kfp_image_tuning.engines.run import run_search
    from kfp_image_tuning.preparation.preparation import prepare_dataset
    from kfp_image_tuning.steps.tuning_settings import TuningSettings

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _write_images(folder / "source")
        dataset = prepare_dataset(str(folder / "source"), folder / "dataset", fractions=(0.7, 0.29, 0.01))
        settings = TuningSettings(
            epochs=EPOCHS, max_trials=TRIALS, max_failed_trials=TRIALS, strategy="random", stop_bad_trials=False
        )
        search = settings.to_search(dataset)
        # By chance, but mostly where a search that guesses looks: of trainings that fail there is enough anyway.
        guessing = replace(search, strategy="bayesian").with_prior()
        engine = LocalEngine(dataset.directory, folder / "search", folder / "model")
        result = run_search(engine, engine.plan(replace(search, prior=guessing.prior)), folder / "result.json")
    curves = [
        {
            "hyperparameters": {
                name: float(f"{value:.4g}") if isinstance(value, float) else value
                for name, value in sorted(trial.hyperparameters.items())
            },
            "accuracies": [round(epoch.validation_accuracy, 4) for epoch in trial.history],
        }
        for trial in result.trials
        if trial.history
    ]
    FILE.write_text("[\n" + ",\n".join(json.dumps(curve) for curve in curves) + "\n]\n", encoding="utf-8")


def _write_images(folder: Path) -> None:
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    data = load_digits()
    for digit in range(10):
        (folder / f"digit-{digit}").mkdir(parents=True)
        for number, image in enumerate(data.images[data.target == digit][:IMAGES_PER_CLASS]):
            Image.fromarray((image * 15.9).astype(np.uint8)).save(folder / f"digit-{digit}" / f"{number:03}.png")


if __name__ == "__main__":
    main()
