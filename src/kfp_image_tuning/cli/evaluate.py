"""``kfp-image-tuning evaluate``: measure a model on a data set's test images."""

import argparse
from pathlib import Path
from typing import Any

from kfp_image_tuning.cli import pipeline_options
from kfp_image_tuning.cli.option_types import refuse_missing
from kfp_image_tuning.cli.outcome import Outcome
from kfp_image_tuning.cli.run import GATE_EXIT_CODE, absolute
from kfp_image_tuning.core.console import say_result
from kfp_image_tuning.options.declared import GateOptions


def add_to(commands: "argparse._SubParsersAction[Any]") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "evaluate",
        help="measure a model on a data set's test images",
        description="Measure a model on a data set's test images; writes evaluation.json and report.html.",
    )
    parser.add_argument("--model", metavar="DIR", type=Path, required=True, help="the model's folder")
    parser.add_argument("--dataset", metavar="DIR", type=Path, required=True, help="the prepared data set's folder")
    parser.add_argument("--result", metavar="FILE", type=Path, help="result.json of the search, for the report")
    parser.add_argument(
        "--output", metavar="DIR", type=Path, required=True, help="folder for evaluation.json and report.html"
    )
    pipeline_options.add_options(parser, GateOptions)
    parser.set_defaults(execute=execute)


def execute(arguments: argparse.Namespace) -> Outcome:
    """Run the command."""
    from kfp_image_tuning.cli.closing_screen import evaluation_facts
    from kfp_image_tuning.steps.model_evaluation import launch

    places = {"--model": arguments.model, "--dataset": arguments.dataset, "--result": arguments.result}
    refuse_missing({**places, "--baseline": arguments.baseline})
    arguments.output.mkdir(parents=True, exist_ok=True)
    baseline = absolute(arguments.baseline) if arguments.baseline else None
    outcome = launch(
        GateOptions(min_accuracy=arguments.min_accuracy or None, baseline=baseline),
        model=str(arguments.model),
        dataset=str(arguments.dataset),
        evaluation=str(arguments.output / "evaluation.json"),
        report=str(arguments.output / "report.html"),
        tuning_result=str(arguments.result or ""),
    )
    say_result(f"Accuracy {outcome.accuracy:.4f}. Written to {arguments.output}: evaluation.json, report.html")
    return Outcome(evaluation_facts(arguments.output), 0 if outcome.passed else GATE_EXIT_CODE)
