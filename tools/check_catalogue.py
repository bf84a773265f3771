"""Holds the components' folders against the rules of Kubeflow's catalogue, kubeflow/pipelines-components.

``python -m tools.check_catalogue`` prints what the catalogue would refuse, and ends with 1 if there is something. A
component that was not verified for long is a warning only, so that the same files pass at any time.
"""

import ast
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

COMPONENTS = Path(__file__).parents[1] / "components"

FILES = ("__init__.py", "component.py", "metadata.yaml", "OWNERS", "README.md", "example_pipelines.py")
"""The last one and the tests are optional in the catalogue; here each component has them."""
CATEGORIES = ("data_processing", "training", "evaluation", "deployment")
REQUIRED_FIELDS = ["name", "stability", "dependencies", "lastVerified"]
OPTIONAL_FIELDS = {"tags", "ci", "links"}
STABILITIES = ("experimental", "alpha", "beta", "stable")
VERSION = re.compile(r"(>=|<=|==)(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}")
"""The catalogue has two checks of a version; what matches passes both."""
IMPORTED_AT_THE_TOP = {"kfp", "pytest", *sys.stdlib_module_names}
BASE_IMAGES = re.compile(r"ghcr\.io/kubeflow/.+|python:\d+\.\d+.*|pytorch/pytorch:[\w.-]+")
"""The catalogue's list, and ours: who contributes a component that needs PyTorch adds its image to that list."""
MAXIMUM_DAYS = 365
"""The catalogue removes what has not been verified for longer."""


def find_folders(components: Path = COMPONENTS) -> list[Path]:
    """The folders that hold a component, sorted."""
    return sorted(path.parent for path in components.rglob("component.py"))


def find_problems(folder: Path) -> Iterator[str]:
    """What the catalogue would refuse about a component's folder."""
    if folder.parent.name not in CATEGORIES or not (folder.parent / "__init__.py").is_file():
        yield f"is in {folder.parent.name}; put it into a package named {' or '.join(CATEGORIES)}"
    missing = [name for name in FILES if not (folder / name).is_file()]
    missing += [] if list(folder.glob("tests/test_*.py")) else ["tests/test_component.py"]
    missing += [] if (folder / "tests/__init__.py").is_file() else ["tests/__init__.py"]
    if missing:
        yield f"{', '.join(missing)}: missing"
        return
    yield from _find_metadata_problems(folder)
    approvers = (yaml.safe_load((folder / "OWNERS").read_text(encoding="utf-8")) or {}).get("approvers")
    if not isinstance(approvers, list) or not approvers:
        yield "OWNERS: names nobody under approvers"
    yield from _find_face_problems(folder)
    for path in sorted(folder.rglob("*.py")):
        for module in _imported_at_the_top(path):
            if module not in IMPORTED_AT_THE_TOP:
                yield f"{path.relative_to(folder)}: imports {module} at the top; import it within a function"


def find_stale(folder: Path, now: datetime) -> str | None:
    """When the component was last verified, if that is too long ago."""
    verified = _read_metadata(folder)["lastVerified"]
    return f"last verified on {verified:%Y-%m-%d}" if abs((now - verified).days) >= MAXIMUM_DAYS else None


def _read_metadata(folder: Path) -> Any:
    return yaml.safe_load((folder / "metadata.yaml").read_text(encoding="utf-8"))


def _find_metadata_problems(folder: Path) -> Iterator[str]:
    metadata = _read_metadata(folder)
    if not isinstance(metadata, dict):
        yield "metadata.yaml: is not a mapping"
        return
    fields = [name for name in metadata if name not in OPTIONAL_FIELDS]
    if fields != REQUIRED_FIELDS:
        yield f"metadata.yaml: has the fields {fields}; the catalogue wants {REQUIRED_FIELDS}, in this order"
        return
    if metadata["name"] != folder.name:
        yield f"metadata.yaml: name is {metadata['name']!r}, and the folder is {folder.name!r}"
    if metadata["stability"] not in STABILITIES:
        yield f"metadata.yaml: stability is {metadata['stability']!r}; use one of {', '.join(STABILITIES)}"
    verified = metadata["lastVerified"]
    if not isinstance(verified, datetime) or verified.tzinfo is None:
        yield f"metadata.yaml: lastVerified is {verified!r}; write it as 2026-01-31T00:00:00Z"
    tags = metadata.get("tags", [])
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        yield "metadata.yaml: tags is not a list of words"
    yield from _find_dependency_problems(metadata["dependencies"])


def _find_dependency_problems(dependencies: Any) -> Iterator[str]:
    groups = {"kubeflow": [], **dependencies} if isinstance(dependencies, dict) else {}
    if set(groups) not in ({"kubeflow"}, {"kubeflow", "external_services"}):
        yield "metadata.yaml: dependencies has kubeflow, and perhaps external_services, and nothing else"
        return
    for group, entries in groups.items():
        for entry in entries:
            if not isinstance(entry, dict) or set(entry) != {"name", "version"}:
                yield f"metadata.yaml: {entry!r} in {group} is not a name and a version"
            elif not isinstance(entry["version"], str) or not VERSION.fullmatch(entry["version"]):
                yield f"metadata.yaml: {entry['name']} has the version {entry['version']!r}; use one such as '>=2.15.0'"
    if not any(entry.get("name") == "Pipelines" for entry in groups["kubeflow"] if isinstance(entry, dict)):
        yield "metadata.yaml: Pipelines is missing from dependencies of kubeflow"


def _find_face_problems(folder: Path) -> Iterator[str]:
    """The one component of ``component.py``: its name, its image, and that the package exports it."""
    faces = [
        (node.name, keyword.value)
        for node in _parse(folder / "component.py").body
        if isinstance(node, ast.FunctionDef)
        for decorator in node.decorator_list
        if isinstance(decorator, ast.Call)
        for keyword in decorator.keywords
        if keyword.arg == "base_image"
    ]
    if [name for name, _ in faces] != [folder.name]:
        yield f"component.py: is to have one component with a base_image, named {folder.name}"
    for _, image in faces:
        if not isinstance(image, ast.Constant) or not BASE_IMAGES.fullmatch(str(image.value)):
            yield f"component.py: the catalogue does not know the base image {ast.unparse(image)}"
    exported = [ast.unparse(node) for node in _parse(folder / "__init__.py").body]
    for line in (f"from .component import {folder.name}", f"__all__ = ['{folder.name}']"):
        if line not in exported:
            yield f"__init__.py: does not say {line}"


def _imported_at_the_top(path: Path) -> Iterator[str]:
    """Names of modules that are imported outside of functions and classes; relative ones are left out."""
    nodes: list[ast.AST] = [_parse(path)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").partition(".")[0]
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            nodes.extend(ast.iter_child_nodes(node))


def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def main() -> int:
    """Check all components; the exit code."""
    refused = 0
    for folder in find_folders():
        place = folder.relative_to(COMPONENTS.parent)
        problems = list(find_problems(folder))
        refused += bool(problems)
        for problem in problems:
            print(f"{place}: {problem}")
        if not problems and (stale := find_stale(folder, datetime.now(UTC))):
            print(f"warning: {place}: {stale}; the catalogue removes it after {MAXIMUM_DAYS} days")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
