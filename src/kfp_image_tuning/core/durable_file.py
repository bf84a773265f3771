"""Files and folders that appear whole or not at all, even when the power fails."""

import os
from pathlib import Path


def write_durably(path: Path, content: bytes) -> None:
    """Write a file so that any reader sees the old or the new content, never a part.

    Args:
        path: The file; an existing one is replaced.
        content: All of its bytes.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    bring_names_to_disk(path.parent)


def bring_names_to_disk(folder: Path) -> None:
    """Make what was created, renamed or removed in ``folder`` survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
