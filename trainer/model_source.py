"""Brings a model to a local folder: from a folder or ``.tar.gz``, on disk, in an object store or on a web server.

Archives come from outside. Of their members only regular files with the names of a model's parts are taken, under those
names alone and up to a size, so that no path, link or bomb in them has any effect.
"""

import contextlib
import os
import re
import tarfile
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit, urlunsplit

from kfp_image_tuning.tuning.errors import TrainingError

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
        TrainingError: If the model cannot be had from there.
    """
    with tempfile.TemporaryDirectory(prefix="model-") as scratch:
        folder = Path(scratch)
        path = _download(str(source), folder) if "://" in str(source) else Path(source)
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
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise TrainingError(f"{name}: cannot be unpacked ({error}); it must be a whole .tar.gz") from None
    if not any(folder.iterdir()):
        raise TrainingError(f"{name}: holds no model, neither {OUR_FILES[0]} nor the built-in algorithm's files")


def _download(uri: str, folder: Path) -> Path:
    """Fetch an archive, or the two files of a folder; give where it is now."""
    import obstore
    from obstore.store import from_url

    parts = urlsplit(uri)
    above, _, last = parts.path.rstrip("/").rpartition("/")
    is_archive = last.endswith((".tar.gz", ".tgz", ".tar"))
    # Kubeflow calls its own store minio://; it is reached as S3 at AWS_ENDPOINT_URL.
    parts = parts._replace(scheme=parts.scheme.replace("minio", "s3"))
    base = urlunsplit(parts._replace(path=above if is_archive else parts.path.rstrip("/")))
    target = folder / "downloaded"
    target.mkdir()
    name = without_credentials(uri)
    try:
        store = from_url(base, client_options={"allow_http": True})
        for part in (last,) if is_archive else OUR_FILES:
            stream = obstore.get(store, part).stream(min_chunk_size=CHUNK)
            _write(map(bytes, stream), target / part, name)
    except (obstore.exceptions.BaseError, OSError, ValueError) as error:
        # Only the kind of error: its text may hold a signed address.
        raise TrainingError(
            f"{name}: cannot be downloaded ({type(error).__name__}); check the address and that the environment holds "
            "the credentials for it"
        ) from None
    return target / last if is_archive else target


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk


def _write(chunks: Iterable[bytes], path: Path, name: str) -> None:
    size = 0
    with path.open("wb") as file:
        for chunk in chunks:
            size += len(chunk)
            if size > LARGEST_MODEL:
                raise TrainingError(f"{name}: is larger than {LARGEST_MODEL >> 30} GiB; it is no model")
            file.write(chunk)


def without_credentials(source: str) -> str:
    """A URI without user, password and query, which may hold secrets; a path as it is."""
    if "://" not in source:
        return source
    parts = urlsplit(source)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))
