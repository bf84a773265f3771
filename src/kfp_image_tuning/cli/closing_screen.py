"""The last screen of a run: how good the model is, what made it, where everything is, what to do next."""

from pathlib import Path
from typing import Any

from kfp_image_tuning.cli.run_directory import RunDirectory, path_for_reader
from kfp_image_tuning.core.wording import count, duration
from kfp_image_tuning.evaluation.evaluation import Evaluation
from kfp_image_tuning.search.budget import Budget
from kfp_image_tuning.search.result import TuningResult

_WIDTH = 18


def closing_lines(directory: RunDirectory, go_on: str) -> list[str]:
    """What to tell at the end of a run.

    Args:
        directory: The run's folder, with everything in it.
        go_on: The command that continues with the run.
    """
    result = TuningResult.load(directory.result)
    evaluation = Evaluation.load(directory.evaluation)
    interval = evaluation.scores.accuracy_interval
    best = result.best_trial
    lines = [
        "",
        f"Test accuracy {_percent(evaluation.accuracy)} (95 % interval {_percent(interval.low)} to "
        f"{_percent(interval.high)}), on {evaluation.images} images that no trial saw.",
    ]
    if best is not None and best.objective is not None:
        values = ", ".join(f"{name} {_short(value)}" for name, value in best.hyperparameters.items())
        lines += [
            f"Best of {count(len(result.trials), 'trial')} in {duration(result.seconds)}: {best.name}, "
            f"validation accuracy {_percent(best.objective)}",
            f"  {values}",
        ]
    if evaluation.verdict is not None and evaluation.verdict.checks:
        lines.append("The model passes." if evaluation.verdict.passed else "The model DOES NOT PASS:")
        lines += [f"  {check.reason}" for check in evaluation.verdict.checks if not check.passed]
    lines.append("")
    for path, what in (
        (directory.report, "all of it on one page: open it in a browser"),
        (directory.model, f"the model: {_files_in(directory.model)}"),
        (directory.result, "every trial, and the command to repeat the search"),
        (directory.evaluation, "every measure on the test images"),
        (directory.dataset, "the prepared images"),
    ):
        lines.append(f"  {path_for_reader(path):<{_WIDTH + len(path_for_reader(directory.path))}} {what}")
    lines.append("")
    if (directory.model / "model.json").is_file():
        lines.append(f"Classify an image: kfp-image-tuning predict --model {path_for_reader(directory.model)} IMAGE")
    if result.engine == "sagemaker":
        # A tuning job that has ended gets no more trials: they are a search of their own.
        return [*lines, "The same search again:", *evaluation.reproduction_command.splitlines()]
    return [*lines, f"More trials: {go_on} {_larger_budget(result)}"]


def closing_facts(directory: RunDirectory) -> dict[str, Any]:
    """What a run comes to, for the line of JSON.

    Args:
        directory: The run's folder, with everything in it.
    """
    result = TuningResult.load(directory.result)
    best = result.best_trial
    chosen = best and {
        "name": best.name,
        "validation_accuracy": best.objective,
        "hyperparameters": dict(best.hyperparameters),
    }
    facts = evaluation_facts(directory.path)
    more = {"model": directory.model, "result": directory.result, "dataset": directory.dataset}
    facts["files"] |= {name: str(path) for name, path in more.items()}
    return {
        "output": str(directory.path),
        "engine": result.engine,
        "trials": len(result.trials),
        "seconds": result.seconds,
        "stop_reason": result.stop_reason,
        "best_trial": chosen,
        **facts,
    }


def evaluation_facts(folder: Path) -> dict[str, Any]:
    """What an evaluation comes to, for the line of JSON.

    Args:
        folder: Where ``evaluation.json`` and ``report.html`` are.
    """
    path = folder.resolve() / "evaluation.json"
    evaluation = Evaluation.load(path)
    interval = evaluation.scores.accuracy_interval
    return {
        "accuracy": evaluation.accuracy,
        "accuracy_interval": [interval.low, interval.high],
        "test_images": evaluation.images,
        "passed": evaluation.verdict is None or evaluation.verdict.passed,
        "failed_checks": [
            check.reason for check in (evaluation.verdict.checks if evaluation.verdict else ()) if not check.passed
        ],
        "files": {"evaluation": str(path), "report": str(path.with_name("report.html"))},
    }


def _files_in(folder: Path) -> str:
    return " and ".join(sorted(path.name for path in folder.iterdir()))


def _larger_budget(result: TuningResult) -> str:
    """Options that give a search that has ended twice what it has had."""
    budget = Budget.from_dict(result.search["budget"])
    options = f"--max-trials {max(budget.max_trials, 2 * len(result.trials))}"
    return options if budget.max_seconds is None else f"{options} --max-seconds {2 * budget.max_seconds:g}"


def _percent(fraction: float) -> str:
    return f"{fraction:.1%}".replace("%", " %")


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
