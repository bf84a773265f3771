"""The archive of this package: what is in it, that it runs by itself, that it fits."""

import base64
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from kfp_image_tuning.core.installed_code import KEY, config_map_name
from kfp_image_tuning.delivery.config_map import build_config_map
from kfp_image_tuning.delivery.package_archive import (
    MAXIMUM_BYTES,
    ArchiveError,
    build_archive,
    collect_files,
    read_archive,
)

ROOT = Path(__file__).parents[2]


def test_archive_has_every_package_with_what_its_modules_read() -> None:
    package = ROOT / "src" / "kfp_image_tuning"
    wanted = {
        path.relative_to(ROOT / "src").as_posix()
        for path in package.rglob("*")
        if path.suffix in (".py", ".css", ".js", ".json", ".sh")
    }
    faces = {f"kfp_image_tuning/{path.relative_to(ROOT)}" for path in ROOT.glob("components/*/*/component.py")}
    assert len(faces) == 7
    assert wanted | faces <= set(collect_files())


def test_archive_has_neither_tests_nor_compiled_pipelines() -> None:
    files = collect_files()
    assert not [name for name in files if "/compiled/" in name or "tests" in name or "__pycache__" in name]


def test_same_files_give_the_same_bytes() -> None:
    assert build_archive() == build_archive()
    entries = zipfile.ZipFile(io.BytesIO(build_archive())).infolist()
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert [entry.filename for entry in entries] == sorted(entry.filename for entry in entries)


def test_unpacked_archive_runs_in_a_python_that_does_not_know_this_project(tmp_path: Path) -> None:
    (tmp_path / KEY).write_bytes(build_archive())
    subprocess.run([sys.executable, "-m", "zipfile", "-e", tmp_path / KEY, tmp_path / "code"], check=True)
    program = (
        "from importlib.metadata import version; from kfp_image_tuning.core.installed_code import config_map_name; "
        "import kfp_image_tuning.search.search as s; print(version('kfp-image-tuning'), config_map_name(), s.__file__)"
    )
    done = subprocess.run(
        # Without site-packages, and so without the editable installation.
        [sys.executable, "-S", "-c", program],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "code")},
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    version, name, file = done.stdout.split()
    assert name == f"kfp-image-tuning-{version.replace('.', '-')}" == config_map_name()
    assert file == str(tmp_path / "code" / "kfp_image_tuning" / "search" / "search.py")


def test_archive_leaves_room_in_a_config_map() -> None:
    assert len(build_archive()) < 0.7 * MAXIMUM_BYTES


def test_archive_that_no_config_map_holds_is_refused() -> None:
    with pytest.raises(ArchiveError, match=r"a ConfigMap holds 1,048,576; .*--image"):
        build_archive({"kfp_image_tuning/noise.json": os.urandom(MAXIMUM_BYTES)})


def test_config_map_has_the_archive_and_its_version() -> None:
    document = build_config_map("team")
    assert document["metadata"]["namespace"] == "team"
    packed = base64.b64decode(document["binaryData"][KEY])
    assert read_archive(packed) == collect_files()
