"""Sources in an object store or on a web server: listing and downloading.

``s3://bucket/key``, ``gs://bucket/key``, ``minio://bucket/key`` (S3 at ``AWS_ENDPOINT_URL``) and, for single files,
``https://`` and ``http://``. Credentials come from where the cloud's own tools look: environment variables and the
machine's identity, never from parameters. Downloads go into a folder that the next run finds again: a file that is
there is whole, and a part of a large one is continued as long as the object is still the same (by its ETag).
"""

import base64
import hashlib
import os
import posixpath
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from kfp_image_tuning.components.data_preparation.progress import Progress
from kfp_image_tuning.tuning.errors import DatasetError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

SCHEMES = ("s3", "gs", "minio", "https", "http")
RETRIES = 4
"""Of a single request, in quick succession, by the library."""
ATTEMPTS = 5
"""At a whole object, each going on where the last one ended."""
FIRST_PAUSE_SECONDS = 0.5
AT_ONCE = 16
CHUNK_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class RemoteObject:
    """A file in the store; size and ETag are known when it was listed."""

    key: str
    size: int | None = None
    e_tag: str | None = None


def is_remote(data: str) -> bool:
    """Whether a source is a URI rather than a path."""
    return re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://", data) is not None and not data.startswith("file://")


def without_credentials(uri: str) -> str:
    """A URI without user, password, query and fragment: signed URLs carry their signature in the query."""
    parts = urlsplit(uri)
    return urlunsplit(SplitResult(parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


class RemoteSource:
    """A place in a store.

    Args:
        uri: The URI that the user gave.

    Raises:
        DatasetError: If its scheme is unknown.
    """

    def __init__(self, uri: str) -> None:
        self.uri = without_credentials(uri)
        parts = urlsplit(uri)
        scheme = parts.scheme.lower()
        if scheme not in SCHEMES or not parts.hostname:
            raise DatasetError(
                f"{self.uri}: is neither a path nor one of {', '.join(f'{name}://' for name in SCHEMES)}; "
                "copy the images to one of these"
            )
        self.can_list = scheme not in ("https", "http")
        if self.can_list:
            self.key = parts.path.strip("/")
            self._store = _open_bucket(scheme, parts.netloc, self.uri)
        else:
            folder, _, name = parts.path.rpartition("/")
            self.key = unquote(name)
            self._store = _open_web(parts, folder)

    def list(self) -> list[RemoteObject]:
        """All objects below the place, sorted by key.

        Raises:
            DatasetError: If it cannot be listed, or nothing is there.
        """
        import obstore

        if not self.can_list:
            raise DatasetError(f"{self.uri}: a web folder cannot be listed; give an archive, CSV, Parquet or .rec file")
        found: list[RemoteObject] = []
        try:
            for page in obstore.list(self._store, prefix=self.key or None):
                found += [RemoteObject(item["path"], item["size"], item["e_tag"]) for item in page if item["size"]]
        except (obstore.exceptions.BaseError, OSError) as error:
            raise DatasetError(f"{self.uri}: cannot be listed: {_describe(error)}; {_ADVICE}") from None
        if not found:
            raise DatasetError(f"{self.uri}: nothing is there; check bucket and path")
        return sorted(found, key=lambda item: item.key)

    def read_small(self, name: str) -> bytes | None:
        """The content of a small object right below the place; None if there is none.

        Raises:
            DatasetError: If the store cannot be read.
        """
        import obstore

        try:
            return bytes(obstore.get(self._store, posixpath.join(self.key, name)).bytes())
        except FileNotFoundError:
            return None
        except (obstore.exceptions.BaseError, OSError) as error:
            raise DatasetError(f"{self.uri}: cannot be read: {_describe(error)}; {_ADVICE}") from None

    def look_up(self) -> RemoteObject:
        """The object at the place itself, with size and ETag.

        Raises:
            DatasetError: If there is none.
        """
        import obstore

        try:
            # A signed URL allows GET only, so its headers are had by a GET whose body is not read.
            meta = obstore.get(self._store, self.key).meta
        except (obstore.exceptions.BaseError, OSError) as error:
            raise DatasetError(f"{self.uri}: cannot be read: {_describe(error)}; {_ADVICE}") from None
        return RemoteObject(self.key, meta["size"], meta["e_tag"])

    def sibling(self, relative: str) -> RemoteObject:
        """The object that a CSV at this place calls ``relative``.

        Raises:
            DatasetError: If it lies outside of the CSV's folder.
        """
        path = posixpath.normpath(relative)
        if path.startswith(("/", "../")) or path == ".." or "://" in relative:
            raise DatasetError(f"{self.uri}: {relative!r} leads out of the CSV's folder; give paths below it")
        return RemoteObject(posixpath.join(posixpath.dirname(self.key), path))

    def download(
        self, objects: Sequence[RemoteObject], folder: Path, progress: Callable[[str], object]
    ) -> dict[str, Path]:
        """Download objects, those that are not there yet.

        Args:
            objects: What to download.
            folder: Where to; what an earlier run left there is used.
            progress: Takes a line now and then.

        Returns:
            Key to file; objects that do not exist are missing.

        Raises:
            DatasetError: If the store does not deliver, after several attempts.
        """
        folder.mkdir(parents=True, exist_ok=True)
        files: dict[str, Path] = {}
        meter = Progress(progress, "downloaded", len(objects), "files")
        with ThreadPoolExecutor(AT_ONCE) as threads:
            for item, file in zip(
                objects, threads.map(lambda item: self._download(item, folder), objects), strict=True
            ):
                if file is not None:
                    files[item.key] = file
                meter.add(1)
        return files

    def _download(self, item: RemoteObject, folder: Path) -> Path | None:
        name = hashlib.sha256(f"{self.uri}\0{item.key}\0{item.e_tag}\0{item.size}".encode()).hexdigest()[:40]
        target = folder / name
        partial = folder / f"{name}.part"
        if target.exists() and item.e_tag:
            return target
        problem = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(FIRST_PAUSE_SECONDS * 2**attempt)
            try:
                self._continue_download(item, partial)
            except _NotThereError:
                return None
            except _StoreError as error:
                problem = str(error)
            else:
                partial.replace(target)
                return target
        raise DatasetError(
            f"{self.uri}: {item.key!r} could not be downloaded in {ATTEMPTS} attempts: {problem}; {_ADVICE}; "
            "what has been downloaded is kept for the next run"
        )

    def _continue_download(self, item: RemoteObject, partial: Path) -> None:
        """Download what is missing of an object."""
        import obstore

        offset = partial.stat().st_size if item.e_tag and partial.exists() else 0
        if item.size is not None and offset == item.size:
            return
        try:
            options = {"range": {"offset": offset}, "if_match": item.e_tag} if offset else {}
            response = obstore.get(self._store, item.key, options=options)  # type: ignore[arg-type]
            size = response.meta["size"]
            chunks: Iterable[bytes] = map(bytes, response.stream(min_chunk_size=CHUNK_BYTES))
            with partial.open("ab" if offset else "wb") as file:
                for chunk in _from_store(chunks):
                    file.write(chunk)
        except FileNotFoundError:
            raise _NotThereError from None
        except (obstore.exceptions.PreconditionError, obstore.exceptions.NotSupportedError) as error:
            # The object changed, or the server cannot continue: from the start again.
            partial.unlink(missing_ok=True)
            raise _StoreError(_describe(error)) from None
        except obstore.exceptions.BaseError as error:
            raise _StoreError(_describe(error)) from None
        received = partial.stat().st_size
        if received != size:
            if received > size:
                partial.unlink()
            raise _StoreError(f"{received:,} of {size:,} bytes arrived")


class _StoreError(Exception):
    """Something that may pass."""


class _NotThereError(Exception):
    """The object does not exist."""


def _from_store(chunks: Iterable[bytes]) -> Iterable[bytes]:
    """Keep the store's input/output errors apart from the disk's."""
    import obstore

    try:
        yield from chunks
    except (obstore.exceptions.BaseError, OSError) as error:
        raise _StoreError(_describe(error)) from None


def listing_identity(objects: Iterable[RemoteObject]) -> str | None:
    """What stands for the content of objects without downloading them: their ETags. None where one has none."""
    digest = hashlib.sha256()
    for item in sorted(objects, key=lambda item: item.key):
        if not item.e_tag:
            return None
        digest.update(f"{item.key}\0{item.size}\0{item.e_tag}\0".encode())
    return "etags:" + digest.hexdigest()


def _open_bucket(scheme: str, bucket: str, place: str) -> "ObjectStore":
    from obstore.store import GCSStore, S3Store

    if scheme == "gs":
        return GCSStore(bucket, retry_config={"max_retries": RETRIES})
    endpoint = _endpoint(os.environ)
    if scheme == "minio" and not endpoint:
        raise DatasetError(
            f"{place}: set AWS_ENDPOINT_URL to the address of the MinIO server, such as http://minio-service.kubeflow:9000"
        )
    return S3Store(
        bucket,
        client_options={"allow_http": endpoint.startswith("http://")},
        retry_config={"max_retries": RETRIES},
    )


def _endpoint(environment: Mapping[str, str]) -> str:
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    return next((environment[name] for name in names if environment.get(name)), "")


def _open_web(parts: SplitResult, folder: str) -> "ObjectStore":
    from obstore.store import HTTPStore

    user, at, host = parts.netloc.rpartition("@")
    headers = {"authorization": "Basic " + base64.b64encode(unquote(user).encode()).decode()} if at else {}
    base = urlunsplit(SplitResult(parts.scheme, host, folder, parts.query, ""))
    return HTTPStore.from_url(
        base,
        client_options={"allow_http": True, "default_headers": headers},
        retry_config={"max_retries": RETRIES},
    )


_ADVICE = "check the address, the network and that the environment holds credentials for it"


def _describe(error: Exception) -> str:
    """The store's message, in one line and without addresses, whose query may hold a signature."""
    first = str(error).strip().partition("\n")[0]
    status = re.search(r"status code: (\d{3} [A-Za-z ]+)", first)
    if status:
        return status[1].strip()
    return re.sub(r"[a-z]+://[^\s)\"']+", lambda found: without_credentials(found[0]), first)[:300]
