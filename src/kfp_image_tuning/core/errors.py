"""The one family of errors that users of this project meet.

A message says what was wrong (the value), where (file, field, trial), which rule it broke, and the way out. Where
several things are wrong, all are reported at once. Command lines and components print the message alone; a traceback
means a defect of ours. Each class has a code, which stays the same when the words change: what a log or an alert is
searched for.
"""

from collections.abc import Iterable
from typing import ClassVar, Self


class ImageTuningError(Exception):
    """Something the user can mend.

    Attributes:
        code: What kind of error it is, in lower case with dashes; declared once in each class.
        problems: One complete sentence for each thing that is wrong.
    """

    code: ClassVar[str] = "image-tuning"

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


class ParameterError(ImageTuningError):
    """Parameters of a run that cannot be what the user meant."""

    code = "parameters"


class SearchSpaceError(ImageTuningError):
    """A search space that the algorithm or the engine cannot search."""

    code = "search-space"


class HyperparameterError(ImageTuningError):
    """Hyperparameters that the image classification algorithm would refuse."""

    code = "hyperparameters"


class BudgetError(ImageTuningError):
    """A budget that contradicts itself or the search."""

    code = "budget"


class DatasetError(ImageTuningError):
    """Images or a data set that cannot be used as they are."""

    code = "dataset"


class DocumentError(ImageTuningError):
    """A document (``dataset.json``, ``result.json``, …) of an unknown version or form."""

    code = "document"


class TrainingError(ImageTuningError):
    """A trial that cannot be trained as it was asked for."""

    code = "training"


class EngineError(ImageTuningError):
    """An engine that could not run, follow or finish the search."""

    code = "engine"


class StoreError(ImageTuningError):
    """An object store or web server that does not give or take what it was asked for."""

    code = "store"
