"""``kfp-image-tuning compile``: the pipeline as a YAML file for Kubeflow."""

import argparse
from pathlib import Path
from typing import Any

from kfp_image_tuning.pipelines.commands.engine_options import ENGINES

_DESCRIPTION = """\
Write the pipeline as YAML that can be uploaded to Kubeflow Pipelines. Whoever has the file needs nothing else: it
carries the code, and each step installs its packages from a package index. With --image, the steps run in that image
and install nothing; it must hold kfp-image-tuning with the extras [local,parquet,pipelines] and that of the engine.
"""


def add_to(commands: "argparse._SubParsersAction[Any]") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "compile",
        help="write the pipeline as YAML for Kubeflow",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default="local",
        help="where trials run: local (one pod, the default), katib, sagemaker",
    )
    parser.add_argument("--image", metavar="REF", help="image of all steps, instead of code in the YAML")
    parser.add_argument("--output", metavar="FILE", type=Path, required=True, help="the YAML file to write")
    parser.set_defaults(execute=execute)


def execute(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from kfp_image_tuning.pipelines.delivery import compile_pipeline
    from kfp_image_tuning.pipelines.image_tuning import PIPELINES
    from kfp_image_tuning.pipelines.specification import CompilationError

    text = compile_pipeline(PIPELINES[arguments.engine], image=arguments.image)
    try:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CompilationError(f"{arguments.output}: cannot be written ({error.strerror}); give another file") from None
    print(f"{arguments.output}: {len(text.encode()) / 1024:.0f} KiB, ready to be uploaded to Kubeflow Pipelines")
    return 0
