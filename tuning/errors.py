"""The one family of errors that users of this project meet.

A message says what was wrong (the value), where (file, field, trial), which rule it broke, and the way out. Where
several things are wrong, all are reported at once. Command lines and components print the message alone; a traceback
means a defect of ours.
"""

from collections.abc import Iterable
from typing import Self


class ImageTuningError(Exception):
    """Something the user can mend.

    Attributes:
        problems: One complete sentence for each thing that is wrong.
    """

    def __init__(self, *problems: str) -> None:
        self.problems: tuple[str, ...] = problems
        super().__init__(*problems)

    @classmethod
    def from_problems(cls, problems: Iterable[str]) -> Self:
        """Build one error out of all the problems found."""
        return cls(*problems)

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return self.problems[0]
        return "\n".join([f"{len(self.problems)} problems:", *(f"  - {problem}" for problem in self.problems)])


class SearchSpaceError(ImageTuningError):
    """A search space that the algorithm or the engine cannot search."""


class HyperparameterError(ImageTuningError):
    """Hyperparameters that the image classification algorithm would refuse."""


class BudgetError(ImageTuningError):
    """A budget that contradicts itself or the search."""


class DatasetError(ImageTuningError):
    """Images or a data set that cannot be used as they are."""


class DocumentError(ImageTuningError):
    """A document (``dataset.json``, ``result.json``, …) of an unknown version or form."""


class TrainingError(ImageTuningError):
    """A trial that cannot be trained as it was asked for."""


class EngineError(ImageTuningError):
    """An engine that could not run, follow or finish the search."""
