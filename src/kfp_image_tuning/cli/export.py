"""``kfp-image-tuning export``: a model for other programs."""

import argparse
from pathlib import Path
from typing import Any

from kfp_image_tuning.cli.outcome import Outcome
from kfp_image_tuning.core.console import say_result

_DESCRIPTION = """\
Write a model in a form that other programs run.

  kfp-image-tuning export --model runs/photos/model --output photos.onnx
  kfp-image-tuning export --model runs/photos/model --output photos-int8.onnx \\
      --int8 --dataset runs/photos/dataset
  kfp-image-tuning export --model runs/photos/model --format mxnet \\
      --output exported

onnx and torch (torch.export) take a batch of any size: pixels as uint8 [N, height, width, channels], RGB, resized to
the model's image shape without keeping the aspect; they give probabilities [N, classes]. Normalization is inside. mxnet
is what SageMaker's built-in algorithm writes, and takes as a model to start from.
"""


def add_to(commands: "argparse._SubParsersAction[Any]") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "export",
        help="write a model as ONNX, for PyTorch or MXNet",
        description=_DESCRIPTION,
    )
    parser.add_argument(
        "--model", metavar="MODEL", required=True, help="the model's folder or .tar.gz; a path or an address"
    )
    parser.add_argument("--format", choices=("onnx", "torch", "mxnet"), default="onnx", help="default: onnx")
    parser.add_argument("--output", metavar="PATH", type=Path, required=True, help="the file; with mxnet, the folder")
    parser.add_argument(
        "--normalized-input",
        action="store_true",
        help="the caller normalizes: the input is float32 [N, channels, height, width], (pixels - mean) / std",
    )
    parser.add_argument(
        "--int8",
        action="store_true",
        help="ONNX in integers: a quarter of the size; needs --dataset",
    )
    parser.add_argument(
        "--dataset",
        metavar="DIR",
        type=Path,
        help="prepared data set: int8 takes its ranges from the validation images, its cost from the test images",
    )
    parser.set_defaults(execute=execute, parser=parser)


def execute(arguments: argparse.Namespace) -> Outcome:
    """Run the command."""
    from kfp_image_tuning.steps.model_export import export

    if arguments.int8 != (arguments.dataset is not None):
        missing, given = ("--dataset", "--int8") if arguments.int8 else ("--int8", "--dataset")
        arguments.parser.error(f"{given}: needs {missing} as well")
    cost = export(
        arguments.model,
        arguments.output,
        form=arguments.format,
        normalized_input=arguments.normalized_input,
        int8_dataset=arguments.dataset,
    )
    if cost is not None:
        say_result(
            f"Test accuracy {cost.int8_accuracy:.1%} in int8, {cost.accuracy:.1%} as it was, on {cost.images:,} "
            f"images; {cost.int8_bytes / 1e6:.1f} MB instead of {cost.bytes / 1e6:.1f} MB"
        )
    say_result(f"Written: {arguments.output}")
    facts = {"accuracy": cost.accuracy, "int8_accuracy": cost.int8_accuracy} if cost is not None else {}
    return Outcome({**facts, "files": {"model": str(arguments.output.resolve())}})
