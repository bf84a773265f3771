"""Files and folders that appear whole or not at all, even when the power fails."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """Yield where to write a file that appears under its own name when the context ends without an error.

    Whoever looks sees what was there before or all of the new file, never a part; folders on the way are made. The
    name to write under ends as the file's own: writers of some formats look at that.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_durably(path: Path, content: bytes) -> None:
    """Write a file so that any reader sees the old or the new content, never a part.

    Args:
        path: The file; an existing one is replaced.
        content: All of its bytes.
    """
    try:
        with appearing(path) as temporary, temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        # The system does not say which file it could not write, or has the temporary name.
        error.filename = str(path)
        raise
    bring_names_to_disk(path.parent)


def bring_names_to_disk(folder: Path) -> None:
    """Make what was created, renamed or removed in ``folder`` survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
