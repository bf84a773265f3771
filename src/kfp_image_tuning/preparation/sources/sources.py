"""From what the user has to a source on this machine: what kind it is, and its files.

A source is opened in two steps, so that a data set that is there already can be recognised before anything is unpacked:
`open_source` finds (and downloads) the files, `Source.read` gives the images.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from kfp_image_tuning.core.errors import DatasetError
from kfp_image_tuning.core.object_store import is_remote
from kfp_image_tuning.core.remote_source import RemoteObject, RemoteSource, listing_identity
from kfp_image_tuning.dataset.document import DOCUMENT_NAME, Dataset, SkippedImage
from kfp_image_tuning.dataset.recordio import read_list
from kfp_image_tuning.preparation.sources.archives import ARCHIVE_SUFFIXES
from kfp_image_tuning.preparation.sources.folder_layout import has_class_folders
from kfp_image_tuning.preparation.sources.folders import is_of_a_machine, walk_files
from kfp_image_tuning.preparation.sources.image_finder import find_images, finder_among, plain_path
from kfp_image_tuning.preparation.sources.image_reference import (
    is_image_name,
    unread_format,
    unread_reason,
)
from kfp_image_tuning.preparation.sources.list_files import names_by_folder, names_of_entries
from kfp_image_tuning.preparation.sources.parquet_tables import read_paths, refuse_several_tables
from kfp_image_tuning.preparation.sources.reading import Findings, Reading, enumerate_names
from kfp_image_tuning.preparation.sources.source import PATHS_IN_PARQUET, TABLES, Source, SourceFile
from kfp_image_tuning.preparation.sources.table_rows import TableRow, rows_of_table
from kfp_image_tuning.preparation.sources.tables import (
    TABLE_KINDS,
    choose_tables,
    note_unnamed_images,
    read_table,
    read_tables,
    refuse_rival_table,
    table_kind,
)

_KINDS = {**dict.fromkeys(ARCHIVE_SUFFIXES, "archive"), **TABLE_KINDS, ".parquet": "parquet", ".arrow": "arrow"}
_KINDS[".rec"] = "recordio"
_FORMS = (
    "a folder of class folders, a zip or tar archive of one, a table of images (.csv, .tsv, .jsonl, .lst, .manifest), "
    ".parquet or .arrow with image bytes, or .rec files"
)


def open_source(
    data: str, downloads: Path, progress: Callable[[str], object], reading: Reading | None = None
) -> Source:
    """Find out what a source is and bring its files to this machine.

    Args:
        data: Path or URI.
        downloads: Where downloads go.
        progress: Takes a line now and then.
        reading: What the user says of the source.

    Raises:
        DatasetError: If there is no such source.
    """
    reading = reading or Reading()
    if is_remote(data):
        return _open_remote(RemoteSource(data), downloads, progress, reading)
    path = Path(unquote(urlsplit(data).path) if data.startswith("file://") else data).expanduser().absolute()
    if path.is_dir():
        return _open_folder(path, reading)
    if not path.is_file():
        raise DatasetError(f"{path}: is not there; give {_FORMS}")
    kind = _kind_of_file(path.name, str(path))
    if kind == "recordio":
        names = _names_beside_records({path.name: str(path), **_lists_beside(path)}, [path.name])
        return Source(str(path), kind, [SourceFile(path.name, str(path))], reading, class_names=names)
    findings = Findings()
    if kind == "parquet" and (table := read_paths(path)):
        rows = rows_of_table(*table, reading, findings, str(path))
        kind = PATHS_IN_PARQUET
    elif kind not in TABLES:
        return Source(str(path), kind, [SourceFile(path.name, str(path))], reading)
    else:
        rows = read_table(path, path.name, reading, findings, str(path))
    files = _files_of_table(path, rows, downloads, progress, reading, findings)
    return _table_source(str(path), kind, {path.name: str(path)}, rows, files, reading, findings)


def _table_source(
    uri: str,
    kind: str,
    tables: Mapping[str, str],
    rows: Sequence[TableRow],
    files: Mapping[str, tuple[str, str]],
    reading: Reading,
    findings: Findings,
) -> Source:
    """A source of tables and the files that they name.

    Args:
        uri: The source.
        kind: Of its tables.
        tables: Name and path of each.
        rows: Their rows.
        files: Name in the table to the file's name in the source and its path; rows without one are left out.
        reading: What the user says of it.
        findings: What was found out so far.
    """
    rows = [replace(row, path=files[row.path][0]) for row in rows if row.path in files]
    images = _files(dict(files.values()).items())
    names = names_by_folder((row.path, row.labels) for row in rows) if kind == "list" else None
    return Source(uri, kind, [*_files(tables.items()), *images], reading, rows, names, findings)


def _files_of_table(
    table: Path,
    rows: Sequence[TableRow],
    downloads: Path,
    progress: Callable[[str], object],
    reading: Reading,
    findings: Findings,
) -> dict[str, tuple[str, str]]:
    """The files that a local table names: its own, relative to it, or objects in a store."""
    folder = table.parent
    cells = [row.path for row in rows]

    def list_names() -> Iterable[str]:
        return (name for name, _ in walk_files(folder, Findings()))

    try:
        found = find_images(
            cells, table.name, lambda name: os.path.exists(folder / name), list_names, reading, findings, str(table)
        )
    except DatasetError:
        remote = [cell for cell in cells if is_remote(cell)]
        if len(remote) < len(cells):
            raise
        return _download_named(remote, downloads, progress, findings)
    return {cell: (name, os.path.join(folder, name)) for cell, name in found.items()}


def _download_named(
    uris: Sequence[str], downloads: Path, progress: Callable[[str], object], findings: Findings
) -> dict[str, tuple[str, str]]:
    """Objects that a table names by their addresses, downloaded."""
    found: dict[str, tuple[str, str]] = {}
    by_bucket: dict[str, dict[str, str]] = {}
    for uri in dict.fromkeys(uris):
        scheme, _, rest = uri.partition("://")
        bucket, _, key = rest.partition("/")
        by_bucket.setdefault(f"{scheme}://{bucket}", {})[key] = uri
    for bucket, keys in by_bucket.items():
        paths = RemoteSource(bucket).download([RemoteObject(key) for key in keys], downloads, progress)
        for key, uri in keys.items():
            if key in paths:
                found[uri] = uri, str(paths[key])
            else:
                findings.skipped.append(SkippedImage(uri, "is not in the store"))
    return found


def remote_identity(data: str) -> str | None:
    """What stands for a remote source's content without downloading it; None if nothing does.

    Raises:
        DatasetError: If the source cannot be reached.
    """
    source = RemoteSource(data)
    kind = _find_kind(source.key)
    if kind in TABLES:
        # Only a download tells which images it names.
        return None
    return listing_identity([source.look_up()] if kind else source.list())


def _open_folder(path: Path, reading: Reading) -> Source:
    findings = Findings()
    names = dict(walk_files(path, findings))
    kind, chosen = _choose_files(names, str(path), findings)
    if kind == "folder" and (tables := choose_tables(names, chosen)):
        try:
            used, rows = read_tables(
                tables,
                lambda name: Path(names[name]),
                finder_among(chosen, reading, str(path)),
                reading,
                findings,
                str(path),
            )
        except DatasetError as error:
            if not has_class_folders(chosen) or any(table_kind(name) != "csv" for name in tables):
                raise
            findings.decide(f"{tables[0]} does not label the images: {error.problems[0]}")
        else:
            findings.decide(f"the table {enumerate_names(used)} labels the images")
            note_unnamed_images(chosen, rows, findings)
            files = {row.path: (row.path, names[row.path]) for row in rows}
            kind = table_kind(used[0]) or kind
            return _table_source(str(path), kind, {name: names[name] for name in used}, rows, files, reading, findings)
    if kind == "folder":
        resolve = finder_among(chosen, reading, str(path))
        refuse_rival_table(names, chosen, lambda name: Path(names[name]), resolve, reading, str(path))
        _mention_tables(names, findings)
    class_names = None
    if kind == "recordio":
        class_names = Dataset.load(path).classes if DOCUMENT_NAME in names else _names_beside_records(names, chosen)
    return Source(str(path), kind, _files((n, names[n]) for n in chosen), reading, [], class_names, findings)


def _mention_tables(names: Iterable[str], findings: Findings) -> None:
    tables = [name for name in names if table_kind(name)]
    if tables:
        findings.decide(
            f"{enumerate_names(tables, 3)} beside the images: not used, the folders name the classes; to use a table, "
            "give it as --data"
        )


def _lists_beside(record: Path) -> dict[str, str]:
    beside = record.with_suffix(".lst")
    return {beside.name: str(beside)} if beside.is_file() else {}


def _names_beside_records(names: Mapping[str, str], records: Sequence[str]) -> tuple[str, ...] | None:
    """Names for the classes of im2rec's record files, where the lists beside them tell the images' folders."""
    lists = [f"{os.path.splitext(record)[0]}.lst" for record in records]
    if not all(name in names for name in lists):
        return None
    return names_of_entries(entry for name in lists for entry in read_list(names[name]))


def _open_remote(source: RemoteSource, downloads: Path, progress: Callable[[str], object], reading: Reading) -> Source:
    kind = _find_kind(source.key)
    if kind is None:
        return _open_remote_folder(source, downloads, progress, reading)
    path = source.download([source.look_up()], downloads, progress)[source.key]
    name = source.key.rpartition("/")[2]
    if kind not in TABLES:
        return Source(source.uri, kind, [SourceFile(name, str(path))], reading)
    findings = Findings()
    rows = read_table(path, name, reading, findings, source.uri)
    relative = {row.path: plain_path(row.path) for row in rows if not is_remote(row.path)}
    objects = {cell: source.sibling(file) for cell, file in relative.items()}
    paths = source.download(list(dict.fromkeys(objects.values())), downloads, progress)
    files = {cell: (relative[cell], str(paths[item.key])) for cell, item in objects.items() if item.key in paths}
    findings.skipped += [SkippedImage(cell, "is not in the store") for cell in objects if cell not in files]
    remote = [row.path for row in rows if row.path not in relative]
    files |= _download_named(remote, downloads, progress, findings)
    return _table_source(source.uri, kind, {name: str(path)}, rows, files, reading, findings)


def _open_remote_folder(
    source: RemoteSource, downloads: Path, progress: Callable[[str], object], reading: Reading
) -> Source:
    prefix = f"{source.key}/" if source.key else ""
    objects: dict[str, RemoteObject] = {item.key.removeprefix(prefix): item for item in source.list()}
    findings = Findings()
    kind, chosen = _choose_files(objects, source.uri, findings)
    paths: dict[str, Path] = {}

    def fetch(names: Iterable[str]) -> dict[str, str]:
        wanted = list(names)
        paths.update(source.download([objects[name] for name in wanted], downloads, progress))
        return {name: str(paths[objects[name].key]) for name in wanted}

    if kind == "folder" and (tables := choose_tables(objects, chosen)):
        used, rows = read_tables(
            tables,
            lambda name: Path(fetch([name])[name]),
            finder_among(chosen, reading, source.uri),
            reading,
            findings,
            source.uri,
        )
        note_unnamed_images(chosen, rows, findings)
        files = {name: (name, path) for name, path in fetch({row.path: None for row in rows}).items()}
        kind = table_kind(used[0]) or kind
        return _table_source(source.uri, kind, fetch(used), rows, files, reading, findings)
    if kind == "folder":
        resolve = finder_among(chosen, reading, source.uri)
        refuse_rival_table(objects, chosen, lambda name: Path(fetch([name])[name]), resolve, reading, source.uri)
        _mention_tables(objects, findings)
    files_here = fetch(chosen)
    class_names = None
    if kind == "recordio" and DOCUMENT_NAME in objects:
        # `Dataset.load` wants a folder.
        folder = downloads / "document"
        folder.mkdir(exist_ok=True)
        (folder / DOCUMENT_NAME).write_bytes(Path(fetch([DOCUMENT_NAME])[DOCUMENT_NAME]).read_bytes())
        class_names = Dataset.load(folder).classes
    elif kind == "recordio":
        lists = [f"{os.path.splitext(name)[0]}.lst" for name in chosen]
        class_names = _names_beside_records(fetch(name for name in lists if name in objects), chosen)
    return Source(source.uri, kind, _files(files_here.items()), reading, [], class_names, findings)


def _find_kind(name: str) -> str | None:
    lower = name.lower()
    return next((kind for suffix, kind in _KINDS.items() if lower.endswith(suffix)), None)


def _kind_of_file(name: str, place: str) -> str:
    # Only a text file that the user names is a table: beside images it may be anything.
    kind = "csv" if name.lower().endswith(".txt") else _find_kind(name)
    if kind is None:
        raise DatasetError(f"{place}: is not a known source of images by its name; give {_FORMS}")
    return kind


def _choose_files(names: Iterable[str], place: str, findings: Findings) -> tuple[str, list[str]]:
    """What a folder is, and its files that matter. Images win: a data set may have been prepared beside them."""
    visible = sorted(name for name in names if not is_of_a_machine(name))
    unread = {name: form for name in visible if (form := unread_format(name))}
    for kind, wanted in (
        ("folder", [name for name in visible if is_image_name(name)]),
        ("recordio", [name for name in visible if name.lower().endswith(".rec")]),
        ("parquet", [name for name in visible if name.lower().endswith(".parquet")]),
        ("arrow", [name for name in visible if name.lower().endswith(".arrow")]),
        ("archive", [name for name in visible if name.lower().endswith(ARCHIVE_SUFFIXES)]),
    ):
        if wanted:
            if kind in ("parquet", "arrow"):
                refuse_several_tables(wanted, place)
            findings.skipped += [SkippedImage(name, reason) for name in unread if (reason := unread_reason(name))]
            return kind, wanted
    if unread:
        forms = " and ".join(f"{count:,} {form}" for form, count in sorted(Counter(unread.values()).items()))
        raise DatasetError(f"{place}: holds {forms} images, which are not read; convert them to JPEG or PNG")
    raise DatasetError(f"{place}: holds no images; give {_FORMS}")


def _files(names: Iterable[tuple[str, str]]) -> list[SourceFile]:
    return [SourceFile(name, path) for name, path in sorted(names)]
