"""Sources in an object store or on a web server: listing and downloading.

Downloads go into a folder that the next run finds again: a file that is there is whole, and a part of a large one is
continued as long as the object is still the same (by its ETag).
"""

import hashlib
import posixpath
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from kfp_image_tuning.core.backoff import pauses
from kfp_image_tuning.core.errors import DatasetError
from kfp_image_tuning.core.object_store import BUCKET_SCHEMES, open_place
from kfp_image_tuning.core.progress_lines import Progress
from kfp_image_tuning.core.store_failures import describe_failure

ATTEMPTS = 5
"""At a whole object, each going on where the last one ended."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 8.0
AT_ONCE = 16
CHUNK_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class RemoteObject:
    """A file in the store; size and ETag are known when it was listed."""

    key: str
    size: int | None = None
    e_tag: str | None = None


class RemoteSource:
    """A place in a store.

    Args:
        uri: The URI that the user gave.

    Raises:
        StoreError: If its scheme is unknown, or nobody says where its store is.
    """

    def __init__(self, uri: str) -> None:
        self._place = open_place(uri)
        self.uri = self._place.uri
        self.key = self._place.key
        self.can_list = uri.partition("://")[0].lower() in BUCKET_SCHEMES

    def list(self) -> list[RemoteObject]:
        """All objects below the place, sorted by key.

        Raises:
            DatasetError: If nothing is there, or a web server was asked.
            StoreError: If it cannot be listed.
        """
        import obstore

        if not self.can_list:
            raise DatasetError(f"{self.uri}: a web folder cannot be listed; give an archive, CSV, Parquet or .rec file")
        found: list[RemoteObject] = []
        with self._place.failures():
            for page in obstore.list(self._place.store, prefix=self.key or None):
                found += [RemoteObject(item["path"], item["size"], item["e_tag"]) for item in page if item["size"]]
        if not found:
            raise DatasetError(f"{self.uri}: nothing is there; check bucket and path")
        return sorted(found, key=lambda item: item.key)

    def read_small(self, name: str) -> bytes | None:
        """The content of a small object right below the place; None if there is none.

        Raises:
            StoreError: If the store cannot be read.
        """
        return self._place.read(name)

    def look_up(self) -> RemoteObject:
        """The object at the place itself, with size and ETag.

        Raises:
            StoreError: If there is none.
        """
        import obstore

        with self._place.failures():
            # A signed URL allows GET only, so its headers are had by a GET whose body is not read.
            meta = obstore.get(self._place.store, self.key).meta
        return RemoteObject(self.key, meta["size"], meta["e_tag"])

    def sibling(self, relative: str) -> RemoteObject:
        """The object that a CSV at this place calls ``relative``.

        Raises:
            DatasetError: If it is outside of the CSV's folder.
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
        for attempt, pause in zip(range(ATTEMPTS), pauses(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS), strict=False):
            if attempt:
                time.sleep(pause)
            try:
                self._continue_download(item, partial)
            except _NotThereError:
                return None
            except _PassingError as error:
                problem = str(error)
            else:
                partial.replace(target)
                return target
        raise DatasetError(
            f"{self.uri}: {item.key!r} could not be downloaded in {ATTEMPTS} attempts: {problem}; what has been "
            "downloaded is kept for the next run"
        )

    def _continue_download(self, item: RemoteObject, partial: Path) -> None:
        """Download what is missing of an object."""
        import obstore

        offset = partial.stat().st_size if item.e_tag and partial.exists() else 0
        if item.size is not None and offset == item.size:
            return
        try:
            options = {"range": {"offset": offset}, "if_match": item.e_tag} if offset else {}
            response = obstore.get(self._place.store, item.key, options=options)  # type: ignore[arg-type]
            size = response.meta["size"]
            chunks: Iterable[bytes] = map(bytes, response.stream(min_chunk_size=CHUNK_BYTES))
            with partial.open("ab" if offset else "wb") as file:
                for chunk in self._from_store(chunks):
                    file.write(chunk)
        except FileNotFoundError:
            raise _NotThereError from None
        except (obstore.exceptions.PreconditionError, obstore.exceptions.NotSupportedError) as error:
            # The object changed, or the server cannot continue: from the start again.
            partial.unlink(missing_ok=True)
            raise _PassingError(self._describe(error)) from None
        except obstore.exceptions.BaseError as error:
            raise _PassingError(self._describe(error)) from None
        received = partial.stat().st_size
        if received != size:
            if received > size:
                partial.unlink()
            raise _PassingError(f"{received:,} of {size:,} bytes arrived")

    def _from_store(self, chunks: Iterable[bytes]) -> Iterable[bytes]:
        """Keep the store's input/output errors apart from the disk's."""
        import obstore

        try:
            yield from chunks
        except (obstore.exceptions.BaseError, OSError) as error:
            raise _PassingError(self._describe(error)) from None

    def _describe(self, error: Exception) -> str:
        return describe_failure(error, self.uri, self._place.address).removeprefix(f"{self.uri}: ")


class _PassingError(Exception):
    """Something that may pass."""


class _NotThereError(Exception):
    """The object does not exist."""


def listing_identity(objects: Iterable[RemoteObject]) -> str | None:
    """What stands for the content of objects without downloading them: their ETags. None where one has none."""
    digest = hashlib.sha256()
    for item in sorted(objects, key=lambda item: item.key):
        if not item.e_tag:
            return None
        digest.update(f"{item.key}\0{item.size}\0{item.e_tag}\0".encode())
    return "etags:" + digest.hexdigest()
