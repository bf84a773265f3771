"""Decoded images of a data set, made once and mapped into memory by every trial.

A search reads the same images trials x epochs times. Decoding them each time costs more than training small networks
does, so `PixelStore.open` decodes once into plain arrays on disk; all later readers, in this process and in others,
share the same pages of memory::

    CACHE/<key>/images.npy  labels.npy  identifiers.npy  store.json

The key is a checksum of the record files' content and of the stored size, so a changed data set gets a store of its
own, and a copied data set finds the store of the original. Stores stay until the folder is deleted.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from kfp_image_tuning.core.durable_file import bring_names_to_disk, write_durably
from kfp_image_tuning.core.errors import DatasetError
from kfp_image_tuning.dataset.pixel_store_building import build_store
from kfp_image_tuning.dataset.stored_size import StoredSize

FORM_VERSION = 1
"""Goes up when the same records would be decoded to other pixels."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class PixelStore:
    """Images of one split as arrays.

    Attributes:
        images: uint8 ``[N, H, W, C]``, mapped read-only.
        labels: Class numbers, int64 ``[N]``; or one value for each class, float32 ``[N, L]``.
        identifiers: The records' identifiers, uint64 ``[N]``.
        directory: Where the arrays are.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64] | NDArray[np.float32]
    identifiers: NDArray[np.uint64]
    directory: Path

    def __len__(self) -> int:
        return len(self.images)

    @classmethod
    def open(
        cls,
        record_paths: Sequence[str | os.PathLike[str]],
        *,
        image_shape: tuple[int, int, int],
        cache_directory: str | os.PathLike[str],
        stored_size: tuple[int, int] | None = None,
        resize: int | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Open the store of some record files, building it first where there is none.

        Building uses all cores and little memory. It may be killed at any time and be asked for by several processes at
        once: one builds, the others wait.

        Images are stored at ``stored_size``. If that is not given, they are stored at their own size where that is the
        same for all and between one and two times ``image_shape``, otherwise (record files from elsewhere) at 8/7 of
        ``image_shape``; never smaller than ``image_shape``. An image of another size is resized so that it covers the
        stored size, its aspect kept, and what sticks out is cut off evenly.

        With ``resize`` every image is brought to that shortest side instead, its aspect kept, and stored at the largest
        size that all of them then have: whole where their aspects are equal.

        Args:
            record_paths: The ``.rec`` files, in order.
            image_shape: Channels (1 or 3), height and width that the network sees.
            cache_directory: Where stores are kept; made if need be.
            stored_size: Height and width, as `Split.stored_size` says.
            resize: Shortest side in pixels, as the hyperparameter says; goes before ``stored_size``.
            progress: Called about every second with the images done and in all, once building has taken two seconds.

        Raises:
            DatasetError: If records cannot be read or decoded, with every problem, or the disk is full.
        """
        if image_shape[0] not in (1, 3):
            raise DatasetError(f"image_shape: {image_shape[0]} channels are unknown; use 3 (RGB) or 1 (gray)")
        cache = Path(cache_directory)
        try:
            cache.mkdir(parents=True, exist_ok=True)
            paths = [Path(path).resolve() for path in record_paths]
            size = StoredSize(image_shape, stored_size, resize)
            key = _find_key(cache, paths, size)
            folder = cache / key
            found = cls._load(folder)
            if found is None:
                with _lock(cache / f"{key}.lock") as alone:
                    found = cls._load(folder) or cls._build(folder, alone, paths, size, progress)
        except OSError as error:
            raise DatasetError(
                f"{error.filename or cache}: the store of decoded images cannot be made or read ({error.strerror}); "
                "give a cache directory that is writable and has room"
            ) from error
        return found

    @classmethod
    def _build(
        cls,
        folder: Path,
        alone: bool,
        paths: list[Path],
        size: StoredSize,
        progress: Progress | None,
    ) -> Self:
        """Make the store beside its place and move it there whole."""
        prefix = f".building-{folder.name}-"
        if alone:
            for remains in [*folder.parent.glob(f"{prefix}*"), folder]:
                shutil.rmtree(remains, ignore_errors=True)
        building = folder.with_name(f"{prefix}{uuid.uuid4().hex}")
        building.mkdir()
        try:
            build_store(building, paths, size, progress)
            write_durably(building / "store.json", json.dumps({"form_version": FORM_VERSION}).encode())
            try:
                building.rename(folder)
            except OSError as error:
                # Where locks do not work (some network disks), another process may have been faster: theirs is taken.
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
            bring_names_to_disk(folder.parent)
        finally:
            shutil.rmtree(building, ignore_errors=True)
        store = cls._load(folder)
        if store is None:
            raise DatasetError(f"{folder}: the store of decoded images is damaged; delete this folder and try again")
        return store

    @classmethod
    def _load(cls, folder: Path) -> Self | None:
        """Open a store; None if there is none or it is not whole."""
        try:
            form = json.loads((folder / "store.json").read_bytes())
            images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
            labels = np.load(folder / "labels.npy", allow_pickle=False)
            identifiers = np.load(folder / "identifiers.npy", allow_pickle=False)
        except (FileNotFoundError, NotADirectoryError, ValueError, EOFError):
            return None
        sound = (
            form == {"form_version": FORM_VERSION}
            and images.dtype == np.uint8
            and images.ndim == 4
            and len(images) == len(labels) == len(identifiers)
        )
        return cls(images, labels, identifiers, folder) if sound else None


def _find_key(cache: Path, paths: list[Path], size: StoredSize) -> str:
    """The name of the store that holds exactly these records at this size."""
    checksums = [_checksum(cache, path) for path in paths]
    content = json.dumps([FORM_VERSION, *astuple(size), checksums])
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def _checksum(cache: Path, path: Path) -> str:
    """SHA-256 of a record file, remembered for as long as the file stays untouched."""
    try:
        status = path.stat()
        identity = [str(path), status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        memory = cache / f"checksum-{hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:32]}"
        if memory.exists():
            return memory.read_text()
        with path.open("rb") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from None
    # A file that was just written could change again within the clock's resolution and look untouched.
    if time.time() - status.st_mtime > 2:
        # Only a shortcut, and the cache may be one that others fill.
        with contextlib.suppress(OSError):
            write_durably(memory, checksum.encode())
    return checksum


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[bool]:
    """Wait until no other process holds the lock; gives False where the file system knows no locks."""
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            yield False
        else:
            yield True
