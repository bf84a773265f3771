"""The one family of errors that users of this project meet.

A message says what was wrong (the value), where (file, field, trial), which rule it broke, and the way out. Where
several things are wrong, all are reported at once. Command lines and components print the message alone; a traceback
means a defect of ours. Each class has a code, which stays the same when the words change: what a log or an alert is
searched for. ``docs/troubleshooting.md`` is made from these classes: the first sentence of a docstring is what the
error means.
"""

from collections.abc import Iterable
from typing import ClassVar, Self

from kfp_image_tuning.core.console import printable


class ImageTuningError(Exception):
    """Something the user can fix.

    Attributes:
        code: What kind of error it is, in lower case with dashes; declared once in each class.
        way_out: What helps in most cases; the message of an error is more precise.
        exit_code: What the command line ends with: 2 if the command itself is wrong, else 1.
        problems: One complete sentence for each thing that is wrong; nothing in them acts on a terminal.
    """

    code: str = "image-tuning"
    way_out: ClassVar[str] = "Do what the message says."
    exit_code: ClassVar[int] = 1

    def __init__(self, *problems: str) -> None:
        self.problems: tuple[str, ...] = tuple(printable(problem) for problem in problems)
        super().__init__(*self.problems)

    @classmethod
    def from_problems(cls, problems: Iterable[str]) -> Self:
        """Build one error out of all the problems found."""
        return cls(*problems)

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return self.problems[0]
        return "\n".join([f"{len(self.problems)} problems:", *(f"  - {problem}" for problem in self.problems)])


class ParameterError(ImageTuningError):
    """Options or parameters of a run that cannot be what the user meant."""

    code = "parameters"
    way_out = "Correct the options that the message names; `--help` and the components' READMEs list what they accept."
    exit_code = 2


class SearchSpaceError(ImageTuningError):
    """A search space that the algorithm or the engine cannot search."""

    code = "search-space"
    way_out = "Correct the ranges that the message names; `kfp-image-tuning plan` shows the search space."
    exit_code = 2


class HyperparameterError(ImageTuningError):
    """Hyperparameters that the image classification algorithm would refuse."""

    code = "hyperparameters"
    way_out = (
        "Correct the values that the message names; `python -m kfp_image_tuning.trainer --help` lists all of them."
    )
    exit_code = 2


class BudgetError(ImageTuningError):
    """Limits of a search that contradict each other or the search."""

    code = "budget"
    way_out = "Change the limits that the message names: number of trials, trials at a time, epochs, time."
    exit_code = 2


class DatasetError(ImageTuningError):
    """Images or a data set that cannot be used as they are."""

    code = "dataset"
    way_out = (
        "Check the address and what is there: a folder with one folder for each class, an archive of one, a table, "
        "or a prepared data set. A damaged data set is prepared again with `kfp-image-tuning prepare`."
    )


class DocumentError(ImageTuningError):
    """A document (`dataset.json`, `result.json`, …) that is missing, damaged or of an unknown version."""

    code = "document"
    way_out = "Give the file that the step before has written, or use the release that wrote it."


class TrainingError(ImageTuningError):
    """A trial that cannot be trained as it was asked for."""

    code = "training"
    way_out = "Look at the end of the trial's log; often a smaller batch or image shape, or another model, helps."


class EngineError(ImageTuningError):
    """An engine that could not run, follow or finish the search."""

    code = "engine"
    way_out = (
        "Fix what the cluster or the service complains of, then run the same again: a search that has begun is resumed."
    )


class EngineOptionsError(EngineError):
    """Options or a search that the engine would refuse, found before anything is sent."""

    code = "engine-options"
    way_out = "Correct the options that the message names; [Katib](katib.md) and [SageMaker](sagemaker.md) list them."
    exit_code = 2


class StoreError(ImageTuningError):
    """An object store or web server that does not give or take what it was asked for."""

    code = "store"
    way_out = "Check the address, the credentials and their rights, and whether the server can be reached from here."


class FileError(ImageTuningError):
    """A file or folder that cannot be read or written."""

    code = "file"
    way_out = "Check the path and its permissions, or give another place."


class DiskError(FileError):
    """A disk without space."""

    code = "disk"
    way_out = "Make room, give another place, or give the step a larger volume."


class EncodingError(FileError):
    """A text or a file's name that is not in UTF-8."""

    code = "encoding"
    way_out = "Save the file as UTF-8; rename files whose names are not."


class NetworkError(ImageTuningError):
    """A connection that failed, from this machine to another."""

    code = "network"
    way_out = "Check the address, the network and the proxy, then try again."


class EnvironmentLackError(ImageTuningError):
    """A package that the command or the step needs and its environment lacks."""

    code = "environment"
    way_out = (
        "Install the extra that the message names. In a pod: use an image with everything in it, or compile the "
        "pipeline again with this release."
    )


class MemoryLackError(ImageTuningError):
    """A process that ran out of memory."""

    code = "memory"
    way_out = "Give the step more memory, or try smaller images or fewer trials at a time."


class DefectError(ImageTuningError):
    """A defect of kfp-image-tuning, shown with its traceback."""

    code = "unexpected"
    way_out = "Please report it, with the traceback and the versions that the message names."
