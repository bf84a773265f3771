"""A CSV of images, as people write it: ``path,label[,split]``.

The first line is a header unless an image's file name stands in it; without one, the columns are path, label and, if
there is a third, split (or split, path, label, as AutoML has it). Commas, semicolons, tabs and bars separate; the text
is UTF-8 or UTF-16. ``cat|indoors`` gives an image several labels.
"""

import csv
import io
from pathlib import Path

from kfp_image_tuning.core.errors import DatasetError
from kfp_image_tuning.preparation.sources.reading import Findings, Reading
from kfp_image_tuning.preparation.sources.table_cells import looks_like_image
from kfp_image_tuning.preparation.sources.table_columns import IMAGE_COLUMNS, LABEL_COLUMNS, plain_name
from kfp_image_tuning.preparation.sources.table_rows import TableRow, rows_of_table

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "blanks"}


def read_csv(path: Path, name: str, reading: Reading, findings: Findings) -> list[TableRow]:
    """Read all rows.

    Args:
        path: The CSV.
        name: What to call it in messages.
        reading: What the user says of its columns.
        findings: Gets the rows without a label, and what was decided.

    Raises:
        DatasetError: If it is no such table.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{name}: cannot be read ({error.strerror}); check the path and its permissions") from None
    lines = list(io.StringIO(_decode(text, name), newline=""))
    preferred = "\t" if path.suffix.lower() in (".tsv", ".tab") else ","
    if lines and lines[0].lower().startswith("sep=") and len(lines[0].strip()) == 5:
        preferred = lines.pop(0).strip()[4]
    separator = _choose_separator(lines, preferred)
    if separator != preferred:
        findings.decide(f"the table's columns are separated by {_SEPARATORS[separator]}")
    try:
        reader = csv.reader(lines, delimiter=separator, strict=True, skipinitialspace=True)
        rows = [row for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise DatasetError(f"{name}: is not a CSV ({error}); write it as path,label[,split]") from None
    header = rows.pop(0) if rows and _is_header(rows) else None
    return rows_of_table(header, rows, reading, findings, name)


def _decode(text: bytes, name: str) -> str:
    encoding = "utf-16" if text[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return text.decode(encoding)
    except UnicodeDecodeError as error:
        raise DatasetError(f"{name}: is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from None


def _choose_separator(lines: list[str], preferred: str) -> str:
    """The preferred one, unless the first line has none of it and another."""
    first = next((line for line in lines if line.strip()), "")
    present = [separator for separator in (preferred, *_SEPARATORS) if separator in first]
    return present[0] if present else preferred


def _is_header(rows: list[list[str]]) -> bool:
    first = rows[0]
    if any(looks_like_image(cell) or "://" in cell for cell in first):
        return False
    known = {plain_name(cell) for cell in first} & {*IMAGE_COLUMNS, *LABEL_COLUMNS}
    return bool(known) or any(looks_like_image(cell) for row in rows[1:2] for cell in row)
