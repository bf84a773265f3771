"""``kfp-image-tuning prepare``: images into a data set, without a search."""

import argparse
from pathlib import Path
from typing import Any

from kfp_image_tuning.cli import option_types, pipeline_options
from kfp_image_tuning.core.console import say


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
        help="a folder of class folders, a zip or tar of one, .csv, .parquet or .rec files; a path, s3://, gs:// or https://",
    )
    parser.add_argument("--output", metavar="DIR", type=Path, required=True, help="the data set's folder")
    pipeline_options.add_data_options(parser)
    form = parser.add_argument_group("form of the stored images")
    form.add_argument(
        "--encoding", choices=("auto", "jpeg", "png"), default="auto", help="default: PNG up to 64 pixels"
    )
    form.add_argument("--quality", type=option_types.positive, default=95, metavar="Q", help="of JPEG (default: 95)")
    form.add_argument(
        "--training-margin",
        type=option_types.fraction,
        metavar="FRACTION",
        help="how much larger training images are stored than the image shape (default: 1/7 if they are so large)",
    )
    form.add_argument("--classes", metavar="A,B,…", help="names for classes that the source only numbers")
    parser.add_argument(
        "--workers", type=option_types.positive, metavar="N", help="processes (default: one for each processor)"
    )
    parser.add_argument("--seed", type=option_types.natural, metavar="S", help="seed of the split (default: 0)")
    parser.set_defaults(execute=execute)


def execute(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from kfp_image_tuning.cli.prepared_data import preparation_arguments
    from kfp_image_tuning.preparation.preparation import prepare_dataset

    prepare_dataset(
        arguments.data,
        arguments.output,
        **preparation_arguments(pipeline_options.given_options(arguments)),
        encoding=arguments.encoding,
        quality=arguments.quality,
        training_margin=arguments.training_margin,
        classes=arguments.classes.split(",") if arguments.classes else None,
        workers=arguments.workers,
    )
    say(f"Next: kfp-image-tuning plan --data {arguments.output}")
    return 0
