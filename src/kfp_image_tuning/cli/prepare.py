"""``kfp-image-tuning prepare``: images into a data set, without a search."""

import argparse
from pathlib import Path
from typing import Any

from kfp_image_tuning.cli import option_types, pipeline_options
from kfp_image_tuning.cli.outcome import Outcome
from kfp_image_tuning.core.console import say
from kfp_image_tuning.options.declared import ImageOptions


def add_to(commands: "argparse._SubParsersAction[Any]") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "prepare",
        help="turn images into a data set of record files",
        description="Turn labelled images into training, validation and test sets in RecordIO, for every engine.",
    )
    parser.add_argument(
        "--data",
        metavar="SOURCE",
        required=True,
        help="a folder of class folders, a zip or tar of one, a table of images (.csv, .jsonl, .parquet, .lst, "
        ".manifest) or .rec files; a path, s3://, gs:// or https://",
    )
    parser.add_argument("--output", metavar="DIR", type=Path, help="the data set's folder")
    parser.add_argument(
        "--dry-run", action="store_true", help="say how the images are understood and would be stored; prepare nothing"
    )
    pipeline_options.add_options(parser, ImageOptions)
    parser.add_argument(
        "--workers", type=option_types.positive, metavar="N", help="processes (default: one for each processor)"
    )
    parser.set_defaults(execute=execute)


def execute(arguments: argparse.Namespace) -> Outcome:
    """Run the command."""
    from kfp_image_tuning.core.errors import ParameterError
    from kfp_image_tuning.dataset.document import SPLIT_NAMES
    from kfp_image_tuning.preparation.preparation import explain_source, prepare_dataset
    from kfp_image_tuning.preparation.settings import Settings
    from kfp_image_tuning.steps.data_preparation import preparation_arguments

    option_types.refuse_missing({"--data": arguments.data})
    asked = preparation_arguments(pipeline_options.image_options(pipeline_options.given_options(arguments)))
    if arguments.dry_run:
        fractions = dict(zip(SPLIT_NAMES, asked["fractions"], strict=True))
        understood = explain_source(
            arguments.data, Settings(**{**asked, "fractions": fractions}), workers=arguments.workers
        )
        return Outcome({"understood": understood})
    if arguments.output is None:
        raise ParameterError("--output: is missing; give the data set's folder, or --dry-run to prepare nothing")
    dataset = prepare_dataset(arguments.data, arguments.output, **asked, workers=arguments.workers)
    say(f"Next: kfp-image-tuning plan --data {arguments.output}")
    return Outcome(
        {
            "output": str(arguments.output.resolve()),
            "fingerprint": dataset.fingerprint,
            "classes": list(dataset.classes),
            "image_shape": list(dataset.image_shape),
            "images": {name: split.images for name, split in dataset.splits.items()},
            "skipped_images": len(dataset.skipped),
        }
    )
