"""Which column of a table is what, and its rows as images with labels and splits.

All tables come here, whatever file they were written in: a header, if there is one, and rows of cells.
"""

import ast
import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kfp_image_tuning.core.errors import DatasetError
from kfp_image_tuning.dataset.document import SkippedImage
from kfp_image_tuning.preparation.sources.image_reference import is_image_name
from kfp_image_tuning.preparation.sources.reading import Findings, Reading, enumerate_names
from kfp_image_tuning.preparation.sources.split_words import SPLIT_WORDS, split_of

# By how sure they are: a file name before an identifier.
IMAGE_COLUMNS = re.findall(
    r"\w+",
    "path image file filename imagepath filepath imgpath imagefile imagefilename imagename imgname fname "
    "img photo picture filepaths imageurl url uri sourceref imageid imgid fileid photoid idcode id key",
)
LABEL_COLUMNS = re.findall(
    r"\w+",
    "label labels class classes category target classname labelname categoryname species breed tag tags diagnosis dx "
    "classid labelid categoryid emotion variety disease y",
)
PLURAL_COLUMNS = frozenset({"labels", "classes", "tags", "targets", "categories"})
SPLIT_COLUMNS = ("split", "set", "subset", "partition")
# Named so, a column may name splits; its values decide.
POSSIBLE_SPLIT_COLUMNS = ("dataset", "usage", "phase", "datasplit", "mode", "mluse", "fold", "stage", "group")
FLAG_COLUMNS = {"isvalid": "validation", "isval": "validation", "isvalidation": "validation", "istest": "test"}
FLAG_COLUMNS |= {"istrain": "train", "istraining": "train", "istrainingimage": "train", "valid": "validation"}

_NO_LABEL = frozenset({"", "nan", "null", "<na>", "n/a", "#n/a", "na", "nat"})
_TRUE, _FALSE = frozenset({"true", "1", "1.0", "yes"}), frozenset({"false", "0", "0.0", "no"})
_UNASSIGNED = "unassigned"
SEVERAL_ROWS_FRACTION = 0.1
ROWS_LOOKED_AT = 200


@dataclass(frozen=True, slots=True)
class TableRow:
    """One image of a table."""

    path: str
    labels: tuple[str, ...]
    split: str | None
    group: str | None = None


@dataclass(frozen=True)
class Columns:
    """Positions of the columns.

    Attributes:
        image: The image's file name.
        labels: One column with labels; or one for each class (`one_hot`).
        split: The split, if there is one.
        flag: The split that a true value in the split's column means.
        one_hot: Whether each of the labels' columns is a class with 0 or 1.
    """

    image: int
    labels: tuple[int, ...]
    split: int | None = None
    flag: str | None = None
    one_hot: bool = False


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
        columns = _columns_without_header(cells, reading, place)
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


def find_columns(
    header: Sequence[str], cells: Sequence[Sequence[Any]], reading: Reading, findings: Findings, place: str
) -> Columns:
    """Find image, label and split by the columns' names, and by what stands in them.

    Raises:
        DatasetError: If image or label cannot be told.
    """
    names = [plain_name(name) for name in header]
    image = _named(reading.image_column, header, "image_column", place)
    if image is None:
        image = find_image_column(names, cells)
    several = [name.strip() for name in (reading.label_column or "").split(",")]
    if len(several) > 1 and image is not None and set(several) <= {name.strip() for name in header}:
        classes = tuple(_named(name, header, "label_column", place) or 0 for name in several)
        split, flag = _find_split_column(names, header, cells, reading, findings, place, {image, *classes})
        return Columns(image, classes, split, flag, one_hot=True)
    label = _named(reading.label_column, header, "label_column", place)
    split, flag = _find_split_column(names, header, cells, reading, findings, place, {image, label})
    if image is not None and label is not None:
        return Columns(image, (label,), split, flag)
    rest = [position for position in range(len(names)) if position not in (image, split)]
    label = next((names.index(name) for name in LABEL_COLUMNS if name in names and names.index(name) in rest), None)
    if image is not None and label is not None:
        return Columns(image, (_prefer_names(label, names, cells, findings, header),), split, flag)
    hot = [position for position in rest if _is_hot(position, cells)]
    if image is not None and len(hot) > 1 and len(hot) == len(rest):
        findings.decide(f"each of the columns {enumerate_names([header[n].strip() for n in hot])} is a class (0 or 1)")
        return Columns(image, tuple(hot), split, flag, one_hot=True)
    if image is not None and len(rest) == 1:
        findings.decide(f"the column {header[rest[0]].strip()} holds the classes")
        return Columns(image, (rest[0],), split, flag)
    lacking = [f"the {what} (--{what}-column)" for what, found in (("image", image), ("label", label)) if found is None]
    columns_of_classes = ",".join(header[position].strip() for position in hot)
    hint = f"; if {columns_of_classes} are classes with 0 and 1, --label-column {columns_of_classes}" if hot[1:] else ""
    raise DatasetError(
        f"{place}: has the columns {', '.join(name.strip() for name in header)}, which do not tell "
        f"{' nor '.join(lacking)}; name the column, or call it path or label{hint}"
    )


def find_image_column(names: Sequence[str], cells: Sequence[Sequence[Any]]) -> int | None:
    """The column of image files, by its name or by what stands in it; names as of `plain_name`."""
    like_files = [position for position in range(len(names)) if _holds_file_names(position, cells)]
    if len(like_files) == 1:
        return like_files[0]
    choice = like_files or range(len(names))
    named = (names.index(name) for name in IMAGE_COLUMNS if name in names)
    return next((position for position in named if position in choice), None)


def plain_name(name: str) -> str:
    """A column's name without case, blanks and signs: ``Image_ID`` is ``imageid``."""
    return "".join(character for character in name.lower() if character.isalnum())


def as_text(cell: Any) -> str:
    """A cell as text; whole numbers without decimals, nothing for none."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def labels_in(cell: Any, separator: str | None = None) -> tuple[str, ...] | None:
    """The labels in a cell, sorted: ``cat|indoors`` or a list are several; None for an empty one."""
    if isinstance(cell, str) and cell[:1] == "[" and cell[-1:] == "]":
        cell = _read_list(cell)
    values = cell if isinstance(cell, list) else as_text(cell).split(separator or "|")
    labels = {_without_decimals(as_text(value).strip()) for value in values}
    labels = {label for label in labels if label.lower() not in _NO_LABEL}
    return tuple(sorted(labels)) or None


def split_in(cell: Any, place: str) -> str | None:
    """The split that a cell names; nothing is none.

    Raises:
        DatasetError: If it is not a split.
    """
    word = as_text(cell).strip()
    if not word or word.lower() in (_UNASSIGNED, *_NO_LABEL):
        return None
    split = split_of(word)
    if split is None:
        raise DatasetError(f"{place}: split {word!r} is not one of {', '.join(sorted(SPLIT_WORDS))}; correct it")
    return split


def _named(wanted: str | None, header: Sequence[str], option: str, place: str) -> int | None:
    if wanted is None:
        return None
    names = [name.strip() for name in header]
    if wanted.strip() not in names:
        raise DatasetError(f"{option}: {place} has no column {wanted!r}; it has {', '.join(names)}")
    return names.index(wanted.strip())


def _holds_file_names(position: int, cells: Sequence[Sequence[Any]]) -> bool:
    values = [row[position] for row in cells[:ROWS_LOOKED_AT] if position < len(row)]
    return bool(values) and all(isinstance(value, str) and looks_like_image(value) for value in values)


def looks_like_image(cell: str) -> bool:
    """Whether a cell is an image's file name, path or URL."""
    return is_image_name(cell.strip().replace("\\", "/").split("?")[0])


def _is_hot(position: int, cells: Sequence[Sequence[Any]]) -> bool:
    values = {as_text(row[position]).strip() for row in cells if position < len(row)}
    return values <= {"0", "1", "0.0", "1.0", "-1", "True", "False"} and bool(values)


def _prefer_names(
    label: int, names: Sequence[str], cells: Sequence[Sequence[Any]], findings: Findings, header: Sequence[str]
) -> int:
    """Where a table has each class's number and name, the names' column."""
    values = [as_text(row[label]) for row in cells if label < len(row)]
    if not all(value.strip().isdecimal() for value in values):
        return label
    for other in LABEL_COLUMNS:
        if other in names and (position := names.index(other)) != label:
            pairs = {(as_text(row[label]), as_text(row[position])) for row in cells if position < len(row)}
            if len(pairs) == len({number for number, _ in pairs}) == len({name for _, name in pairs}):
                findings.decide(
                    f"the column {header[position].strip()} names the classes that {header[label].strip()} numbers"
                )
                findings.class_numbers.update({name.strip(): int(number) for number, name in pairs})
                return position
    return label


def _find_split_column(
    names: Sequence[str],
    header: Sequence[str],
    cells: Sequence[Sequence[Any]],
    reading: Reading,
    findings: Findings,
    place: str,
    taken: set[int | None],
) -> tuple[int | None, str | None]:
    """The column with the splits; for one of true and false, also which split true is."""
    named = _named(reading.split_column, header, "split_column", place)
    if named is not None:
        return named, FLAG_COLUMNS.get(names[named])
    for name in (*SPLIT_COLUMNS, *POSSIBLE_SPLIT_COLUMNS, *FLAG_COLUMNS):
        if name not in names or names.index(name) in taken:
            continue
        position = names.index(name)
        values = {as_text(row[position]).strip() for row in cells if position < len(row)} - {""}
        shown = header[position].strip()
        if name in FLAG_COLUMNS:
            if values and {value.lower() for value in values} <= _TRUE | _FALSE:
                findings.decide(f"true in the column {shown} means {FLAG_COLUMNS[name]}")
                return position, FLAG_COLUMNS[name]
        elif (name in SPLIT_COLUMNS and not values <= {"0", "1", "2"}) or (values and all(map(split_of, values))):
            return position, None
        elif values == {"0", "1", "2"} and name == "partition":
            findings.decide(f"0, 1 and 2 in the column {shown} mean train, validation and test")
            return position, "by number"
        if values:
            findings.decide(
                f"the column {shown} ({enumerate_names(sorted(values))}) is not used; if it names the splits, write "
                "train, validation or test in it and give --split-column"
            )
    return None, None


def _split_of_cell(row: Sequence[Any], columns: Columns, place: str) -> str | None:
    if columns.split is None or columns.split >= len(row):
        return None
    cell = row[columns.split]
    if columns.flag is None:
        return split_in(cell, place)
    word = as_text(cell).strip().lower()
    if columns.flag == "by number":
        return {"0": "train", "1": "validation", "2": "test"}.get(word)
    if word in _TRUE:
        return columns.flag
    return ("train" if columns.flag != "train" else "test") if word in _FALSE else None


def _columns_without_header(cells: Sequence[Sequence[Any]], reading: Reading, place: str) -> Columns:
    """Path, label and split; or split, path and labels as AutoML has it."""
    for option in ("image_column", "label_column", "split_column"):
        if getattr(reading, option):
            raise DatasetError(f"{option}: {place} has no header; write one into its first line")
    first = [as_text(cell).strip() for cell in cells[0]] if cells else []
    words = {as_text(row[0]).strip().lower() for row in cells if row}
    if len(first) > 2 and looks_like_image(first[1]) and all(word == _UNASSIGNED or split_of(word) for word in words):
        return Columns(1, tuple(range(2, len(first))), 0)
    is_split = all(len(row) < 3 or split_of(as_text(row[2])) or not as_text(row[2]).strip() for row in cells)
    if not is_split and all(as_text(row[0]).startswith(("gs://", "s3://")) for row in cells):
        # AutoML without splits: gs://…,cat,indoors.
        return Columns(0, tuple(range(1, max(map(len, cells)))))
    return Columns(0, (1,), 2)


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


def _read_list(cell: str) -> Any:
    """A list as JSON or Python write it; the text itself where it is neither."""
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(cell)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(value, list):
            return value
    return cell


def _without_decimals(label: str) -> str:
    return label[:-2] if label.endswith(".0") and label[:-2].isdecimal() else label
