"""How our code reaches the pods: compile a pipeline into YAML that works for someone who has only that file.

Components are lightweight ones whose bodies import ``kfp_image_tuning``. Compiled plainly, they would need an image
that holds it. Here each container's command is given a prelude that installs the component's declared packages and
unpacks the code that the YAML carries (`code_archive`); with an image of one's own, the command stays as it is and
nothing is installed.
"""

import ast
import re
import shlex
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from kfp_image_tuning.code_archive.packing import build_archive, collect_files, unpacking_program
from kfp_image_tuning.pipelines.declared_packages import declared_kfp, declared_packages
from kfp_image_tuning.pipelines.readable_yaml import dump_documents
from kfp_image_tuning.pipelines.specification import CompilationError, check_specification

EXTRAS_NAME = "INSTALLED_EXTRAS"
"""The constant of a ``component.py`` that names the extras of this project whose packages the component needs."""

_PRELUDE = """\
export PYTHONUNBUFFERED=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_BREAK_SYSTEM_PACKAGES=1
install() {{
  python3 -m pip install --quiet --no-warn-script-location "$@" && return
  echo 'Error: the packages of this component could not be installed. On a cluster without a package index, compile' \\
    'the pipeline with kfp-image-tuning compile --image and an image that holds them.' >&2
  exit 1
}}
install {packages}
install --no-deps {kfp}
code=$(mktemp -d)
printf "%s" "$0" | python3 -c "$1" "$code"
export PYTHONPATH="$code${{PYTHONPATH:+:$PYTHONPATH}}"
shift
exec "$@"
"""
"""Shell; the archive is argument 0, the unpacking program argument 1, and the command that KFP compiled follows.

kfp is installed without its dependencies, as KFP's own compiler does: in a pod its runtime needs none of them.
"""


def compile_pipeline(pipeline: Any, *, image: str | None = None) -> str:
    """Compile a pipeline.

    Args:
        pipeline: What ``@dsl.pipeline`` made.
        image: A container image that holds this project and its packages; None: the code travels inside the YAML.

    Returns:
        YAML; the same sources give the same text.

    Raises:
        CompilationError: With everything that the backend would refuse or that would not fit into a pod's command.
    """
    from kfp import compiler

    if image is not None and not re.fullmatch(r"[^\s{}$]+", image):
        raise CompilationError(f"image: {image!r} is no image reference; give one such as registry/name:tag")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "pipeline.yaml"
        compiler.Compiler().compile(pipeline, str(path))
        text = path.read_text(encoding="utf-8")
    documents = list(yaml.safe_load_all(text))
    for executor in documents[0]["deploymentSpec"]["executors"].values():
        if "container" in executor:
            _deliver(executor["container"], image)
    _join_descriptions(documents[0])
    # The patch release of the SDK changes nothing in the pipeline; the file would be out of date with each.
    documents[0]["sdkVersion"] = "kfp-" + re.findall(r"[\d.]+", declared_kfp())[0]
    check_specification(documents)
    header = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
    return header + dump_documents(documents)


def _join_descriptions(part: Any) -> None:
    """Take the docstrings' line breaks out of descriptions: the console shows them as they are."""
    if isinstance(part, dict):
        if isinstance(part.get("description"), str):
            part["description"] = " ".join(part["description"].split())
        for value in part.values():
            _join_descriptions(value)


def _deliver(container: dict[str, Any], image: str | None) -> None:
    """Change one container so that the pod finds our code."""
    if image is not None:
        container["image"] = image
        container["env"] = [*container.get("env", []), {"name": "PYTHONUNBUFFERED", "value": "1"}]
        return
    arguments: Sequence[str] = container["args"]
    function = arguments[arguments.index("--function_to_execute") + 1]
    extras = _extras_of(function)
    prelude = _PRELUDE.format(
        packages=" ".join(shlex.quote(package) for package in declared_packages(extras)),
        kfp=shlex.quote(declared_kfp()),
    )
    archive = build_archive(collect_files(container["command"][-1]))
    container["command"] = ["sh", "-ec", prelude, archive, unpacking_program(), *container["command"]]


def _extras_of(function: str) -> tuple[str, ...]:
    """The extras that a component names in its ``component.py``; read without importing it."""
    module = find_spec(f"kfp_image_tuning.components.{function}.component")
    if module is None or module.origin is None:
        raise CompilationError(
            f"{function}: components/{function}/component.py does not exist; a component's folder has its name"
        )
    for node in ast.parse(Path(module.origin).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.AnnAssign | ast.Assign):
            targets = [node.target] if isinstance(node, ast.AnnAssign) else node.targets
            if any(isinstance(target, ast.Name) and target.id == EXTRAS_NAME for target in targets) and node.value:
                return tuple(ast.literal_eval(node.value))
    raise CompilationError(f"{module.origin}: names no {EXTRAS_NAME}; add the extras of setup.cfg that it needs, or ()")
