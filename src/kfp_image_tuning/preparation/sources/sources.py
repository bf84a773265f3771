"""From what the user has to labelled images: what kind of source it is, its files, its images.

A source is opened in two steps, so that a data set that is there already can be recognised before anything is unpacked:
`open_source` finds (and downloads) the files, `Source.read` gives the images.
"""

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from kfp_image_tuning.core.errors import DatasetError
from kfp_image_tuning.core.object_store import is_remote
from kfp_image_tuning.core.processors import available_cores
from kfp_image_tuning.core.remote_source import RemoteObject, RemoteSource, listing_identity
from kfp_image_tuning.dataset.document import DOCUMENT_NAME, Dataset, SkippedImage
from kfp_image_tuning.preparation.sources.archives import ARCHIVE_SUFFIXES, read_archive
from kfp_image_tuning.preparation.sources.csv_tables import TableRow, read_csv
from kfp_image_tuning.preparation.sources.folders import label_by_folder, walk_files
from kfp_image_tuning.preparation.sources.image_reference import (
    ImageReference,
    ScratchImages,
    is_image_name,
)
from kfp_image_tuning.preparation.sources.numbered_classes import name_numbered_classes
from kfp_image_tuning.preparation.sources.parquet_tables import read_parquet
from kfp_image_tuning.preparation.sources.recordio_files import read_records

FILES_AT_A_TIME = 64
WHOLE_AT_ONCE_BYTES = 1 << 20

_KINDS = {**dict.fromkeys(ARCHIVE_SUFFIXES, "archive"), ".csv": "csv", ".tsv": "csv", ".parquet": "parquet"}
_KINDS[".rec"] = "recordio"
_FORMS = (
    "a folder of class folders, a zip or tar archive of one, a .csv (path,label[,split]), .parquet with image bytes, "
    "or .rec files"
)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of the source: its name there, and where it lies on this machine."""

    name: str
    path: str


@dataclass(frozen=True)
class LabelledImages:
    """The images of a source.

    Attributes:
        references: The images, sorted by name.
        classes: All class names, sorted.
        skipped: What could not be used so far.
        notes: Folders that were not entered a second time.
    """

    references: list[ImageReference]
    classes: tuple[str, ...]
    skipped: list[SkippedImage]
    notes: list[SkippedImage]


@dataclass(frozen=True)
class Source:
    """A source whose files are on this machine.

    Attributes:
        uri: Absolute path, or the URL that the user gave, without credentials.
        kind: ``folder``, ``archive``, ``csv``, ``parquet`` or ``recordio``.
        files: Its files, sorted by name.
        rows: The rows of a CSV.
        class_names: Names that the source itself gives to numbered classes.
        skipped: What could not be read so far.
        notes: Folders that were not entered a second time.
    """

    uri: str
    kind: str
    files: list[SourceFile]
    rows: list[TableRow] = field(default_factory=list)
    class_names: tuple[str, ...] | None = None
    skipped: list[SkippedImage] = field(default_factory=list)
    notes: list[SkippedImage] = field(default_factory=list)

    def fingerprint(self, known: Mapping[str, bytes] | None = None) -> str:
        """``sha256:…`` over names and contents of all files: the same on every machine.

        Args:
            known: SHA-256 of the contents of files that need not be read once more, by path.
        """
        known = known or {}
        batches = [self.files[start : start + FILES_AT_A_TIME] for start in range(0, len(self.files), FILES_AT_A_TIME)]
        digest = hashlib.sha256(f"{self.kind}\0".encode())
        # Hashing and reading release the interpreter lock.
        with ThreadPoolExecutor(min(available_cores(), len(batches))) as threads:
            for part in threads.map(lambda batch: b"".join(_digest_file(file, known) for file in batch), batches):
                digest.update(part)
        return "sha256:" + digest.hexdigest()

    def read(self, scratch_file: Path, classes: Sequence[str] | None) -> LabelledImages:
        """Find the images and their labels.

        Args:
            scratch_file: Takes the images that do not lie in files of their own.
            classes: Names of the classes: by number for sources that number them; else the classes that may occur.

        Raises:
            DatasetError: If there are no usable images.
        """
        skipped = list(self.skipped)
        numbered = self.kind == "recordio"
        names: Sequence[str] | None = classes or self.class_names
        with ScratchImages(scratch_file) as scratch:
            if self.kind == "parquet":
                tables = [read_parquet(Path(file.path), file.name, scratch, skipped) for file in self.files]
                references = [reference for table in tables for reference in table.references]
                numbered = any(table.numbered for table in tables)
                names = classes or next((table.class_names for table in tables if table.class_names), None)
            else:
                references = self._read_references(scratch, skipped)
        if numbered:
            references, names = name_numbered_classes(references, names, self.uri)
        found = sorted({label for reference in references for label in reference.labels})
        if not numbered and classes:
            _refuse_unknown_classes(found, classes, self.uri)
        known = tuple(sorted(names)) if numbered and names else tuple(found)
        if len(found) < 2:
            raise DatasetError(
                f"{self.uri}: has {len(found)} class ({', '.join(found) or 'none'}), a classifier needs at least 2; "
                "put each class into a folder of its own, or check the labels"
            )
        references.sort(key=lambda reference: (reference.name, reference.labels))
        skipped.sort(key=lambda item: (item.image, item.reason))
        return LabelledImages(references, known, skipped, self.notes)

    def _read_references(self, scratch: ScratchImages, skipped: list[SkippedImage]) -> list[ImageReference]:
        if self.kind == "csv":
            paths = {file.name: file.path for file in self.files}
            return [ImageReference(row.path, row.labels, paths[row.path], split=row.split) for row in self.rows]
        if self.kind == "recordio":
            return [image for file in self.files for image in read_records(Path(file.path), file.name, scratch)]
        if self.kind == "archive":
            archive = self.files[0]
            references = read_archive(Path(archive.path), archive.name, scratch, skipped)
        else:
            references = [ImageReference(file.name, (), file.path) for file in self.files]
        return label_by_folder(references, skipped, self.uri)


def open_source(data: str, downloads: Path, progress: Callable[[str], object]) -> Source:
    """Find out what a source is and bring its files to this machine.

    Args:
        data: Path or URI.
        downloads: Where downloads go.
        progress: Takes a line now and then.

    Raises:
        DatasetError: If there is no such source.
    """
    if is_remote(data):
        return _open_remote(RemoteSource(data), downloads, progress)
    path = Path(unquote(urlsplit(data).path) if data.startswith("file://") else data).expanduser().absolute()
    if path.is_dir():
        return _open_folder(path)
    if not path.is_file():
        raise DatasetError(f"{path}: is not there; give {_FORMS}")
    kind = _kind_of_file(path.name, str(path))
    file = SourceFile(path.name, str(path))
    if kind != "csv":
        return Source(str(path), kind, [file])
    skipped: list[SkippedImage] = []
    rows = read_csv(path, str(path), skipped)
    images = {row.path: os.path.join(path.parent, row.path) for row in rows}
    return Source(str(path), kind, [file, *_files(images.items())], rows, skipped=skipped)


def remote_identity(data: str) -> str | None:
    """What stands for a remote source's content without downloading it; None if nothing does.

    Raises:
        DatasetError: If the source cannot be reached.
    """
    source = RemoteSource(data)
    kind = _find_kind(source.key)
    if kind == "csv":
        # Only a download tells which images it names.
        return None
    return listing_identity([source.look_up()] if kind else source.list())


def _open_folder(path: Path) -> Source:
    skipped: list[SkippedImage] = []
    notes: list[SkippedImage] = []
    names = dict(walk_files(path, skipped, notes))
    kind, chosen = _choose_files(names, str(path))
    class_names = Dataset.load(path).classes if kind == "recordio" and DOCUMENT_NAME in names else None
    return Source(str(path), kind, _files((name, names[name]) for name in chosen), [], class_names, skipped, notes)


def _open_remote(source: RemoteSource, downloads: Path, progress: Callable[[str], object]) -> Source:
    kind = _find_kind(source.key)
    if kind is None:
        return _open_remote_folder(source, downloads, progress)
    path = source.download([source.look_up()], downloads, progress)[source.key]
    file = SourceFile(source.key.rpartition("/")[2], str(path))
    if kind != "csv":
        return Source(source.uri, kind, [file])
    skipped: list[SkippedImage] = []
    rows = read_csv(path, source.uri, skipped)
    objects = {row.path: source.sibling(row.path) for row in rows}
    paths = source.download(list(dict.fromkeys(objects.values())), downloads, progress)
    found = {name: str(paths[item.key]) for name, item in objects.items() if item.key in paths}
    skipped += [SkippedImage(name, "is not in the store") for name in objects if name not in found]
    rows = [row for row in rows if row.path in found]
    return Source(source.uri, kind, [file, *_files(found.items())], rows, skipped=skipped)


def _open_remote_folder(source: RemoteSource, downloads: Path, progress: Callable[[str], object]) -> Source:
    prefix = f"{source.key}/" if source.key else ""
    objects: dict[str, RemoteObject] = {item.key.removeprefix(prefix): item for item in source.list()}
    kind, chosen = _choose_files(objects, source.uri)
    document = [DOCUMENT_NAME] if kind == "recordio" and DOCUMENT_NAME in objects else []
    paths = source.download([objects[name] for name in [*chosen, *document]], downloads, progress)
    class_names = None
    if document:
        # `Dataset.load` wants a folder.
        folder = downloads / "document"
        folder.mkdir(exist_ok=True)
        (folder / DOCUMENT_NAME).write_bytes(paths[objects[DOCUMENT_NAME].key].read_bytes())
        class_names = Dataset.load(folder).classes
    files = _files((name, str(paths[objects[name].key])) for name in chosen)
    return Source(source.uri, kind, files, [], class_names)


def _find_kind(name: str) -> str | None:
    lower = name.lower()
    return next((kind for suffix, kind in _KINDS.items() if lower.endswith(suffix)), None)


def _kind_of_file(name: str, place: str) -> str:
    kind = _find_kind(name)
    if kind is None:
        raise DatasetError(f"{place}: is not a known source of images by its name; give {_FORMS}")
    return kind


def _choose_files(names: Iterable[str], place: str) -> tuple[str, list[str]]:
    """What a folder is, and its files that matter. Images win: a data set may have been prepared beside them."""
    visible = sorted(name for name in names if not any(part.startswith(".") for part in name.split("/")))
    for kind, wanted in (
        ("folder", [name for name in visible if is_image_name(name)]),
        ("recordio", [name for name in visible if name.lower().endswith(".rec")]),
        ("parquet", [name for name in visible if name.lower().endswith(".parquet")]),
    ):
        if wanted:
            return kind, wanted
    raise DatasetError(f"{place}: holds no images; give {_FORMS}")


def _files(names: Iterable[tuple[str, str]]) -> list[SourceFile]:
    return [SourceFile(name, path) for name, path in sorted(names)]


def _digest_file(file: SourceFile, known: Mapping[str, bytes]) -> bytes:
    """Name and content; a file that cannot be read counts as such."""
    name = os.fsencode(file.name) + b"\0"
    if content_digest := known.get(file.path):
        return name + content_digest
    try:
        descriptor = os.open(file.path, os.O_RDONLY | os.O_NONBLOCK)
        with open(descriptor, "rb", buffering=0) as content:
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode) and status.st_size <= WHOLE_AT_ONCE_BYTES:
                return name + hashlib.sha256(content.read()).digest()
            if stat.S_ISREG(status.st_mode):
                return name + hashlib.file_digest(content, "sha256").digest()
    except OSError:
        pass
    return name + b"unreadable"


def _refuse_unknown_classes(found: Sequence[str], classes: Sequence[str], place: str) -> None:
    unknown = sorted(set(found) - set(classes))
    if unknown:
        raise DatasetError(
            f"{place}: holds the class(es) {', '.join(unknown[:20])}, which are not among the given "
            f"{', '.join(list(classes)[:20])}; correct the labels or the list of classes"
        )
