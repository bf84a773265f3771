"""The ``.lst`` files of im2rec and of SageMaker's image format: ``index<tab>label<tab>path``, labels as numbers."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from kfp_image_tuning.core.errors import DatasetError
from kfp_image_tuning.dataset.recordio import ListEntry, read_list
from kfp_image_tuning.preparation.sources.numbered_classes import MAXIMUM_DIGITS
from kfp_image_tuning.preparation.sources.reading import Findings
from kfp_image_tuning.preparation.sources.split_words import split_named_in, split_of
from kfp_image_tuning.preparation.sources.table_rows import TableRow


def read_list_rows(path: Path, name: str, findings: Findings) -> list[TableRow]:
    """Read a list; its labels stay numbers.

    Args:
        path: The list.
        name: Its name in the source, which may name a split (``train.lst``).
        findings: Gets what named the split.

    Raises:
        DatasetError: If it is no such list.
    """
    split = split_named_in(name)
    if split:
        findings.name_split(split, name.rpartition("/")[2])
    entries = read_list(path)
    if not entries:
        raise DatasetError(f"{name}: is empty; write index<tab>label<tab>path for each image")
    return [TableRow(entry.path, label_numbers(entry.labels, f"{name}: {entry.path}"), split) for entry in entries]


def label_numbers(labels: tuple[float, ...], place: str) -> tuple[str, ...]:
    """A class number, or one value (0 or 1) for each class.

    Raises:
        DatasetError: If they are neither.
    """
    if len(labels) == 1 and labels[0] >= 0 and labels[0].is_integer():
        return (str(int(labels[0])),)
    if len(labels) > 1 and set(labels) <= {0.0, 1.0}:
        return tuple(str(number) for number, value in enumerate(labels) if value)
    raise DatasetError(
        f"{place}: the label {', '.join(f'{label:g}' for label in labels[:10])} is neither a class number from 0 nor "
        "one 0 or 1 for each class; write the records with class numbers as labels"
    )


def names_by_folder(rows: Iterable[tuple[str, tuple[str, ...]]]) -> tuple[str, ...] | None:
    """Names for numbered classes, where the images of each number are in one folder of their own.

    Args:
        rows: Path and label numbers of each image.

    Returns:
        A name for every number from 0 to the highest, its number where there are no images of it; None where folders do
        not tell.
    """
    folders: dict[int, str] = {}
    for path, labels in rows:
        folder = PurePosixPath(path.replace("\\", "/")).parent.name
        if len(labels) != 1 or folders.setdefault(int(labels[0]), folder) != folder:
            return None
    if (
        not folders
        or max(folders) >= 10**MAXIMUM_DIGITS
        or len(set(folders.values())) < len(folders)
        or any(not name or split_of(name) for name in folders.values())
    ):
        return None
    return tuple(folders.get(number, str(number)) for number in range(max(folders) + 1))


def names_of_entries(entries: Iterable[ListEntry]) -> tuple[str, ...] | None:
    """`names_by_folder` of a list that is beside a record file."""
    return names_by_folder((entry.path, label_numbers(entry.labels, entry.path)) for entry in entries)
