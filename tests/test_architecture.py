"""Which package may import which: arrows point down the list, and an engine knows no other engine."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "kfp_image_tuning"
LAYERS = [
    {"api"},
    {"cli"},
    {"pipelines"},
    {"components"},
    {"steps", "delivery"},
    {"engines", "report", "preparation"},
    {"evaluation"},
    {"trainer"},
    {"model"},
    {"options"},
    {"dataset", "search"},
    {"core"},
]


def imports_of(path: Path) -> Iterator[tuple[str, ...]]:
    """Packages of ours that a module names, at its top or within functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("kfp_image_tuning."):
            yield tuple((node.module or "").split(".")[1:])


def layer_of(package: str) -> int:
    return next(number for number, layer in enumerate(LAYERS) if package in layer)


@pytest.mark.parametrize("package", sorted(set().union(*LAYERS)))
def test_arrows_between_packages_point_down(package: str) -> None:
    wrong = []
    for path in sorted((PACKAGE / package).rglob("*.py")):
        own = path.relative_to(PACKAGE).parts
        for parts in imports_of(path):
            other_engine = own[0] == parts[0] == "engines" and len(parts) > 2 and own[1] not in (parts[1], "run.py")
            upwards = own[0] != parts[0] and layer_of(parts[0]) <= layer_of(own[0])
            if (upwards and {own[0], parts[0]} != {"dataset", "search"}) or other_engine:
                wrong.append(f"{'/'.join(own)} imports {'.'.join(parts)}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("part", ["engines/katib/request", "engines/katib/pod", "engines/sagemaker/request"])
def test_what_is_made_offline_or_runs_in_a_pod_needs_nothing_of_a_session(part: str) -> None:
    engine = part.split("/")[1]
    others = {"session", "aws", "tuning", "transform"}
    for path in sorted((PACKAGE / part).rglob("*.py")):
        used = {parts[2] for parts in imports_of(path) if parts[:2] == ("engines", engine) and len(parts) > 2}
        assert not used & others, path.name
