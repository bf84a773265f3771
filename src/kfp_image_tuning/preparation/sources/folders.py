"""The files below a folder, and which folders and files of a source are nobody's photos."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from kfp_image_tuning.dataset.document import SkippedImage
from kfp_image_tuning.preparation.sources.reading import Findings

_MACHINE_FOLDERS = {
    "__MACOSX": "written by macOS beside an archive's files",
    "@eaDir": "thumbnails of a network drive",
    "#recycle": "a network drive's bin",
    "$RECYCLE.BIN": "a bin",
    "lost+found": "a file system's own",
    "Thumbnails": "thumbnails",
}


def is_of_a_machine(name: str) -> bool:
    """Whether a file's path leads through a hidden folder, or one that a machine has made: thumbnails, bins."""
    return any(part.startswith(".") or part in _MACHINE_FOLDERS for part in name.split("/"))


def walk_files(folder: Path, findings: Findings) -> Iterator[tuple[str, str]]:
    """All files below a folder, sorted, as (name relative to it, path).

    Links are followed, but every real folder is entered once only: a loop of links ends there. Hidden files and folders
    are passed over. What cannot be listed is added to ``skipped``, what is met a second time to ``notes``.
    """
    entered: dict[tuple[int, int], str] = {}
    waiting = [("", str(folder))]
    while waiting:
        prefix, path = waiting.pop()
        try:
            status = os.stat(path)
            if first := entered.get((status.st_dev, status.st_ino)):
                reason = f"the folder was already visited under another name (a link): {first}"
                findings.notes.append(SkippedImage(prefix, reason))
                continue
            entered[status.st_dev, status.st_ino] = prefix or "the source itself"
            entries = sorted(os.scandir(path), key=lambda entry: entry.name)
        except OSError as error:
            findings.skipped.append(SkippedImage(prefix, f"the folder cannot be listed: {error.strerror}"))
            continue
        folders = []
        for entry in entries:
            name = f"{prefix}/{entry.name}" if prefix else entry.name
            if entry.name in _MACHINE_FOLDERS:
                findings.notes.append(SkippedImage(name, f"{_MACHINE_FOLDERS[entry.name]}, not photos"))
            elif entry.name.startswith("."):
                continue
            elif _is_folder(entry):
                folders.append((name, entry.path))
            else:
                yield name, entry.path
        waiting += reversed(folders)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return stat.S_ISDIR(entry.stat().st_mode)
    except OSError:
        # A dangling link, or a link to itself: reading it will say what is wrong.
        return False
