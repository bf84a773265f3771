"""Source without docstrings and comments does the same, in the same lines."""

import ast
from pathlib import Path

import pytest

from kfp_image_tuning.code_archive.source_reduction import reduce_source

ROOT = Path(__file__).parents[2]
MODULES = [
    path for room in ("tuning", "dataset", "trainer", "report", "components") for path in (ROOT / room).rglob("*.py")
]


def without_docstrings(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            node.value = ast.Constant("")
    return ast.dump(tree)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_of_ours_stays_the_same_program(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    reduced = reduce_source(source)
    assert without_docstrings(reduced) == without_docstrings(source)
    assert reduced.count("\n") == source.count("\n")
    assert "__doc__" not in source, "its docstring does not reach the pod"


def test_strings_that_look_like_comments_stay() -> None:
    source = 'x = "# no comment"  # a comment\n"""About ü: x."""; y = 1\n'
    assert reduce_source(source) == 'x = "# no comment"\n""; y = 1\n'
