"""``kfp-image-tuning run``: prepare, search, evaluate; trials on this machine, or wherever the engine runs them."""

import argparse
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kfp_image_tuning.cli import pipeline_options
from kfp_image_tuning.cli.engine_help import ShowHelp
from kfp_image_tuning.cli.outcome import Outcome
from kfp_image_tuning.core.console import is_verbose, say, say_result
from kfp_image_tuning.options.declared import GateOptions, ImageOptions
from kfp_image_tuning.options.pipelines import SEARCH

if TYPE_CHECKING:
    from kfp_image_tuning.cli.run_directory import RunDirectory

_DESCRIPTION = """\
Run the whole pipeline: prepare the images, search hyperparameters, evaluate the best model on images that no trial saw.
The output folder then holds dataset/, result.json, model/, evaluation.json and report.html. Trials train on this
machine, or with --engine as pods of a cluster or as training jobs on SageMaker, which this command starts and follows.

A run that was stopped or killed continues with: kfp-image-tuning run --resume --output DIR
"""

GATE_EXIT_CODE = 3


def add_to(commands: "argparse._SubParsersAction[Any]") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "run",
        help="tune on your images: prepare, search, evaluate",
        description=_DESCRIPTION,
        add_help=False,
    )
    parser.add_argument("-h", "--help", action=ShowHelp)
    parser.add_argument(
        "--data",
        metavar="SOURCE",
        help="images: a folder of class folders, a zip or tar of one, .csv, .parquet or .rec files, or a data set that "
        "is prepared already; a path, s3://, gs:// or https://",
    )
    parser.add_argument(
        "--output", metavar="DIR", type=Path, required=True, help="folder for everything that comes out"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue with the run in DIR; options that are not given again stay as they were",
    )
    pipeline_options.add_options(parser, *SEARCH, ImageOptions, GateOptions)
    pipeline_options.add_engine_options(parser)
    parser.set_defaults(execute=execute, parser=parser)


def execute(arguments: argparse.Namespace) -> Outcome:
    """Run the command."""
    if not arguments.data and not arguments.resume:
        arguments.parser.error("--data is needed: the folder or archive that holds your images")
    from kfp_image_tuning.cli.run_directory import RunDirectory

    options = pipeline_options.given_options(arguments)
    directory = RunDirectory(arguments.output)
    if arguments.resume:
        options = {**directory.load_options(), **options}
    else:
        directory.refuse_if_used()
    return run_and_tell(directory, options)


def run_and_tell(directory: "RunDirectory", options: Mapping[str, Any]) -> Outcome:
    """Run the pipeline in a folder, or continue with it, and say what came of it.

    Args:
        directory: The run's folder.
        options: All the run's options, by their names in `pipeline_options`.

    Returns:
        What came of it.
    """
    from kfp_image_tuning.cli.closing_screen import closing_facts, closing_lines
    from kfp_image_tuning.cli.local_run import RunError, RunStopped, run_pipeline
    from kfp_image_tuning.cli.run_directory import path_for_reader

    complete = _check(options)
    earlier = directory.load_options() if directory.is_run else None
    directory.save_options(_without_secrets(complete))
    go_on = shlex.join(["kfp-image-tuning", "run", "--resume", "--output", path_for_reader(directory.path)])
    if is_verbose():
        say(f"Run {directory.identity}, in {directory.path}; the state of the search is in {directory.work}")
    try:
        parameters = pipeline_options.to_parameters(complete) | _data_in_place(complete)
        outputs = run_pipeline(directory, pipeline_options.engine_of(complete), parameters)
    except RunStopped as stop:
        return Outcome({"resume_command": go_on}, 128 + stop.number, ("stopped", f"Stopped. Continue with: {go_on}"))
    except RunError:
        # What was asked for did not work: a later --resume must not ask for it again.
        if earlier is not None:
            directory.save_options(earlier)
        directory.forget_if_empty()
        raise
    for line in closing_lines(directory, go_on):
        say_result(line)
    return Outcome(closing_facts(directory) | {"resume_command": go_on}, 0 if outputs["passed"] else GATE_EXIT_CODE)


def _check(options: Mapping[str, Any]) -> dict[str, Any]:
    """Refuse before the first image is read what would be refused after the last one; make paths absolute."""
    from kfp_image_tuning.cli.engine_options import missing_packages, option_problems
    from kfp_image_tuning.cli.run_directory import RunDirectoryError
    from kfp_image_tuning.cli.users_words import in_users_words
    from kfp_image_tuning.core.errors import EnvironmentLackError, ParameterError
    from kfp_image_tuning.core.object_store import is_remote
    from kfp_image_tuning.steps.preflight.parameters import find_problems

    if "data" not in options:
        raise RunDirectoryError(
            "--data is needed: the address of the images held credentials, which are not kept; give it again"
        )
    if problems := option_problems(options):
        raise ParameterError.from_problems(problems)
    if missing := missing_packages(options):
        raise EnvironmentLackError.from_problems(missing)
    complete = dict(options)
    complete["data"] = absolute(options["data"])
    if pipeline_options.engine_of(options) == "sagemaker":
        # option_problems leaves it out only for data in a bucket.
        complete.setdefault("bucket", options["data"].removeprefix("s3://").partition("/")[0])
    # Elsewhere, the path of a model is one that trials see.
    here = ("initial_model", "baseline") if pipeline_options.engine_of(options) == "local" else ("baseline",)
    for name in (*here, "storage_mount"):
        if name in options:
            complete[name] = absolute(options[name])
    if _holds_secret(complete.get("initial_model", "")):
        raise ParameterError("--initial-model: holds credentials, which no run keeps; give them as variables")
    parameters = pipeline_options.to_parameters(complete) | _data_on_volume(complete)
    # What is ready in a store is looked for later; trials may read it there.
    wrong = [
        str(problem)
        for problem in find_problems(pipeline_options.engine_of(options), parameters, in_pod=False)
        if problem.parameter != "tune_storage" or not is_remote(options["data"])
    ]
    if wrong:
        raise ParameterError.from_problems(map(in_users_words, wrong))
    return complete


def _data_in_place(options: Mapping[str, Any]) -> dict[str, str]:
    """Where an engine elsewhere reads a data set that is prepared already, and need not be brought there."""
    from kfp_image_tuning.core.object_store import is_remote
    from kfp_image_tuning.preparation.sources.prepared_source import find_prepared

    data, engine = options["data"], pipeline_options.engine_of(options)
    if on_volume := _data_on_volume(options):
        return on_volume
    if engine == "local" or not is_remote(data) or (engine == "sagemaker" and not data.startswith("s3://")):
        return {}
    prepared = find_prepared(data)
    if prepared is None or options.get("image_shape", "auto") not in ("auto", ",".join(map(str, prepared.image_shape))):
        return {}
    return {"tune_data": data}


def _data_on_volume(options: Mapping[str, Any]) -> dict[str, str]:
    """Where trials and this machine see data on a volume claim; nothing if they are elsewhere."""
    from kfp_image_tuning.cli.volume_data import seen_here, storage_of
    from kfp_image_tuning.core.volume_claims import is_on_claim
    from kfp_image_tuning.preparation.sources.prepared_source import find_prepared

    data = options["data"]
    if not is_on_claim(data):
        return {}
    folder = str(seen_here(data, options))
    in_place = {"tune_data": data} if find_prepared(folder) else {}
    return {"data_images": folder, "tune_storage": storage_of(data, options), **in_place}


def absolute(place: str) -> str:
    """A path that means the same from every folder; an address as it is."""
    return place if "://" in place else str(Path(place).expanduser().absolute())


def _without_secrets(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options without an address that holds credentials or a signature."""
    secret = _holds_secret(options["data"])
    return {name: value for name, value in options.items() if not (secret and name == "data")}


def _holds_secret(place: str) -> bool:
    from urllib.parse import urlsplit

    address = urlsplit(place)
    return "://" in place and bool(address.query or "@" in address.netloc)
