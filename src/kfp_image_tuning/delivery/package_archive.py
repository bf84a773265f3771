"""This package as one zip archive: what a pod that has no installation of it puts on its path.

The same sources give the same files in the same order, with fixed times and modes. It holds what runs: modules and the
files that these read, and a version for `importlib.metadata`.
"""

import io
import os
import zipfile
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

import kfp_image_tuning
from kfp_image_tuning.core.errors import ImageTuningError
from kfp_image_tuning.core.installed_code import DISTRIBUTION

PACKAGE = "kfp_image_tuning"
SUFFIXES = (".py", ".json", ".css", ".js", ".html", ".sh")
MAXIMUM_BYTES = 1024 * 1024
"""Kubernetes' limit on the values of a ConfigMap together."""

_NOT_CARRIED = {"compiled", "tests", "example_pipelines.py"}
"""Folders and files of the components and pipelines that nothing reads in a pod."""
_TIME = (1980, 1, 1, 0, 0, 0)
_MODE = 0o100644


class ArchiveError(ImageTuningError):
    """An archive that cannot be made."""

    code = "archive"
    way_out = "Install this release again, or use a delivery that needs no ConfigMap: `compile --package` or `--image`."


def collect_files() -> dict[str, bytes]:
    """Content by path in the archive (``kfp_image_tuning/core/errors.py``), sorted."""
    files = {f"{PACKAGE}/{name}": path.read_bytes() for name, path in _files()}
    folder = f"{PACKAGE}-{version(DISTRIBUTION)}.dist-info"
    files[f"{folder}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: {DISTRIBUTION}\nVersion: {version(DISTRIBUTION)}\n".encode()
    )
    return dict(sorted(files.items()))


def build_archive(files: Mapping[str, bytes] | None = None) -> bytes:
    """Pack files into a zip archive.

    Args:
        files: Content by path; None: this package's.

    Raises:
        ArchiveError: If a ConfigMap could not hold it.
    """
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in (collect_files() if files is None else files).items():
            entry = zipfile.ZipInfo(name, _TIME)
            entry.external_attr = _MODE << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED, 9)
    packed = target.getvalue()
    if len(packed) > MAXIMUM_BYTES:
        raise ArchiveError(
            f"the package's archive has {len(packed):,} bytes, and a ConfigMap holds {MAXIMUM_BYTES:,}; "
            "deliver the code in an image (compile --image) or from a package index (compile --package)"
        )
    return packed


def read_archive(packed: bytes) -> dict[str, bytes]:
    """The files in one of our own archives, for comparing: compression libraries pack the same files differently."""
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        return {name: archive.read(name) for name in sorted(archive.namelist())}


def _files() -> Iterator[tuple[str, Path]]:
    folder = Path(kfp_image_tuning.__file__).parent
    # os.walk follows the links to components and pipelines; Path.rglob does not.
    for place, _, names in os.walk(folder, followlinks=True):
        for path in (Path(place) / name for name in names):
            name = path.relative_to(folder).as_posix()
            if path.suffix in SUFFIXES and _NOT_CARRIED.isdisjoint(Path(name).parts):
                yield name, path
