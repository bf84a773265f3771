"""``kfp-image-tuning plan``: what a run would do, without doing any of it."""

import argparse
from pathlib import Path
from typing import Any

from kfp_image_tuning.pipelines.commands import pipeline_options

_DESCRIPTION = """\
Print the search space with the reason for every narrowing, the recipe of a trial, the limits and what to be warned of.
Trains nothing.

With --data DIR of a prepared data set (kfp-image-tuning prepare, or DIR/dataset of a run) the plan is complete.
Without, it shows what does not depend on the images.
"""


def add_to(commands: "argparse._SubParsersAction[Any]") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "plan",
        help="print what a search would do; trains nothing",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", metavar="DIR", type=Path, help="a prepared data set")
    pipeline_options.add_search_options(parser)
    parser.set_defaults(execute=execute)


def execute(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from kfp_image_tuning.dataset.document import Dataset
    from kfp_image_tuning.pipelines.commands.search_settings import settings_from
    from kfp_image_tuning.pipelines.search_plan import plan_lines

    directory: Path | None = arguments.data
    if directory is not None and not (directory / "dataset.json").is_file() and (directory / "dataset").is_dir():
        directory /= "dataset"
    dataset = None if directory is None else Dataset.load(directory)
    options = pipeline_options.given_options(arguments)
    options.pop("data", None)
    for line in plan_lines(settings_from(options), dataset):
        print(line)
    return 0
