"""Which column of a table is what: by the words that people use for them, and by what stands in them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kfp_image_tuning.core.errors import DatasetError
from kfp_image_tuning.preparation.sources.reading import Findings, Reading, enumerate_names
from kfp_image_tuning.preparation.sources.split_words import split_of
from kfp_image_tuning.preparation.sources.table_cells import FALSE, TRUE, UNASSIGNED, as_text, looks_like_image

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

ROWS_LOOKED_AT = 200


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


def columns_without_header(cells: Sequence[Sequence[Any]], reading: Reading, place: str) -> Columns:
    """Path, label and split; or split, path and labels as AutoML has it.

    Raises:
        DatasetError: If the user names a column, which this table cannot have.
    """
    for option in ("image_column", "label_column", "split_column"):
        if getattr(reading, option):
            raise DatasetError(f"{option}: {place} has no header; write one into its first line")
    first = [as_text(cell).strip() for cell in cells[0]] if cells else []
    words = {as_text(row[0]).strip().lower() for row in cells if row}
    if len(first) > 2 and looks_like_image(first[1]) and all(word == UNASSIGNED or split_of(word) for word in words):
        return Columns(1, tuple(range(2, len(first))), 0)
    is_split = all(len(row) < 3 or split_of(as_text(row[2])) or not as_text(row[2]).strip() for row in cells)
    if not is_split and all(as_text(row[0]).startswith(("gs://", "s3://")) for row in cells):
        # AutoML without splits: gs://…,cat,indoors.
        return Columns(0, tuple(range(1, max(map(len, cells)))))
    return Columns(0, (1,), 2)


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
            if values and {value.lower() for value in values} <= TRUE | FALSE:
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
