"""A folder beside the output in which a data set grows, and the step that makes it appear whole.

``.NAME.partial`` beside ``NAME`` belongs to one preparation at a time, by a lock that the kernel gives back when a
process dies in any way. What a dead one left there is removed by the next, except downloads, which it uses.
"""

import errno
import fcntl
import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Self

from kfp_image_tuning.core.durable_file import bring_names_to_disk
from kfp_image_tuning.core.errors import DatasetError, DiskError, ImageTuningError
from kfp_image_tuning.core.foreign_errors import as_own_error
from kfp_image_tuning.dataset.document import DOCUMENT_NAME

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Workspace:
    """The temporary folder of a preparation.

    As a context it turns a full or broken disk into one `DatasetError`, and leaves nothing behind but what a next run
    can
    use: downloads, after any error except a full disk.

    Args:
        output: The folder that the data set shall be.

    Raises:
        DatasetError: If the output is in the way, or another preparation is at work there (on entering).
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self.folder = output.parent / f".{output.name}.partial"
        self.downloads = self.folder / "downloads"
        self.scratch = self.folder / "scratch"
        self.data = self.folder / "data"
        self._lock = -1

    def publish(self) -> None:
        """Make the finished data set appear at the output, in place of an older one."""
        if _is_data_set(self.output):
            self.output.rename(self.folder / "replaced")
        self.data.rename(self.output)
        bring_names_to_disk(self.output.parent)

    def __enter__(self) -> Self:
        if self.output.exists() and not _is_data_set(self.output) and not _is_empty_folder(self.output):
            raise DatasetError(
                f"{self.output}: is there already and is not a data set, so it is not replaced; "
                "give a new or empty folder as output"
            )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = self._take_lock()
            for leftover in self.folder.iterdir():
                if leftover.name not in ("lock", self.downloads.name):
                    _remove(leftover)
            self.scratch.mkdir()
            self.data.mkdir()
        except OSError as error:
            raise self._explain(error) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        is_full = isinstance(error, OSError) and error.errno in _FULL
        keeps_downloads = (
            error is not None and not is_full and self.downloads.is_dir() and any(self.downloads.iterdir())
        )
        for leftover in (self.data, self.scratch, self.folder / "replaced"):
            _remove(leftover)
        if not keeps_downloads:
            _remove(self.folder)
        os.close(self._lock)
        if isinstance(error, OSError):
            raise self._explain(error) from error

    def _take_lock(self) -> int:
        path = self.folder / "lock"
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                raise DatasetError(
                    f"{self.output}: another preparation is writing it just now; wait for it or give another output"
                ) from None
            # A preparation that just finished may have removed the file that was locked here.
            if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
            os.close(descriptor)
            self.folder.mkdir(parents=True, exist_ok=True)

    def _explain(self, error: OSError) -> ImageTuningError:
        if error.errno in _FULL:
            return DiskError(
                f"{self.output}: the disk is full ({error.strerror}), so no data set was written and nothing is left "
                "behind; free space (about twice the finished data set is needed) or give another output folder"
            )
        error.filename = error.filename or str(self.output)
        return as_own_error(error)


def _is_data_set(folder: Path) -> bool:
    return (folder / DOCUMENT_NAME).is_file()


def _is_empty_folder(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
