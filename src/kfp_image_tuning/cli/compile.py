"""``kfp-image-tuning compile``: the pipeline as a YAML file for Kubeflow."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kfp_image_tuning.cli.engine_help import ShowParameters
from kfp_image_tuning.cli.outcome import Outcome
from kfp_image_tuning.core.console import say, say_result
from kfp_image_tuning.options.pipelines import ENGINES

if TYPE_CHECKING:
    from kfp_image_tuning.delivery.workflow_size import WorkflowSize

_DESCRIPTION = """\
Write the pipeline as YAML that can be uploaded to Kubeflow Pipelines. Steps get the code of this release in one of
three ways; what else they need, they install from a package index:

  (default)   from a ConfigMap in the run's namespace, which
              kfp-image-tuning install --namespace NAME puts there
  --package   by pip, from a package index or from the address of a wheel
  --image     in an image that holds everything, such as make image makes;
              nothing is installed

docs/kubeflow.md tells how to install, run, schedule and compose them, and where to look when a step fails.
"""

_DELIVERY = ("image", "package", "base_image", "index_url", "trusted_host")


def add_to(commands: "argparse._SubParsersAction[Any]") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "compile",
        help="write the pipeline as YAML for Kubeflow",
        description=_DESCRIPTION,
        add_help=False,
    )
    parser.add_argument("-h", "--help", action=ShowParameters)
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default="local",
        help="where trials run: local (one pod, the default), katib, sagemaker",
    )
    parser.add_argument("--image", metavar="REF", help="image of all steps and trials, with everything in it")
    parser.add_argument(
        "--package",
        metavar="REQUIREMENT",
        help="what pip installs: a requirement such as kfp-image-tuning==0.1.0, or the address of a wheel, with "
        "#sha256=… or ' --hash=sha256:…' behind it if wanted",
    )
    parser.add_argument("--base-image", metavar="REF", help="image of steps and trials that install packages")
    parser.add_argument("--index-url", metavar="URL", help="package index (default: pip's own)")
    parser.add_argument(
        "--trusted-host", metavar="HOST[:PORT]", help="host of the package index whose certificate is not checked"
    )
    parser.add_argument(
        "--values",
        metavar="FILE",
        type=Path,
        help="YAML file with what the steps' pods get: volumes, secrets, variables, nodes, retries, how the code "
        "reaches them, and what the run form starts with (docs/values.md)",
    )
    parser.add_argument("--output", metavar="FILE", type=Path, required=True, help="the YAML file to write")
    parser.set_defaults(execute=execute)


def execute(arguments: argparse.Namespace) -> Outcome:
    """Run the command."""
    import yaml

    from kfp_image_tuning.core.durable_file import write_durably
    from kfp_image_tuning.delivery.compilation import compile_pipeline
    from kfp_image_tuning.delivery.specification import CompilationError
    from kfp_image_tuning.delivery.values_file import read_values
    from kfp_image_tuning.delivery.workflow_size import estimate_workflow_size
    from kfp_image_tuning.pipelines.image_tuning import PIPELINES

    given = {name: getattr(arguments, name) for name in _DELIVERY}
    if problems := [f"--{name.replace('_', '-')}: is empty; leave it out" for name in _DELIVERY if given[name] == ""]:
        raise CompilationError.from_problems(problems)
    delivery = {name: value for name, value in given.items() if value}
    values = read_values(arguments.values) if arguments.values else None
    text = compile_pipeline(PIPELINES[arguments.engine], **delivery, values=values)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    write_durably(arguments.output, text.encode())
    say_result(f"{arguments.output}: {len(text.encode()) / 1024:.0f} KiB, ready to be uploaded to Kubeflow Pipelines")
    say(_describe_size(estimate_workflow_size(list(yaml.safe_load_all(text)))))
    return Outcome({"engine": arguments.engine, "files": {"pipeline": str(arguments.output.resolve())}})


def _describe_size(size: "WorkflowSize") -> str:
    whole, repetition = size.bytes // 1024, size.repetition_bytes // 1024
    return (
        f"A run takes about {whole} KiB in the cluster, where Argo keeps 1,024. As a step in a dsl.ParallelFor it adds "
        f"{repetition} KiB for each repetition, {size.repetition_stored_bytes // 1024} KiB compressed; about "
        f"{size.repetitions} repetitions fit in one run"
    )
