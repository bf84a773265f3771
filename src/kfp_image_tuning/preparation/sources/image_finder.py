"""Which files a table means by its names: as they stand there, or after what people leave out or add.

Names may lack a folder (``labels.csv`` beside ``train/``) or an ending (``000bec180eb1``), carry a path of the machine
where the table was written, backslashes, or blanks around them.
"""

import os
import posixpath
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from kfp_image_tuning.core.errors import DatasetError
from kfp_image_tuning.dataset.document import SkippedImage
from kfp_image_tuning.preparation.sources.image_reference import is_image_name
from kfp_image_tuning.preparation.sources.reading import Findings, Reading, enumerate_names

CELLS_TRIED = 50


def find_images(
    cells: Sequence[str],
    table: str,
    exists: Callable[[str], bool],
    list_names: Callable[[], Iterable[str]],
    reading: Reading,
    findings: Findings,
    place: str,
) -> dict[str, str]:
    """The files that a table's names mean.

    Args:
        cells: The names in the table.
        table: The table's own name, relative to the source.
        exists: Whether there is a file of a name that is relative to the table's folder.
        list_names: All files in and below the table's folder, relative to it; asked for only where it takes that.
        reading: The folder and the extension that the user names.
        findings: Gets what was decided, and the images that are not there.
        place: The table, for messages.

    Returns:
        Name in the table to name relative to the table's folder. Names of which nothing is found are missing, except
        that names which are right as they stand are all taken over: reading them says what is wrong.

    Raises:
        DatasetError: If none is found, or several folders hold files of these names.
    """
    cells = list(dict.fromkeys(cells))
    if reading.folder or reading.extension:
        found = {cell: _complete(cell, reading) for cell in cells}
        if not any(exists(name) for name in list(found.values())[:CELLS_TRIED]):
            raise DatasetError(
                f"{place}: there is no file {next(iter(found.values()))!r}; correct --folder and --extension, which "
                f"are added to {cells[0]!r}"
            )
        return found
    sample = cells[:CELLS_TRIED]
    if any(exists(cell) for cell in sample):
        return {cell: cell if exists(cell) or not exists(plain_path(cell)) else plain_path(cell) for cell in cells}
    if any(exists(plain_path(cell)) for cell in sample):
        return {cell: plain_path(cell) for cell in cells}
    return _search(cells, table, list_names(), findings, place)


def finder_among(
    names: Iterable[str], reading: Reading, place: str
) -> Callable[[str, list[str], Findings], dict[str, str]]:
    """Finds the files that a table means among those of its source."""
    known = frozenset(names)

    def resolve(table: str, cells: list[str], findings: Findings) -> dict[str, str]:
        folder = table.rpartition("/")[0]
        prefix = f"{folder}/" if folder else ""
        below = {name.removeprefix(prefix) for name in known if name.startswith(prefix)}
        found = find_images(
            cells, table, below.__contains__, lambda: sorted(below), reading, findings, f"{place}/{table}"
        )
        return {cell: prefix + name for cell, name in found.items() if prefix + name in known}

    return resolve


def plain_path(cell: str) -> str:
    """A path as POSIX has it, without blanks around it and ``./`` before it."""
    return posixpath.normpath(cell.strip().replace("\\", "/"))


def _complete(cell: str, reading: Reading) -> str:
    name = plain_path(cell)
    if reading.extension and not name.lower().endswith(reading.extension.lower()):
        name += reading.extension if reading.extension.startswith(".") else f".{reading.extension}"
    return posixpath.join(reading.folder, name) if reading.folder else name


def _search(cells: Sequence[str], table: str, names: Iterable[str], findings: Findings, place: str) -> dict[str, str]:
    """Find files by the end of their names."""
    by_name: dict[str, list[str]] = defaultdict(list)
    by_stem: dict[str, list[str]] = defaultdict(list)
    for name in names:
        if is_image_name(name):
            base = name.rpartition("/")[2]
            by_name[base.lower()].append(name)
            by_stem[os.path.splitext(base)[0].lower()].append(name)
    candidates: dict[str, list[str]] = {}
    for cell in cells:
        path = re.sub(r"^[A-Za-z][A-Za-z0-9+.-]*://[^/]*/", "", plain_path(cell).replace(":/", "://"))
        path = path.split("?")[0] if "://" in cell else path
        base = path.rpartition("/")[2].lower()
        stem = os.path.splitext(base)[0] if is_image_name(base) else base
        candidates[cell] = _longest_tails(path, by_name.get(base) or by_stem.get(base) or by_stem.get(stem) or [])
    if not any(candidates.values()):
        raise DatasetError(
            f"{place}: names {cells[0]!r}, but no image in or below the table's folder is called so, with or without "
            "an ending; name the folder (--folder), the ending (--extension) or another column (--image-column)"
        )
    folder = _choose_folder(candidates, table, findings, place)
    found = {}
    for cell, choice in candidates.items():
        chosen = [name for name in choice if len(choice) == 1 or name.rpartition("/")[0] == folder]
        if chosen:
            found[cell] = chosen[0]
        else:
            findings.skipped.append(SkippedImage(cell, "is in the table, but there is no such file"))
    first = next(iter(found))
    findings.decide(f"the table's {first.strip()} is the file {found[first]}, and so on")
    return found


def _longest_tails(path: str, names: Sequence[str]) -> list[str]:
    """Those of some files that have most of a path's folders in common with it, counted from the end."""
    parts = path.split("/")[:-1]

    def common(name: str) -> int:
        own = name.split("/")[:-1]
        pairs = zip(reversed(parts), reversed(own), strict=False)
        return next((number for number, (left, right) in enumerate(pairs) if left != right), min(len(parts), len(own)))

    best = max(map(common, names), default=0)
    return [name for name in names if common(name) == best]


def _choose_folder(candidates: dict[str, list[str]], table: str, findings: Findings, place: str) -> str | None:
    """The folder to take files from where several hold files of the same names."""
    unclear = [{name.rpartition("/")[0] for name in choice} for choice in candidates.values() if len(choice) > 1]
    if not unclear:
        return None
    folders = set.intersection(*unclear)
    stem = os.path.splitext(table.rpartition("/")[2])[0].lower()
    named_alike = [folder for folder in folders if folder.rpartition("/")[2].lower() == stem]
    if len(named_alike) == 1:
        findings.decide(f"the images are those in {named_alike[0]}, which is named like the table")
        return named_alike[0]
    raise DatasetError(
        f"{place}: files of these names are in {enumerate_names(sorted(set.union(*unclear)))}; say which with --folder"
    )
