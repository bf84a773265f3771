"""A CSV of images: ``path,label[,split]``.

The first line is a header when it names a path and a label column; otherwise the columns are path, label and, if there
is a third, split. Paths are relative to the CSV. ``cat|indoors`` gives an image several labels. ``.tsv`` is separated
by tabs.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kfp_image_tuning.core.errors import DatasetError
from kfp_image_tuning.dataset.document import SkippedImage
from kfp_image_tuning.preparation.sources.folders import SPLIT_WORDS

PATH_COLUMNS = ("path", "image", "file", "filename", "file_name", "image_path", "filepath")
LABEL_COLUMNS = ("label", "labels", "class", "classes", "category", "target")
SPLIT_COLUMNS = ("split", "set", "subset", "partition")


@dataclass(frozen=True, slots=True)
class TableRow:
    """One image of a table."""

    path: str
    labels: tuple[str, ...]
    split: str | None


def read_csv(path: Path, name: str, skipped: list[SkippedImage]) -> list[TableRow]:
    """Read all rows.

    Args:
        path: The CSV.
        name: What to call it in messages.
        skipped: Gets the rows without a label.

    Raises:
        DatasetError: If it is no such table.
    """
    rows: dict[TableRow, None] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
            for row in _read_rows(lines, name):
                if row.labels:
                    # The same line twice says nothing new.
                    rows[row] = None
                else:
                    skipped.append(SkippedImage(row.path, "has no label in the CSV"))
    except UnicodeDecodeError as error:
        raise DatasetError(f"{name}: is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from None
    except csv.Error as error:
        raise DatasetError(f"{name}: is not a CSV ({error}); write it as path,label[,split]") from None
    except OSError as error:
        raise DatasetError(f"{name}: cannot be read ({error.strerror}); check the path and its permissions") from None
    if not rows:
        raise DatasetError(f"{name}: has no row with path and label; write one image a line: path,label[,split]")
    return list(rows)


def _read_rows(lines: Iterator[list[str]], name: str) -> Iterator[TableRow]:
    columns: tuple[int, int, int] | None = None
    for number, cells in enumerate(lines, start=1):
        if not any(cell.strip() for cell in cells):
            continue
        if columns is None:
            columns = _find_columns(cells)
            if columns is not None:
                continue
            columns = (0, 1, 2)
        yield _read_row(cells, columns, f"{name}: row {number}")


def _find_columns(header: Sequence[str]) -> tuple[int, int, int] | None:
    """Positions of path, label and split; None when this is no header. A missing split column lies behind the end."""
    names = [cell.strip().lower() for cell in header]
    path = next((names.index(name) for name in PATH_COLUMNS if name in names), None)
    label = next((names.index(name) for name in LABEL_COLUMNS if name in names), None)
    if path is None or label is None:
        return None
    return path, label, next((names.index(name) for name in SPLIT_COLUMNS if name in names), len(names))


def _read_row(cells: Sequence[str], columns: tuple[int, int, int], place: str) -> TableRow:
    path, label, split = (cells[column] if column < len(cells) else "" for column in columns)
    if not path or "\0" in path or len(cells) <= columns[1]:
        raise DatasetError(f"{place}: {','.join(cells)[:80]!r} has no path and label; write path,label[,split]")
    return TableRow(path, split_labels(label), read_split(split, place))


def split_labels(text: str) -> tuple[str, ...]:
    """``cat|indoors`` into its labels, sorted."""
    return tuple(sorted({label.strip() for label in text.split("|")} - {""}))


def read_split(text: str, place: str) -> str | None:
    """The split that a cell names; nothing is none.

    Raises:
        DatasetError: If it is not a split.
    """
    word = text.strip().lower()
    if word and word not in SPLIT_WORDS:
        raise DatasetError(f"{place}: split {text!r} is not one of {', '.join(sorted(SPLIT_WORDS))}; correct it")
    return SPLIT_WORDS[word] if word else None
