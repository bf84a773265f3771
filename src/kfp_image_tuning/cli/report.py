"""``kfp-image-tuning report``: write a run's report again, also of a search that was stopped."""

import argparse
from pathlib import Path
from typing import Any

from kfp_image_tuning.cli.outcome import Outcome
from kfp_image_tuning.core.console import say_result


def add_to(commands: "argparse._SubParsersAction[Any]") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "report",
        help="write a run's report.html again",
        description="Write report.html of what a run's folder holds, also if the run was stopped.",
    )
    parser.add_argument("--run", metavar="DIR", type=Path, required=True, help="the run's folder")
    parser.set_defaults(execute=execute)


def execute(arguments: argparse.Namespace) -> Outcome:
    """Run the command."""
    from kfp_image_tuning.cli.run_directory import RunDirectory, RunDirectoryError
    from kfp_image_tuning.dataset.document import Dataset
    from kfp_image_tuning.evaluation.evaluation import Evaluation
    from kfp_image_tuning.report.page import write_report
    from kfp_image_tuning.search.result import TuningResult

    directory = RunDirectory(arguments.run)
    if not directory.result.is_file():
        raise RunDirectoryError(
            f"{directory.path}: holds no result.json, so there is nothing to report; run the search first"
        )
    write_report(
        directory.report,
        result=TuningResult.load(directory.result),
        dataset=Dataset.load(directory.dataset) if directory.dataset.is_dir() else None,
        evaluation=Evaluation.load(directory.evaluation).to_dict() if directory.evaluation.is_file() else None,
    )
    say_result(f"Written: {directory.report}")
    return Outcome({"files": {"report": str(directory.report)}})
