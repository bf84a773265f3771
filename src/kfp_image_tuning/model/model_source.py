"""Brings a model to a local folder: from a folder or ``.tar.gz``, on disk, in an object store or on a web server.

Archives come from outside. Of their members only regular files with the names of a model's parts are taken, under those
names alone and up to a size, so that no path, link or bomb in them has any effect.
"""

import contextlib
import os
import posixpath
import re
import tarfile
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from kfp_image_tuning.core.errors import TrainingError
from kfp_image_tuning.core.object_store import is_remote, open_place, without_credentials
from kfp_image_tuning.core.volume_claims import mounted_path

OUR_FILES = ("model.json", "model.safetensors")
PART = re.compile(r"model\.json|model\.safetensors|model-shapes\.json|image-classification-(symbol\.json|\d+\.params)")
LARGEST_MODEL = 4 << 30
MOST_MEMBERS = 10_000
CHUNK = 1 << 20


@contextlib.contextmanager
def local_model(source: str | Path) -> Iterator[Path]:
    """Give a folder with the files of a model while the context lasts.

    Args:
        source: A folder or ``.tar.gz``; a path, or a URI of ``s3://``, ``gs://``, ``minio://``, ``https://`` or
            ``http://``. A folder in a store or on a server holds ``model.json`` and ``model.safetensors``.

    Raises:
        TrainingError: If there is no model.
        StoreError: If it cannot be downloaded.
    """
    with tempfile.TemporaryDirectory(prefix="model-") as scratch:
        folder = Path(scratch)
        place = mounted_path(str(source))
        path = _download(place, folder) if is_remote(place) else Path(place)
        if path.is_file():
            parts = folder / "parts"
            parts.mkdir()
            _unpack(path, parts, without_credentials(str(source)))
            path = parts
        if not path.is_dir():
            raise TrainingError(f"{path}: is neither a folder nor an archive; give a model's folder or model.tar.gz")
        yield path


def _unpack(archive: Path, folder: Path, name: str) -> None:
    room = LARGEST_MODEL
    try:
        with tarfile.open(archive, "r:*") as tar:
            for number, member in enumerate(tar):
                room -= member.size
                if number >= MOST_MEMBERS or room < 0:
                    raise TrainingError(f"{name}: unpacks to more than a model can be; give a model.tar.gz")
                part = os.path.basename(member.name)
                content = tar.extractfile(member) if member.isreg() and PART.fullmatch(part) else None
                if content is not None:
                    _write(_chunks(content), folder / part, name)
    except tarfile.ReadError:
        raise TrainingError(f"{name}: is damaged, or is not an archive; it must be a whole .tar.gz") from None
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise TrainingError(f"{name}: cannot be unpacked ({error}); it must be a whole .tar.gz") from None
    if not any(folder.iterdir()):
        raise TrainingError(f"{name}: holds no model, neither {OUR_FILES[0]} nor the built-in algorithm's files")


def _download(uri: str, folder: Path) -> Path:
    """Fetch an archive, or the two files of a folder; give where it is now."""
    place = open_place(uri)
    is_archive = place.key.endswith((".tar.gz", ".tgz", ".tar"))
    target = folder / "downloaded"
    target.mkdir()
    for key in (place.key,) if is_archive else map(place.below, OUR_FILES):
        _write(place.chunks(key), target / posixpath.basename(key), place.uri)
    return target / posixpath.basename(place.key) if is_archive else target


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk


def _write(chunks: Iterable[bytes], path: Path, name: str) -> None:
    size = 0
    with path.open("wb") as file:
        for chunk in chunks:
            size += len(chunk)
            if size > LARGEST_MODEL:
                raise TrainingError(f"{name}: is larger than {LARGEST_MODEL >> 30} GiB; it is not a model")
            file.write(chunk)
