"""``kfp-image-tuning plan``: what a run would do, without doing any of it."""

import argparse
from typing import Any

from kfp_image_tuning.cli import pipeline_options
from kfp_image_tuning.cli.engine_help import ShowHelp
from kfp_image_tuning.cli.option_types import refuse_missing
from kfp_image_tuning.cli.outcome import Outcome
from kfp_image_tuning.core.console import say, say_document, say_result
from kfp_image_tuning.options.declared import ImageOptions
from kfp_image_tuning.options.pipelines import SEARCH

_DESCRIPTION = """\
Print what a search would do; trains nothing, sends nothing and costs nothing.

On this machine: the search space with the reason for every narrowing, the recipe of a trial, the limits and what to be
warned of. With --data DIR of a prepared data set (kfp-image-tuning prepare, or the folder of a run) the plan is
complete; images on this machine are prepared for it first. Without, it shows what does not depend on the images.

With --engine katib or sagemaker: the very documents that would be sent, on standard output, checked by that engine's
own rules; what a reader should know goes to standard error. The data set may also be where trials read it:

  kfp-image-tuning plan --engine katib --data pvc://images/dataset \\
      --gpus 1 --max-trials 40 > experiment.yaml
  kfp-image-tuning plan --engine sagemaker --data s3://bucket/dataset \\
      --role arn:... --max-trials 40 > request.json
"""


def add_to(commands: "argparse._SubParsersAction[Any]") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "plan",
        help="print what a search would do; trains nothing",
        description=_DESCRIPTION,
        add_help=False,
    )
    parser.add_argument("-h", "--help", action=ShowHelp)
    parser.add_argument(
        "--data",
        metavar="DATASET",
        help="a prepared data set: a folder, s3://, gs:// or minio://bucket/folder, or for Katib pvc://claim/folder; "
        "or images on this machine",
    )
    pipeline_options.add_options(parser, *SEARCH, ImageOptions)
    pipeline_options.add_engine_options(parser)
    parser.set_defaults(execute=execute)


def execute(arguments: argparse.Namespace) -> Outcome:
    """Run the command."""
    from kfp_image_tuning.cli.engine_options import option_problems
    from kfp_image_tuning.cli.prepared_data import prepared_for_plan
    from kfp_image_tuning.core.errors import ParameterError

    options = pipeline_options.given_options(arguments)
    if problems := option_problems(options):
        raise ParameterError.from_problems(problems)
    data = options.get("data")
    refuse_missing({"--data": data})
    if data:
        with prepared_for_plan(data, options) as dataset:
            return _plan({**options, "data": dataset})
    if pipeline_options.engine_of(options) != "local":
        engine = options["engine"]
        raise ParameterError(
            f"--data: is needed with --engine {engine}: a prepared data set, which decides the documents"
        )
    return _plan(options)


def _plan(options: dict[str, Any]) -> Outcome:
    from kfp_image_tuning.cli.prepared_data import describe_dataset
    from kfp_image_tuning.cli.remote_plan import plan_elsewhere
    from kfp_image_tuning.cli.search_plan import plan_facts, plan_here
    from kfp_image_tuning.cli.search_settings import settings_from
    from kfp_image_tuning.cli.users_words import line_in_users_words

    settings, data = settings_from(options), options.get("data")
    engine = pipeline_options.engine_of(options)
    if engine == "local":
        dataset = describe_dataset(data) if data else None
        lines, facts = plan_here(settings, dataset, options.get("prior", "auto"))
        for line in lines:
            say_result(line_in_users_words(line))
        return Outcome(facts)
    plan, documents = plan_elsewhere(engine, settings, options["data"], options)
    for line in (*plan.summary, *(f"Warning: {warning}" for warning in plan.warnings)):
        # To standard error: what is printed may be piped on.
        say(line_in_users_words(line))
    say_document(documents)
    return Outcome(plan_facts(plan))
