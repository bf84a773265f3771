"""The rows of a table as images with labels and splits.

All tables come here, whatever file they were written in: a header, if there is one, and rows of cells.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kfp_image_tuning.core.errors import DatasetError
from kfp_image_tuning.dataset.document import SkippedImage
from kfp_image_tuning.preparation.sources.reading import Findings, Reading, enumerate_names
from kfp_image_tuning.preparation.sources.table_cells import FALSE, TRUE, as_text, labels_in, split_in
from kfp_image_tuning.preparation.sources.table_columns import (
    PLURAL_COLUMNS,
    Columns,
    columns_without_header,
    find_columns,
    plain_name,
)

SEVERAL_ROWS_FRACTION = 0.1


@dataclass(frozen=True, slots=True)
class TableRow:
    """One image of a table."""

    path: str
    labels: tuple[str, ...]
    split: str | None
    group: str | None = None


def rows_of_table(
    header: Sequence[str] | None, cells: Sequence[Sequence[Any]], reading: Reading, findings: Findings, place: str
) -> list[TableRow]:
    """The images of a table.

    Args:
        header: Names of the columns; None for a table without.
        cells: The rows.
        reading: Which columns the user names.
        findings: Gets the rows without a label, and what was decided.
        place: The table, for messages.

    Raises:
        DatasetError: If it does not tell image and label, or tells them in two ways.
    """
    if header is None:
        columns = columns_without_header(cells, reading, place)
    else:
        columns = find_columns(header, cells, reading, findings, place)
    separator = _label_separator(header, columns, cells, reading, findings)
    titles = [name.strip() for name in header or ()]
    group_column = titles.index(reading.group_by) if reading.group_by in titles else None
    rows: dict[TableRow, None] = {}
    for number, row in enumerate(cells, start=1 if header is None else 2):
        image = as_text(row[columns.image]) if columns.image < len(row) else ""
        if not image or "\0" in image or len(row) <= columns.labels[0]:
            shown = ",".join(map(as_text, row))[:80]
            raise DatasetError(f"{place}: row {number}: {shown!r} has no path and label; write path,label[,split]")
        labels = _labels_of(row, columns, header, separator, f"{place}: row {number}")
        split = _split_of_cell(row, columns, f"{place}: row {number}")
        if labels is None:
            findings.skipped.append(SkippedImage(image, "has no label in the table"))
        else:
            # The same line twice says nothing new.
            group = as_text(row[group_column]) if group_column is not None and group_column < len(row) else None
            rows[TableRow(image, labels, split, group or None)] = None
    if not rows:
        raise DatasetError(f"{place}: has no row with path and label; write one image a line: path,label[,split]")
    for split in sorted({row.split for row in rows if row.split}):
        word = header[columns.split] if header and columns.split is not None else None
        findings.name_split(split, f"column {word}" if word else "the table")
    settled = list(rows)
    if columns.one_hot and header is not None:
        used = {label for row in settled for label in row.labels}
        if unused := [name for position in columns.labels if (name := header[position].strip()) not in used]:
            findings.decide(f"there is no image of {enumerate_names(unused)}, so that column is no class")
    if columns.one_hot and all(len(row.labels) <= 1 for row in settled):
        settled = _drop_unlabelled(settled, findings)
    return _join_rows(settled, findings)


def _split_of_cell(row: Sequence[Any], columns: Columns, place: str) -> str | None:
    if columns.split is None or columns.split >= len(row):
        return None
    cell = row[columns.split]
    if columns.flag is None:
        return split_in(cell, place)
    word = as_text(cell).strip().lower()
    if columns.flag == "by number":
        return {"0": "train", "1": "validation", "2": "test"}.get(word)
    if word in TRUE:
        return columns.flag
    return ("train" if columns.flag != "train" else "test") if word in FALSE else None


def _labels_of(
    row: Sequence[Any], columns: Columns, header: Sequence[str] | None, separator: str | None, place: str
) -> tuple[str, ...] | None:
    """The labels of a row; None where there are none."""
    if columns.one_hot and header is not None:
        hot = [
            position
            for position in columns.labels
            if position < len(row) and as_text(row[position]).strip() in ("1", "1.0", "True")
        ]
        return tuple(sorted(header[position].strip() for position in hot))
    found: set[str] = set()
    for position in columns.labels:
        if position < len(row):
            if isinstance(row[position], dict):
                raise DatasetError(f"{place}: the label is an object; write the class's name or number as the label")
            found.update(labels_in(row[position], separator) or ())
    if any(label.startswith("-") and label[1:].isdecimal() and label != "-1" for label in found):
        raise DatasetError(f"{place}: the label {sorted(found)[0]} is neither a name nor a number from 0; correct it")
    return tuple(sorted(found)) or None


def _label_separator(
    header: Sequence[str] | None,
    columns: Columns,
    cells: Sequence[Sequence[Any]],
    reading: Reading,
    findings: Findings,
) -> str | None:
    """What stands between several labels, where it is not ``|``."""
    if reading.label_separator:
        return reading.label_separator
    if header is None or columns.one_hot or plain_name(header[columns.labels[0]]) not in PLURAL_COLUMNS:
        return None
    values = {as_text(row[columns.labels[0]]).strip() for row in cells if columns.labels[0] < len(row)}
    for separator, shown in ((",", "comma"), (";", "semicolon"), (" ", "blank")):
        several = [value for value in values if separator in value and "|" not in value and value[0] != "["]
        words = Counter(word.strip() for value in values for word in value.split(separator))
        # A blank may be part of a name, a comma between names rarely is.
        recur = (words[word.strip()] > 1 for value in several for word in value.split(separator))
        if several and (all(recur) if separator == " " else any(recur)):
            findings.decide(
                f"a {shown} in the column {header[columns.labels[0]].strip()} stands between several labels of an image"
            )
            return separator
    return None


def _drop_unlabelled(rows: Iterable[TableRow], findings: Findings) -> list[TableRow]:
    kept = []
    for row in rows:
        if row.labels:
            kept.append(row)
        else:
            findings.skipped.append(SkippedImage(row.path, "has no label in the table"))
    return kept


def _join_rows(rows: Sequence[TableRow], findings: Findings) -> list[TableRow]:
    """Several rows with one label each are one image with several labels, where a table is written so throughout."""
    by_path: dict[str, list[TableRow]] = defaultdict(list)
    for row in rows:
        by_path[row.path].append(row)
    several = [group for group in by_path.values() if len(group) > 1]
    same_split = all(len({row.split for row in group}) == 1 for group in several)
    if not several or not same_split or len(several) < SEVERAL_ROWS_FRACTION * len(by_path):
        return list(rows)
    findings.decide(f"{len(several):,} images have several rows, one for each of their labels")
    return [
        replace(group[0], labels=tuple(sorted({label for row in group for label in row.labels})))
        for group in by_path.values()
    ]
