"""How a source is to be read where it does not say it itself, and what was understood of it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from kfp_image_tuning.core.errors import DatasetError
from kfp_image_tuning.dataset.document import SPLIT_NAMES, SkippedImage


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the user says of a source; nothing of it is needed where only one reading is plausible.

    Attributes:
        splits: Pairs of split and folder, such as ``("train", "fold1")``; other folders are not read.
        classes_from: ``top`` or ``leaf``: which of nested folders name the classes; or the folder that holds the
            class folders.
        image_column: The table's column with the images' file names.
        label_column: The table's column with the classes.
        split_column: The table's column with the splits.
        label_separator: What stands between several labels in a cell.
        folder: The folder that a table's file names are relative to, itself relative to the table's.
        extension: What a table's file names lack, such as ``.jpg``.
        class_names: Names for classes that the source only numbers, by number.
        classes: Classes to keep; None: all.
        merge: Old class names and their new ones.
        group_by: A table's column, or a regular expression for images' names, by which images belong together (one
            patient, one video): they stay in one split.
        allow_empty_classes: Whether a class may have no training image.
    """

    splits: tuple[tuple[str, str], ...] = ()
    classes_from: str | None = None
    image_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    label_separator: str | None = None
    folder: str | None = None
    extension: str | None = None
    class_names: tuple[str, ...] | None = None
    classes: tuple[str, ...] | None = None
    merge: tuple[tuple[str, str], ...] = ()
    allow_empty_classes: bool = False
    group_by: str | None = None

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Read options as they are written on a command line: ``splits`` and ``merge`` as ``a=b,c=d``, lists by commas.

        Raises:
            DatasetError: With everything that is not of that form.
        """
        problems: list[str] = []
        values: dict[str, Any] = {}
        for name in (item.name for item in fields(cls)):
            value = options.get(name)
            if value is None or value == "":
                continue
            if name in ("splits", "merge"):
                value = _read_pairs(name, value, problems)
            elif name in ("class_names", "classes") and isinstance(value, str):
                value = tuple(part.strip() for part in value.split(",") if part.strip())
            elif name == "allow_empty_classes":
                value = str(value).lower() == "true"
            values[name] = value
        problems += [
            f"splits: {split!r} is not one of {', '.join(SPLIT_NAMES)}"
            for split, _ in values.get("splits", ())
            if split not in SPLIT_NAMES
        ]
        if problems:
            raise DatasetError.from_problems(problems)
        return cls(**values)

    def given(self) -> dict[str, Any]:
        """What is not left open."""
        return {item.name: value for item in fields(self) if (value := getattr(self, item.name)) != item.default}

    def to_options(self) -> dict[str, str]:
        """The text form of what is given, as `from_options` reads it."""
        options = {}
        for name, value in self.given().items():
            if name in ("splits", "merge"):
                options[name] = ",".join(f"{left}={right}" for left, right in value)
            else:
                options[name] = ",".join(value) if isinstance(value, tuple) else str(value)
        return options


def _read_pairs(name: str, text: str, problems: list[str]) -> tuple[tuple[str, str], ...]:
    pairs = []
    for part in text.split(","):
        left, sign, right = (piece.strip() for piece in part.partition("="))
        if not (sign and left and right):
            example = "train=DIR,test=DIR" if name == "splits" else "old=new,other=new"
            problems.append(f"{name}: {part!r} is not a pair such as {example}")
        pairs.append(({"val": "validation"}.get(left, left) if name == "splits" else left, right.strip("/")))
    return tuple(pairs)


@dataclass
class Findings:
    """What was found out while a source is read, for the table that is shown before work starts.

    Attributes:
        skipped: Images that cannot be used.
        notes: What was left aside on purpose, such as a folder of thumbnails.
        decisions: How the source was understood, one sentence each.
        split_words: Split to the words that named it, such as the names of folders.
        class_numbers: Class name to number, where the source numbers its classes.
    """

    skipped: list[SkippedImage] = field(default_factory=list)
    notes: list[SkippedImage] = field(default_factory=list)
    decisions: list[str] = field(default_factory=list)
    split_words: dict[str, list[str]] = field(default_factory=dict)
    class_numbers: dict[str, int] = field(default_factory=dict)

    def name_split(self, split: str, word: str) -> None:
        """Remember what named a split."""
        words = self.split_words.setdefault(split, [])
        if word not in words:
            words.append(word)

    def decide(self, sentence: str) -> None:
        """Remember a decision, once."""
        if sentence not in self.decisions:
            self.decisions.append(sentence)


def enumerate_names(names: list[str], most: int = 6) -> str:
    """``a, b and 7 more``: names in a message."""
    ordered = sorted(names, key=natural_key)
    more = len(ordered) - most
    return ", ".join(ordered) if more <= 1 else f"{', '.join(ordered[:most])} and {more:,} more"


def natural_key(name: str) -> tuple[tuple[int, str], ...]:
    """A sort key by which 2 comes before 10, whatever the length of the numbers."""
    parts = ((part.lstrip("0"), part) for part in re.split(r"(\d+)", name))
    return tuple((len(digits), digits) if part.isdecimal() else (-1, part) for digits, part in parts)
