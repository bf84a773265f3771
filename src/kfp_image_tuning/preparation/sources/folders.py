"""A folder of class folders: which files are images, and what their folders say about class and split.

Understood layouts, with any folders above (``photos.zip`` often holds one folder ``photos``) and any below the class::

    cat/1.jpg            cat/outdoors/2.JPEG            train/cat/1.jpg  val/cat/2.jpg  test/dog/3.jpg
"""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from kfp_image_tuning.core.errors import DatasetError
from kfp_image_tuning.dataset.document import SkippedImage
from kfp_image_tuning.preparation.sources.image_reference import ImageReference

SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}


def walk_files(folder: Path, skipped: list[SkippedImage], notes: list[SkippedImage]) -> Iterator[tuple[str, str]]:
    """All files below a folder, sorted, as (name relative to it, path).

    Links are followed, but every real folder is entered once only: a loop of links ends there. Hidden files and folders
    are skipped. What cannot be listed is added to ``skipped``, what is met a second time to ``notes``.
    """
    entered: set[tuple[int, int]] = set()
    waiting = [("", str(folder))]
    while waiting:
        prefix, path = waiting.pop()
        try:
            status = os.stat(path)
            if (status.st_dev, status.st_ino) in entered:
                notes.append(SkippedImage(prefix, "the folder was already visited under another name (a link)"))
                continue
            entered.add((status.st_dev, status.st_ino))
            entries = sorted(os.scandir(path), key=lambda entry: entry.name)
        except OSError as error:
            skipped.append(SkippedImage(prefix, f"the folder cannot be listed: {error.strerror}"))
            continue
        folders = []
        for entry in entries:
            name = f"{prefix}/{entry.name}" if prefix else entry.name
            if entry.name.startswith(".") or entry.name == "__MACOSX":
                continue
            if _is_folder(entry):
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


def label_by_folder(
    references: Sequence[ImageReference], skipped: list[SkippedImage], place: str
) -> list[ImageReference]:
    """Give each image the class, and the split if there is one, that its folders name.

    Args:
        references: Images without labels, names relative to the source.
        skipped: Gets the images that lie in no class folder.
        place: The source, for messages.

    Raises:
        DatasetError: If there are no images or no class folders.
    """
    if not references:
        raise DatasetError(
            f"{place}: holds no images (JPEG, PNG, WebP, BMP, TIFF or GIF, known by the ending of their names); "
            "give a folder of class folders, an archive of one, a CSV, a Parquet file or .rec files"
        )
    paths = [reference.name.split("/") for reference in references]
    depth = _count_wrapping_folders(paths)
    splits = _splits_by_folder(parts[depth] for parts in paths if len(parts) > depth + 1)
    depth += bool(splits)
    labelled = []
    for reference, parts in zip(references, paths, strict=True):
        if len(parts) < depth + 2:
            skipped.append(SkippedImage(reference.name, "lies in no class folder"))
            continue
        split = splits[parts[depth - 1]] if splits else None
        labelled.append(replace(reference, labels=(parts[depth],), split=split))
    if not labelled:
        raise DatasetError(
            f"{place}: its images lie in no class folders; put the images of each class into a folder with the class's "
            "name, or give a CSV with path and label"
        )
    return labelled


def _count_wrapping_folders(names: Sequence[Sequence[str]]) -> int:
    """How many folders wrap all the class folders; files beside the wrapping folders do not count."""
    depth = 0
    while True:
        inside = [parts for parts in names if len(parts) > depth + 1]
        deeper = {parts[depth + 1] for parts in inside if len(parts) > depth + 2}
        has_images_of_its_own = any(len(parts) == depth + 2 for parts in inside)
        if len({parts[depth] for parts in inside}) != 1 or len(deeper) < 1 + has_images_of_its_own:
            return depth
        depth += 1


def _splits_by_folder(folders: Iterable[str]) -> dict[str, str]:
    """Folder name to split, when all the folders are named like splits and one of them is the training split."""
    names = set(folders)
    splits = {name: SPLIT_WORDS[name.lower()] for name in names if name.lower() in SPLIT_WORDS}
    if len(splits) < len(names) or len(names) < 2 or "train" not in splits.values():
        return {}
    return splits


def split_named_in(name: str) -> str | None:
    """The split that a data file's path names: ``data/train-00000-of-00002.parquet``, ``caltech_val.rec``."""
    words = os.path.splitext(name)[0].lower().replace("/", " ").replace("-", " ").replace("_", " ").replace(".", " ")
    named = [SPLIT_WORDS[word] for word in words.split() if word in SPLIT_WORDS]
    return named[-1] if named else None
