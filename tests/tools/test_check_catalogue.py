"""The check of the catalogue's rules: what it refuses in a folder that was right."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tools.check_catalogue import find_folders, find_problems, find_stale


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    source = next(folder for folder in find_folders() if folder.name == "data_preparation")
    category = shutil.copytree(
        source.parent, tmp_path / source.parent.name, ignore=shutil.ignore_patterns("__pycache__")
    )
    return Path(category) / source.name


def test_our_components_are_fine(folder: Path) -> None:
    assert not list(find_problems(folder))


@pytest.mark.parametrize(
    ("file", "written", "instead", "told"),
    [
        ("metadata.yaml", '">=2.15.0"', '">=2.15"', "Pipelines has the version '>=2.15'"),
        ("metadata.yaml", '">=2.15.0"', "2.15", "Pipelines has the version 2.15"),
        ("metadata.yaml", "name: Pipelines", "name: Katib", "Pipelines is missing"),
        ("metadata.yaml", '      version: ">=0.8.0"\n', "", "is not a name and a version"),
        ("metadata.yaml", "external_services", "services", "dependencies has kubeflow"),
        ("metadata.yaml", "stability: beta", "stability: good", "stability is 'good'"),
        ("metadata.yaml", "stability: beta\n", "", "has the fields"),
        ("metadata.yaml", "name: data_preparation", "name: preparation", "name is 'preparation'"),
        ("metadata.yaml", "T00:00:00Z", "", "lastVerified is"),
        ("metadata.yaml", "tags:", "tags: training\nlinks:", "tags is not a list"),
        ("OWNERS", "  - kfp-image-tuning-maintainers\n", "", "OWNERS: names nobody"),
        ("__init__.py", "from .component import data_preparation\n", "", "does not say from .component import"),
        ("component.py", "from typing import NamedTuple\n", "import numpy\n", "imports numpy at the top"),
        ("component.py", "python:3.11-slim", "example/image:1", "does not know the base image"),
        ("component.py", "def data_preparation(", "def prepare(", "named data_preparation"),
    ],
)
def test_what_the_catalogue_refuses_is_told(folder: Path, file: str, written: str, instead: str, told: str) -> None:
    text = (folder / file).read_text(encoding="utf-8")
    assert written in text
    (folder / file).write_text(text.replace(written, instead), encoding="utf-8")
    assert told in "\n".join(find_problems(folder))


def test_a_category_that_the_catalogue_does_not_have_is_told(folder: Path) -> None:
    other = folder.parent.rename(folder.parents[1] / "images") / folder.name
    assert "is in images" in "\n".join(find_problems(other))


@pytest.mark.parametrize("file", ["OWNERS", "README.md", "example_pipelines.py", "tests/test_component.py"])
def test_a_missing_file_is_told(folder: Path, file: str) -> None:
    (folder / file).unlink()
    assert list(find_problems(folder)) == [f"{file}: missing"]


@pytest.mark.parametrize(("year", "stale"), [(2026, False), (2028, True)])
def test_a_component_that_was_not_verified_for_a_year_is_stale(folder: Path, year: int, stale: bool) -> None:
    assert bool(find_stale(folder, datetime(year, 12, 1, tzinfo=UTC))) == stale
