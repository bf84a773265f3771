"""Who follows the documents or the workflows finds the targets that they name."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
READERS = [
    ROOT / ".ci" / "run",
    *sorted(ROOT.glob(".github/**/*.*")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", ".pre-commit-config.yaml")),
    *sorted(ROOT.glob("docs/**/*.md")),
]


@pytest.mark.parametrize("path", READERS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_targets_that_a_file_names_exist(path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z0-9-]+):", makefile, re.MULTILINE))
    commands = r"(?:(?<!catalogue's )`|^\s*(?:- run: |\$ )?|&& |then )make ([a-z][a-z0-9-]*)"
    named = set(re.findall(commands, path.read_text(encoding="utf-8"), re.MULTILINE))
    assert named <= targets
