"""Searches for the tests of this engine, in this process or as a program that a test may kill.

``python -m tests.engines.local.searching DATASET OUTPUT SETTINGS`` writes ``OUTPUT/result.json`` and
``OUTPUT/model``.
"""

import json
import sys
from pathlib import Path
from typing import Any

from kfp_image_tuning.dataset.document import Dataset
from kfp_image_tuning.engines.local.engine import LocalEngine
from kfp_image_tuning.engines.run import run_search
from kfp_image_tuning.search.result import Epoch, Trial, TuningResult
from kfp_image_tuning.search.search import Search
from kfp_image_tuning.steps.tuning_settings import TuningSettings

QUICK_SPACE = {"mini_batch_size": {"min": 8, "max": 60}}
"""240 images leave no updates to larger mini-batches."""


def make_search(dataset: Path, **settings: Any) -> Search:
    """A search of few short trials, one at a time unless told otherwise, as the tuning step makes it."""
    chosen = {"search_space": QUICK_SPACE, "epochs": 1, "max_trials": 4, "parallel_trials": 1, "seed": 7, **settings}
    return TuningSettings(**chosen).to_search(Dataset.load(dataset)).with_prior()


def make_engine(dataset: Path, output: Path) -> LocalEngine:
    """An engine that keeps its state in ``OUTPUT/search``."""
    return LocalEngine(dataset, output / "search", output / "model")


def tune(dataset: Path, output: Path, **settings: Any) -> TuningResult:
    """Run a search to its end."""
    search = make_search(dataset, **settings)
    engine = make_engine(dataset, output)
    return run_search(engine, engine.plan(search), output / "result.json", show=lambda _: None)


def what_was_tried(result: TuningResult) -> list[tuple[str, str, dict[str, Any], float | None, list[float]]]:
    """All that the same seed must give again: everything but the times."""
    return [
        (t.name, t.status, dict(t.hyperparameters), t.objective, [epoch.validation_accuracy for epoch in t.history])
        for t in result.trials
    ]


def make_trial(number: int, accuracies: list[float] = [], **values: Any) -> Trial:  # noqa: B006 - never changed
    """A trial that reached these accuracies after its epochs."""
    history = tuple(Epoch(epoch=epoch, validation_accuracy=accuracy) for epoch, accuracy in enumerate(accuracies))
    best = max(accuracies, default=None)
    return Trial(
        **{
            "name": f"trial-{number + 1:03}",
            "status": "completed",
            "hyperparameters": {},
            "objective": best,
            "history": history,
            **values,
        }
    )


if __name__ == "__main__":
    dataset, output, settings = sys.argv[1:]
    tune(Path(dataset), Path(output), **json.loads(settings))
