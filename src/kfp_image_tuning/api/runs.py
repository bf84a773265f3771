"""Runs of the whole pipeline, preparation and evaluation, from Python."""

from collections.abc import Mapping
from html import escape
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from kfp_image_tuning.api.arguments import Place, check_options
from kfp_image_tuning.api.models import Model, load_model
from kfp_image_tuning.api.options import PrepareOptions, TuneOptions
from kfp_image_tuning.core.errors import ParameterError

if TYPE_CHECKING:
    from kfp_image_tuning.dataset.document import Dataset
    from kfp_image_tuning.evaluation.evaluation import Evaluation
    from kfp_image_tuning.search.result import Trial


class Report(PathLike[str]):
    """A report: its path where one is wanted, the page itself in a notebook."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __fspath__(self) -> str:
        return str(self._path)

    def __repr__(self) -> str:
        return str(self._path)

    def _repr_html_(self) -> str:
        page = escape(self._path.read_text(encoding="utf-8"))
        return f'<iframe srcdoc="{page}" style="width: 100%; height: 800px; border: 0"></iframe>'


class Run:
    """What a run has left in its folder.

    Args:
        directory: The folder, as `tune` or ``kfp-image-tuning run`` made it.

    Raises:
        DocumentError: If the run has no result yet.
    """

    def __init__(self, directory: Place) -> None:
        from kfp_image_tuning.search.result import TuningResult

        self.directory = Path(directory)
        self.result: TuningResult = TuningResult.load(self.directory / "result.json")

    def __repr__(self) -> str:
        best = self.best
        reached = (
            f"best validation accuracy {best.objective:.1%}" if best and best.objective is not None else "no model"
        )
        return f"Run({str(self.directory)!r}: {len(self.result.trials)} trials, {reached})"

    @property
    def best(self) -> "Trial | None":
        """The best trial; None if none reached a model."""
        return self.result.best_trial

    @property
    def trials(self) -> Any:
        """A row for each trial: a pandas DataFrame where pandas is installed, otherwise a list of dictionaries."""
        rows = [
            {
                "trial": trial.name,
                "status": trial.status,
                "objective": trial.objective,
                "epochs": len(trial.history),
                **trial.hyperparameters,
            }
            for trial in self.result.trials
        ]
        try:
            import pandas
        except ModuleNotFoundError:
            return rows
        return pandas.DataFrame(rows)

    @property
    def model(self) -> Model:
        """The best trial's model."""
        return load_model(self.directory / "model")

    @property
    def evaluation(self) -> "Evaluation":
        """The model on images that no trial saw."""
        from kfp_image_tuning.evaluation.evaluation import Evaluation

        return Evaluation.load(self.directory / "evaluation.json")

    @property
    def passed(self) -> bool:
        """Whether the model is as good as ``min_accuracy`` and ``baseline`` ask for."""
        verdict = self.evaluation.verdict
        return verdict is None or verdict.passed

    @property
    def report(self) -> Report:
        """All of it on one page."""
        return Report(self.directory / "report.html")


def tune(
    data: Place,
    *,
    output: Place | None = None,
    resume: bool = False,
    engine: Literal["local", "katib", "sagemaker"] = "local",
    **options: Unpack[TuneOptions],
) -> Run:
    """Prepare images, search hyperparameters, evaluate the best model: what ``kfp-image-tuning run`` does.

    A script must guard its calls with ``if __name__ == "__main__":``, as for every program that starts processes.

    Args:
        data: A folder with one folder for each class, an archive of one, a table, or a data set that `prepare` made; a
            path or an address.
        output: Folder for everything that comes out; None: a new one in ``runs``.
        resume: Whether to continue the run in ``output``; options that are not given stay as they were.
        engine: Where trials run.
        **options: As of the command line, with underscores: ``max_trials=20``. `TuneOptions` lists them.

    Raises:
        ParameterError: With everything that is wrong with the options.
        ImageTuningError: If the run fails; what it has reached stays in the folder, for ``resume``.
        KeyboardInterrupt: If it was stopped; the same holds.
    """
    from kfp_image_tuning.cli.run import run_and_tell
    from kfp_image_tuning.cli.run_directory import RunDirectory

    given: dict[str, Any] = {"data": fspath(data), **check_options(options, TuneOptions)}
    if engine != "local":
        given["engine"] = engine
    if resume and output is None:
        raise ParameterError("output: is needed with resume: the folder of the run that is to continue")
    directory = RunDirectory(Path(output) if output is not None else _new_folder(fspath(data)))
    if resume:
        given = {**directory.load_options(), **given}
    else:
        directory.refuse_if_used()
    outcome = run_and_tell(directory, given)
    if outcome.error:
        raise KeyboardInterrupt(outcome.error[1])
    return Run(directory.path)


def prepare(data: Place, output: Place, **options: Unpack[PrepareOptions]) -> "Dataset":
    """Turn labelled images into a data set of record files, for `tune` on any engine.

    Args:
        data: A folder with one folder for each class, an archive of one, or a table; a path or an address.
        output: The data set's folder.
        **options: As of the command line, with underscores. `PrepareOptions` lists them.

    Raises:
        ParameterError: With everything that is wrong with the options.
        DatasetError: If no data set can be made of it.
    """
    from kfp_image_tuning.cli.pipeline_options import image_options
    from kfp_image_tuning.preparation.preparation import prepare_dataset
    from kfp_image_tuning.steps.data_preparation import preparation_arguments

    given: Mapping[str, Any] = {"data": fspath(data), **check_options(options, PrepareOptions)}
    return prepare_dataset(fspath(data), Path(output), **preparation_arguments(image_options(given)))


def evaluate(model: Place, dataset: Place, *, split: Literal["train", "validation", "test"] = "test") -> "Evaluation":
    """Measure a model on a split of a prepared data set.

    Args:
        model: The model's folder.
        dataset: The data set's folder.
        split: ``test`` for an honest answer: no trial has seen it.

    Raises:
        DatasetError: If the model does not belong to the data set.
        TrainingError: If the model cannot be read.
    """
    from kfp_image_tuning.evaluation.evaluation import evaluate_model

    return evaluate_model(Path(model), Path(dataset), split=split)


def _new_folder(data: str) -> Path:
    name = Path(data.rstrip("/").rpartition("/")[2]).stem or "images"
    number = 1
    while (folder := Path("runs") / f"{name}-{number}").exists():
        number += 1
    return folder
