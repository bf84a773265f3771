"""The settings that all tuning components share, and the search that they describe.

KFP passes every number inside a JSON object as a float.
"""

from dataclasses import dataclass

from kfp_image_tuning.core.errors import ImageTuningError
from kfp_image_tuning.core.object_forms import restore_whole_numbers
from kfp_image_tuning.dataset.document import Dataset
from kfp_image_tuning.options.declared import BudgetOptions, SearchOptions
from kfp_image_tuning.search.budget import Budget
from kfp_image_tuning.search.search import DatasetSummary, Search
from kfp_image_tuning.search.search_space import SearchSpace


@dataclass(frozen=True, kw_only=True)
class TuningSettings(SearchOptions, BudgetOptions):
    """What is searched and what it may cost."""

    def to_space(self) -> SearchSpace:
        """The search space, not yet completed for a data set.

        Raises:
            SearchSpaceError: With every change that cannot be applied.
        """
        return SearchSpace.customized(restore_whole_numbers(self.search_space), self.preset)

    def to_budget(self) -> Budget:
        """The limits.

        Raises:
            BudgetError: With every limit that is out of its range.
        """
        return Budget(
            max_trials=self.max_trials,
            parallel_trials=self.parallel_trials,
            max_failed_trials=self.max_failed_trials,
            max_seconds=self.max_seconds,
            target_objective=self.target_accuracy,
            patience=self.patience,
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
            epochs=self.epochs,
            budget=self.to_budget(),
            strategy=self.strategy,
            search_mode=self.search_mode,
            stop_bad_trials=self.stop_bad_trials,
            seed=self.seed,
        )


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
