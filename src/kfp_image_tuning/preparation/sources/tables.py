"""Tables of any form, and which of a source's files are the tables that label its images."""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from kfp_image_tuning.core.errors import DatasetError
from kfp_image_tuning.dataset.document import SkippedImage
from kfp_image_tuning.preparation.sources.csv_tables import read_csv
from kfp_image_tuning.preparation.sources.folder_layout import has_class_folders, has_split_folders
from kfp_image_tuning.preparation.sources.json_lines import read_json_lines
from kfp_image_tuning.preparation.sources.list_files import read_list_rows
from kfp_image_tuning.preparation.sources.reading import Findings, Reading, enumerate_names
from kfp_image_tuning.preparation.sources.split_words import split_named_in
from kfp_image_tuning.preparation.sources.table_rows import TableRow

TABLE_KINDS = {
    **dict.fromkeys((".csv", ".tsv", ".tab"), "csv"),
    **dict.fromkeys((".jsonl", ".ndjson"), "json-lines"),
    ".manifest": "manifest",
    ".lst": "list",
}
MAXIMUM_TABLE_BYTES = 1 << 30
MAXIMUM_RIVALS = 3
MAXIMUM_RIVAL_BYTES = 64 << 20
COVERED_FRACTION = 0.9


def table_kind(name: str) -> str | None:
    """``csv``, ``json-lines``, ``manifest`` or ``list``, by the ending of a file's name; None for any other file."""
    return next((kind for suffix, kind in TABLE_KINDS.items() if name.lower().endswith(suffix)), None)


def read_table(path: Path, name: str, reading: Reading, findings: Findings, place: str) -> list[TableRow]:
    """Read a table.

    Args:
        path: The file.
        name: Its name in the source; its ending tells the form.
        reading: What the user says of its columns.
        findings: Gets what is not used and what was decided.
        place: What to call it in messages.

    Raises:
        DatasetError: If it is no such table.
    """
    if path.is_file() and path.stat().st_size > MAXIMUM_TABLE_BYTES:
        raise DatasetError(f"{place}: has more than {MAXIMUM_TABLE_BYTES:,} bytes; cut it into several tables")
    kind = table_kind(name) or "csv"
    if kind == "list":
        return read_list_rows(path, name, findings)
    read = read_csv if kind == "csv" else read_json_lines
    return read(path, place, reading, findings)


def choose_tables(names: Iterable[str], images: Sequence[str]) -> list[str]:
    """The files of a source that may label its images; empty where its folders do.

    Lists, manifests and ``metadata.csv`` are made to label the images beside them, so they win over folders. Any other
    table wins only where there are no class folders.

    Args:
        names: All files of the source.
        images: Those that are images.
    """
    known = frozenset(names)
    tables = sorted(name for name in known if table_kind(name) and "submission" not in name.lower())
    # A list of record files says what is in them: a data set that was prepared beside the images.
    tables = [name for name in tables if f"{os.path.splitext(name)[0]}.rec" not in known]
    for chosen in (
        [name for name in tables if table_kind(name) == "list"],
        [name for name in tables if table_kind(name) == "manifest"],
        [name for name in tables if name.rpartition("/")[2].lower() in ("metadata.csv", "metadata.jsonl")],
    ):
        if chosen:
            return chosen
    return [] if has_class_folders(images) else tables


def read_tables(
    tables: Sequence[str],
    open_table: Callable[[str], Path],
    resolve: Callable[[str, list[str], Findings], dict[str, str]],
    reading: Reading,
    findings: Findings,
    place: str,
) -> tuple[list[str], list[TableRow]]:
    """The tables among some that label a source's images, and their rows with the names of files that are there.

    Args:
        tables: Names of the tables.
        open_table: Gives a table's file.
        resolve: Given table, names in it and findings: the files that they mean, as of `find_images`.
        reading: What the user says of the tables.
        findings: Gets what is not used and what was decided.
        place: The source, for messages.

    Raises:
        DatasetError: If none labels the images, or it cannot be told which does.
    """
    used: dict[str, list[TableRow]] = {}
    problems: dict[str, DatasetError] = {}
    found: dict[str, Findings] = {}
    for name in tables:
        found[name] = Findings()
        try:
            rows = read_table(open_table(name), name, reading, found[name], f"{place}/{name}")
            files = resolve(name, [row.path for row in rows], found[name])
        except DatasetError as error:
            problems[name] = error
        else:
            used[name] = [replace(row, path=files[row.path]) for row in rows if row.path in files]
    if not used:
        raise DatasetError.from_problems(problem for error in problems.values() for problem in error.problems)
    splits = {name: split_named_in(name) for name in used}
    if len(used) > 1 and (None in splits.values() or len(set(splits.values())) < len(used)):
        raise DatasetError(
            f"{place}: {enumerate_names(list(used))} all label images; give the one that counts as --data, or call "
            "them train.csv, val.csv and test.csv if they are splits"
        )
    for name, problem in problems.items():
        findings.decide(f"{name} is not used: {problem.problems[0].removeprefix(f'{place}/{name}: ')}")
    rows = []
    for name, own in used.items():
        _merge(findings, found[name])
        split = splits[name] if len(used) > 1 else None
        for row in own:
            rows.append(replace(row, split=row.split or split))
        if split:
            findings.name_split(split, name)
    return list(used), rows


def note_unnamed_images(images: Iterable[str], rows: Iterable[TableRow], findings: Findings) -> None:
    """Say of each folder how many images in it are in no table, such as the unlabelled ones of a competition."""
    unnamed = Counter(name.rpartition("/")[0] for name in set(images) - {row.path for row in rows})
    findings.notes += [
        SkippedImage(folder or ".", f"{count:,} images that no table labels")
        for folder, count in sorted(unnamed.items())
    ]


def refuse_rival_table(
    names: Iterable[str],
    images: Sequence[str],
    open_table: Callable[[str], Path],
    resolve: Callable[[str, list[str], Findings], dict[str, str]],
    reading: Reading,
    place: str,
) -> None:
    """Refuse class folders beside a table that labels the same images otherwise, or names their splits.

    Args:
        names: All files of the source.
        images: Those that are images, in class folders.
        open_table: Gives a table's file.
        resolve: As of `read_tables`.
        reading: What the user says of the source.
        place: The source, for messages.

    Raises:
        DatasetError: If a table and the folders are two readings.
    """
    tables = sorted(name for name in names if table_kind(name) in ("csv", "json-lines"))
    if reading.classes_from or reading.splits or len(tables) > MAXIMUM_RIVALS:
        return
    for name in tables:
        findings = Findings()
        path = open_table(name)
        if path.stat().st_size > MAXIMUM_RIVAL_BYTES:
            continue
        try:
            rows = read_table(path, name, reading, findings, f"{place}/{name}")
            files = resolve(name, [row.path for row in rows], findings)
        except DatasetError:
            continue
        known = [row for row in rows if row.path in files]
        labels: dict[str, set[tuple[str, ...]]] = defaultdict(set)
        for row in known:
            labels[files[row.path].rpartition("/")[0]].add(row.labels)
        names_splits = any(row.split for row in known) and not has_split_folders(images)
        if len(known) < COVERED_FRACTION * len(images) or not (
            names_splits or any(len(v) > 1 for v in labels.values())
        ):
            continue
        classes = enumerate_names(list({label for row in known for label in row.labels}))
        what = "names their splits too" if names_splits else "says otherwise"
        raise DatasetError(
            f"{place}: the folders name the classes, but {name} labels the same images ({classes}) and {what}; give "
            f"the table as --data, or go by the folders with --classes-from top"
        )


def _merge(findings: Findings, other: Findings) -> None:
    findings.skipped += other.skipped
    findings.notes += other.notes
    findings.class_numbers.update(other.class_numbers)
    for sentence in other.decisions:
        findings.decide(sentence)
    for split, words in other.split_words.items():
        for word in words:
            findings.name_split(split, word)
