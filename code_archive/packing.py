"""The archive of our own code: just the modules that one component, or one trial, needs.

What a piece of code needs is read from itself: its imports, and theirs. The same sources give the same archive,
byte for byte; it holds no times, owners or modes.
"""

import ast
import base64
import importlib.util
import json
import lzma
import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

from kfp_image_tuning.code_archive.source_reduction import reduce_source

PACKAGE = "kfp_image_tuning"
DATA_SUFFIXES = (".json", ".css", ".js", ".html")
"""Files beside the modules that these read at run time: schemas, styles, scripts."""

_MODULE_NAME = re.compile(rf"{PACKAGE}(\.\w+)+")
_LINE_LENGTH = 160


def collect_files(source: str) -> dict[str, str]:
    """The files that a piece of code needs of this project.

    A module counts as needed when it is imported anywhere (also inside a function), or when its name stands alone in a
    string, as in ``[sys.executable, "-m", "kfp_image_tuning.trainer"]``.

    Args:
        source: Python source, such as a component's.

    Returns:
        Text by path (``kfp_image_tuning/tuning/errors.py``), sorted; of modules, without docstrings and comments.
    """
    found: dict[str, Path] = {}
    waiting = list(_referenced_modules(source, package=""))
    while waiting:
        name = waiting.pop()
        path = _find_file(name)
        if name in found or path is None:
            continue
        found[name] = path
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        waiting += [name.rpartition(".")[0], *_referenced_modules(path.read_text(encoding="utf-8"), package)]
    files = {_archive_path(name, path): path for name, path in found.items()}
    for name, path in found.items():
        if path.name == "__init__.py":
            beside = (data for data in path.parent.iterdir() if data.suffix in DATA_SUFFIXES)
            files |= {f"{name.replace('.', '/')}/{data.name}": data for data in beside}
    return {name: _read(files[name]) for name in sorted(files)}


def build_archive(files: Mapping[str, str]) -> str:
    """Pack files for `unpacking`.

    Base64 rather than the denser base85, whose ``{``, ``$``, ``&`` and ``<`` mean something to Argo, Kubernetes or Go's
    JSON.
    """
    content = json.dumps(dict(sorted(files.items())), ensure_ascii=False, separators=(",", ":")).encode()
    packed = lzma.compress(content, format=lzma.FORMAT_XZ, check=lzma.CHECK_CRC32, preset=9 | lzma.PRESET_EXTREME)
    return "\n".join(textwrap.wrap(base64.b64encode(packed).decode("ascii"), _LINE_LENGTH)) + "\n"


def module_source(name: str) -> str:
    """The text of one of this project's modules, for a program that is run by itself.

    Written where it is used as a whole name in quotes, it also counts as needed for `collect_files`.

    Raises:
        ModuleNotFoundError: If there is no such module.
    """
    path = _find_file(name)
    if path is None:
        raise ModuleNotFoundError(f"{name}: is not there; install kfp-image-tuning again", name=name)
    return path.read_text(encoding="utf-8")


def unpacking_program() -> str:
    """The program that unpacks what `build_archive` packed: standard library alone, the target folder its argument."""
    return module_source("kfp_image_tuning.code_archive.unpacking")


def _referenced_modules(source: str, package: str) -> Iterator[str]:
    """Names of this project's modules, and of what might be one, in a module of ``package``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                ancestors = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*ancestors, *([base] if base else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _MODULE_NAME.fullmatch(node.value):
            yield from (node.value, f"{node.value}.__main__")


def _find_file(name: str) -> Path | None:
    """The file of one of this project's modules; None for everything else."""
    if not _MODULE_NAME.fullmatch(name):
        return None
    try:
        specification = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return None
    return Path(specification.origin) if specification and specification.origin else None


def _read(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    return reduce_source(text) if path.suffix == ".py" else text


def _archive_path(name: str, path: Path) -> str:
    folder = name.replace(".", "/")
    return f"{folder}/__init__.py" if path.name == "__init__.py" else f"{folder}.py"
