"""The parameters that all tuning components share, in KFP's form, and the search that they describe.

KFP has no "not set" for numbers that every backend understands, so 0 (for failed trials -1) stands for it. And it
passes every number inside a JSON object as a float.
"""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from kfp_image_tuning.core.errors import ImageTuningError
from kfp_image_tuning.core.object_forms import restore_whole_numbers
from kfp_image_tuning.dataset.document import Dataset
from kfp_image_tuning.search.budget import Budget
from kfp_image_tuning.search.search import DatasetSummary, Search
from kfp_image_tuning.search.search_space import SearchSpace


@dataclass(frozen=True, kw_only=True)
class TuningSettings:
    """What is searched and what it may cost.

    Attributes:
        search_space: The user's changes to the preset.
        preset: ``documented`` or ``practical``.
        strategy: ``bayesian``, ``random``, ``grid`` or ``hyperband``.
        search_mode: ``conditional`` or ``flat``.
        max_trials: Trials in all.
        parallel_trials: Trials at a time; 0: as many as the engine has room for.
        epochs: Epochs of every trial; 0: the algorithm's default, or the search space's.
        max_seconds: Wall time of the search; 0: no limit.
        target_accuracy: Validation accuracy that is good enough; 0: none.
        patience: Trials in a row without a better one; 0: no limit.
        max_failed_trials: Failed trials that are tolerated; -1: the budget's default.
        stop_bad_trials: Whether bad trials are ended early.
        seed: Seed of the search and of training.
    """

    search_space: Mapping[str, Any] = field(default_factory=dict)
    preset: str = "documented"
    strategy: str = "bayesian"
    search_mode: str = "conditional"
    max_trials: int = 20
    parallel_trials: int = 0
    epochs: int = 0
    max_seconds: float = 0.0
    target_accuracy: float = 0.0
    patience: int = 0
    max_failed_trials: int = -1
    stop_bad_trials: bool = True
    seed: int = 0

    def to_space(self) -> SearchSpace:
        """The search space, not yet completed for a data set.

        Raises:
            SearchSpaceError: With every change that cannot be applied.
        """
        return SearchSpace.customized(restore_whole_numbers(self.search_space), self.preset)  # type: ignore[arg-type]

    def to_budget(self) -> Budget:
        """The limits.

        Raises:
            BudgetError: With every limit that is out of its range.
        """
        return Budget(
            max_trials=self.max_trials,
            parallel_trials=self.parallel_trials or None,
            max_failed_trials=None if self.max_failed_trials == -1 else self.max_failed_trials,
            max_seconds=self.max_seconds or None,
            target_objective=self.target_accuracy or None,
            patience=self.patience or None,
        )

    def to_search(self, dataset: Dataset) -> Search:
        """The search on a data set.

        Raises:
            ImageTuningError: With everything that is wrong.
        """
        return self.to_search_on(summarize(dataset))

    def to_search_on(self, dataset: DatasetSummary) -> Search:
        """The search on a data set of which no more is known than a search needs.

        Raises:
            ImageTuningError: With everything that is wrong.
        """
        problems: list[str] = []
        for part in (self.to_space, self.to_budget):
            try:
                part()
            except ImageTuningError as error:
                problems += error.problems
        if problems:
            raise ImageTuningError.from_problems(problems)
        return Search.for_dataset(
            self.to_space(),
            dataset,
            epochs=self.epochs or None,
            budget=self.to_budget(),
            strategy=self.strategy,
            search_mode=self.search_mode,
            stop_bad_trials=self.stop_bad_trials,
            seed=self.seed,
        )


USUAL_FRACTION = 0.1
"""The fraction of validation and of test images where none is asked for."""

_OPTIONS: Mapping[str, str] = {
    "preset": "--preset",
    "strategy": "--strategy",
    "search_mode": "--search-mode",
    "max_trials": "--max-trials",
    "parallel_trials": "--parallel-trials",
    "epochs": "--epochs",
    "max_seconds": "--max-seconds",
    "target_accuracy": "--target-accuracy",
    "patience": "--patience",
    "max_failed_trials": "--max-failed-trials",
    "seed": "--seed",
}
"""The command line's option for each setting that is a plain value."""


def reproduction_command(settings: TuningSettings, dataset: Dataset, engine: Sequence[str] = ()) -> str:
    """What to type to prepare the same images, and run the same search, again.

    Args:
        settings: The search's.
        dataset: The data set.
        engine: The options that name another engine than this machine's, and what only that engine has.
    """
    words = ["kfp-image-tuning", "run", "--data", dataset.source.uri]
    words += ["--image-shape", ",".join(map(str, dataset.image_shape))]
    for split, fraction in (dataset.fractions or {}).items():
        if split != "train" and fraction != USUAL_FRACTION:
            words += [f"--{split}-fraction", f"{fraction:g}"]
    if (shards := len(dataset.split("train").shards)) > 1:
        words += ["--shards", str(shards)]
    for setting in fields(settings):
        value = getattr(settings, setting.name)
        if setting.name in _OPTIONS and value != setting.default:
            words += [_OPTIONS[setting.name], f"{value:g}" if isinstance(value, float) else str(value)]
    if settings.search_space:
        words += ["--search-space", json.dumps(restore_whole_numbers(settings.search_space))]
    if not settings.stop_bad_trials:
        words.append("--no-stop-bad-trials")
    return shlex.join([*words, *engine, "--output", "runs/again"])


def summarize(dataset: Dataset) -> DatasetSummary:
    """What a search needs to know of a data set."""
    return DatasetSummary(
        fingerprint=dataset.fingerprint,
        num_classes=len(dataset.classes),
        num_training_samples=dataset.split("train").images,
        num_validation_samples=dataset.split("validation").images,
        image_shape=dataset.image_shape,
        multi_label=dataset.multi_label,
    )
