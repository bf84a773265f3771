"""How our code reaches the pods: compile a pipeline for one of three forms of delivery.

Components are lightweight ones whose bodies import ``kfp_image_tuning``. Compiled plainly, they would need an image
that holds it. `Delivery` says where pods get it from instead: the namespace's ConfigMap (the default), a package index
or any HTTP address, or an image after all.
"""

import ast
import re
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from kfp_image_tuning.core.installed_code import MOUNT_PATH, config_map_name
from kfp_image_tuning.delivery.declared_packages import declared_kfp, declared_packages
from kfp_image_tuning.delivery.delivery_options import Delivery
from kfp_image_tuning.delivery.leaner_specification import make_leaner, strip_source
from kfp_image_tuning.delivery.pod_prelude import build_prelude
from kfp_image_tuning.delivery.readable_yaml import dump_documents
from kfp_image_tuning.delivery.resource_checks import find_broken_amounts
from kfp_image_tuning.delivery.specification import CompilationError, check_specification
from kfp_image_tuning.delivery.values import Values
from kfp_image_tuning.delivery.values_compilation import apply_values, defaults_of
from kfp_image_tuning.delivery.workflow_size import check_workflow_size

EXTRAS_NAME = "INSTALLED_EXTRAS"
"""The constant of a ``component.py`` that names the extras of this project whose packages the component needs."""


def compile_pipeline(
    pipeline: Any,
    *,
    image: str = "",
    package: str = "",
    base_image: str = "",
    index_url: str = "",
    trusted_host: str = "",
    values: Values | None = None,
) -> str:
    """Compile a pipeline.

    Args:
        pipeline: What ``@dsl.pipeline`` made. Components in it that are not this project's stay as they are.
        image: See `Delivery`, as the others.
        package: A requirement, or the address of a wheel.
        base_image: The image of steps that install packages.
        index_url: Package index.
        trusted_host: Host whose certificate pip does not check.
        values: What a team sets for the pods of its steps, and how our code reaches them if nothing else is said here;
            None: nothing.

    Returns:
        YAML; the same sources give the same text.

    Raises:
        CompilationError: With everything that the backend would refuse, or of which a run would die in the middle.
    """
    from kfp import compiler

    given = Delivery(
        image=image, package=package, base_image=base_image, index_url=index_url, trusted_host=trusted_host
    )
    delivery = given.before(values.delivery) if values is not None else given
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "pipeline.yaml"
        compiler.Compiler().compile(pipeline, str(path), pipeline_parameters=defaults_of(pipeline, values))
        text = path.read_text(encoding="utf-8")
    documents = list(yaml.safe_load_all(text))
    delivered = set()
    for name, executor in documents[0]["deploymentSpec"]["executors"].items():
        extras = _extras_of(executor.get("container", {}))
        if extras is not None:
            delivered.add(name)
            _deliver(executor["container"], extras, delivery)
            if not delivery.image and not delivery.package:
                _mount_config_map(documents, name)
    if values is not None:
        apply_values(documents, values)
    components = documents[0]["components"]
    make_leaner(documents[0], [name for name, entry in components.items() if entry.get("executorLabel") in delivered])
    _join_descriptions(documents[0])
    # The patch release of the SDK changes nothing in the pipeline; the file would be out of date with each.
    documents[0]["sdkVersion"] = "kfp-" + re.findall(r"[\d.]+", declared_kfp())[0]
    check_specification(documents)
    if problems := list(find_broken_amounts(documents[0])):
        raise CompilationError.from_problems(problems)
    check_workflow_size(documents)
    header = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
    return header + dump_documents(documents)


def _join_descriptions(part: Any) -> None:
    """Take the docstrings' line breaks out of descriptions: the console shows them as they are."""
    if isinstance(part, dict):
        if isinstance(part.get("description"), str):
            part["description"] = " ".join(part["description"].split())
        for value in part.values():
            _join_descriptions(value)


def _deliver(container: dict[str, Any], extras: tuple[str, ...], delivery: Delivery) -> None:
    """Change one container so that the pod finds our code."""
    variables = [{"name": name, "value": value} for name, value in delivery.environment.items()]
    container["env"] = [*container.get("env", []), *variables]
    container["image"] = delivery.image or delivery.base_image or container["image"]
    container["command"] = [*container["command"][:-1], strip_source(container["command"][-1])]
    if delivery.image:
        return
    prelude = build_prelude(declared_packages(extras), declared_kfp(), from_config_map=not delivery.package)
    container["command"] = ["sh", "-ec", prelude, *container["command"]]


def _mount_config_map(documents: list[dict[str, Any]], executor: str) -> None:
    """Mount the namespace's ConfigMap into a step; optional, so that a step without it can say what is missing."""
    if len(documents) == 1:
        documents.append({"platforms": {"kubernetes": {"deploymentSpec": {"executors": {}}}}})
    settings = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"].setdefault(executor, {})
    volume = {
        # Older backends read the first, newer ones the second.
        "configMapName": config_map_name(),
        "configMapNameParameter": {"runtimeValue": {"constant": config_map_name()}},
        "mountPath": MOUNT_PATH,
        "optional": True,
    }
    settings["configMapAsVolume"] = [*settings.get("configMapAsVolume", []), volume]


def _extras_of(container: dict[str, Any]) -> tuple[str, ...] | None:
    """The extras that a component names in its ``component.py``, read without importing it; None: not one of ours."""
    arguments = container.get("args", [])
    if "--function_to_execute" not in arguments:
        return None
    function = arguments[arguments.index("--function_to_execute") + 1]
    components = find_spec("kfp_image_tuning.components")
    places = (components and components.submodule_search_locations) or ()
    face = next((face for place in places for face in Path(place).glob(f"*/{function}/component.py")), None)
    if face is None:
        return None
    for node in ast.parse(face.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.AnnAssign | ast.Assign):
            targets = [node.target] if isinstance(node, ast.AnnAssign) else node.targets
            if any(isinstance(target, ast.Name) and target.id == EXTRAS_NAME for target in targets) and node.value:
                return tuple(ast.literal_eval(node.value))
    raise CompilationError(f"{face}: names no {EXTRAS_NAME}; add the extras of setup.cfg that it needs, or ()")
