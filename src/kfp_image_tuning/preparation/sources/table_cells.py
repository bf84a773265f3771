"""What stands in a cell of a table: text, labels, a split."""

import ast
import json
import math
from typing import Any

from kfp_image_tuning.core.errors import DatasetError
from kfp_image_tuning.preparation.sources.image_reference import is_image_name
from kfp_image_tuning.preparation.sources.split_words import SPLIT_WORDS, split_of

TRUE, FALSE = frozenset({"true", "1", "1.0", "yes"}), frozenset({"false", "0", "0.0", "no"})
UNASSIGNED = "unassigned"
_NO_LABEL = frozenset({"", "nan", "null", "<na>", "n/a", "#n/a", "na", "nat"})


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
    if not word or word.lower() in (UNASSIGNED, *_NO_LABEL):
        return None
    split = split_of(word)
    if split is None:
        raise DatasetError(f"{place}: split {word!r} is not one of {', '.join(sorted(SPLIT_WORDS))}; correct it")
    return split


def looks_like_image(cell: str) -> bool:
    """Whether a cell is an image's file name, path or URL."""
    return is_image_name(cell.strip().replace("\\", "/").split("?")[0])


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
