"""A source whose files are on this machine, and its images."""

import hashlib
import os
import re
import stat
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from kfp_image_tuning.core.errors import DatasetError
from kfp_image_tuning.core.processors import available_cores
from kfp_image_tuning.dataset.document import SkippedImage
from kfp_image_tuning.preparation.sources.archives import ARCHIVE_SUFFIXES, read_archive
from kfp_image_tuning.preparation.sources.class_names import order_classes, settle_class_names
from kfp_image_tuning.preparation.sources.folder_layout import label_by_folder
from kfp_image_tuning.preparation.sources.image_finder import finder_among
from kfp_image_tuning.preparation.sources.image_reference import (
    ImageReference,
    ScratchImages,
)
from kfp_image_tuning.preparation.sources.list_files import names_by_folder
from kfp_image_tuning.preparation.sources.numbered_classes import name_numbered_classes
from kfp_image_tuning.preparation.sources.parquet_tables import ParquetImages, read_parquet
from kfp_image_tuning.preparation.sources.reading import Findings, Reading, enumerate_names
from kfp_image_tuning.preparation.sources.recordio_files import read_records
from kfp_image_tuning.preparation.sources.split_words import split_named_in
from kfp_image_tuning.preparation.sources.table_rows import TableRow
from kfp_image_tuning.preparation.sources.tables import (
    TABLE_KINDS,
    choose_tables,
    note_unnamed_images,
    read_tables,
    refuse_rival_table,
    table_kind,
)
from kfp_image_tuning.preparation.sources.web_datasets import label_by_samples

FILES_AT_A_TIME = 64
WHOLE_AT_ONCE_BYTES = 1 << 20
PATHS_IN_PARQUET = "parquet-paths"
TABLES = frozenset({*TABLE_KINDS.values(), PATHS_IN_PARQUET})


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of the source: its name there, and where it is on this machine."""

    name: str
    path: str


@dataclass(frozen=True)
class LabelledImages:
    """The images of a source.

    Attributes:
        references: The images, sorted by name.
        classes: All class names, in the order of their labels.
        findings: What could not be used, what was left aside, and what was decided.
    """

    references: list[ImageReference]
    classes: tuple[str, ...]
    findings: Findings

    @property
    def skipped(self) -> list[SkippedImage]:
        """What could not be used so far."""
        return self.findings.skipped


@dataclass(frozen=True)
class Source:
    """A source whose files are on this machine.

    Attributes:
        uri: Absolute path, or the URL that the user gave, without credentials.
        kind: ``folder``, ``archive``, ``csv``, ``json-lines``, ``manifest``, ``list``, ``parquet``, ``arrow`` or
            ``recordio``.
        files: Its files, sorted by name.
        reading: What the user says of it.
        rows: The rows of its tables.
        class_names: Names that the source itself gives to numbered classes.
        findings: What was found out so far.
    """

    uri: str
    kind: str
    files: list[SourceFile]
    reading: Reading = field(default_factory=Reading)
    rows: list[TableRow] = field(default_factory=list)
    class_names: tuple[str, ...] | None = None
    findings: Findings = field(default_factory=Findings)

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

    def read(self, scratch_file: Path) -> LabelledImages:
        """Find the images and their labels.

        Args:
            scratch_file: Takes the images that are not in files of their own.

        Raises:
            DatasetError: If there are no usable images.
        """
        findings = self.findings
        with ScratchImages(scratch_file) as scratch:
            references, numbered, names = self._read_references(scratch)
        names = list(self.reading.class_names or names or ()) or None
        numbers = {label for reference in references for label in reference.labels}
        # Tables cannot say that their numbers are classes' numbers; who names the classes by number says so.
        numbered = numbered or (bool(self.reading.class_names) and all(label.isdecimal() for label in numbers))
        if self.reading.class_names and not numbered:
            raise DatasetError(f"class_names: {self.uri} names its classes itself; use --merge to rename them")
        if numbered:
            references, names = name_numbered_classes(references, names, self.uri)
            if self.kind not in ("parquet", "arrow") or self.reading.class_names:
                findings.class_numbers.update({name: number for number, name in enumerate(names)})
        references = settle_class_names(references, self.reading, findings, self.uri)
        found = {label for reference in references for label in reference.labels}
        known = found.union(names or ()) if self.reading.classes is None and not self.reading.merge else found
        if len(found) < 2:
            raise DatasetError(
                f"{self.uri}: has {len(found)} class ({', '.join(found) or 'none'}), a classifier needs at least 2; "
                "put each class into a folder of its own, or check the labels"
            )
        references = _group(references, self.reading, findings)
        references.sort(key=lambda reference: (reference.name, reference.labels))
        findings.skipped.sort(key=lambda item: (item.image, item.reason))
        return LabelledImages(references, order_classes(known, findings), findings)

    def _read_references(self, scratch: ScratchImages) -> tuple[list[ImageReference], bool, Sequence[str] | None]:
        """The images, whether their labels are numbers, and the names of the numbers."""
        findings = self.findings
        if self.kind in TABLES:
            paths = {file.name: file.path for file in self.files}
            rows = [
                ImageReference(row.path, row.labels, paths[row.path], split=row.split, group=row.group)
                for row in self.rows
            ]
            return rows, self.kind == "list", self.class_names
        if self.kind == "recordio":
            records = [
                image for file in self.files for image in read_records(Path(file.path), file.name, scratch, findings)
            ]
            return records, True, self.class_names
        if self.kind in ("parquet", "arrow"):
            tables = [read_parquet(Path(file.path), file.name, scratch, self.reading, findings) for file in self.files]
            return _join_parquet([table for table in tables if table.references], self.uri)
        if self.kind == "archive":
            return self._read_archive(scratch)
        references = [ImageReference(file.name, (), file.path) for file in self.files]
        return label_by_folder(references, self.reading, findings, self.uri), False, None

    def _read_archive(self, scratch: ScratchImages) -> tuple[list[ImageReference], bool, Sequence[str] | None]:
        contents: dict[str, bytes] = {}
        references: list[ImageReference] = []
        for archive in self.files:
            own: dict[str, bytes] = {}
            found = read_archive(Path(archive.path), archive.name, scratch, self.findings, own)
            # Of several archives, each is a folder of its name: train.zip and test.zip.
            prefix = f"{_without_suffix(archive.name)}/" if len(self.files) > 1 else ""
            split = split_named_in(archive.name)
            found = label_by_samples(found, own, self.reading, self.findings) or found
            if split and found and found[0].labels:
                self.findings.name_split(split, archive.name)
                found = [replace(reference, split=split) for reference in found]
            references += [replace(reference, name=prefix + reference.name) for reference in found]
            contents |= {prefix + name: content for name, content in own.items()}
        if any(reference.labels for reference in references):
            samples = [reference for reference in references if reference.labels]
            return samples, all(label.isdecimal() for sample in samples for label in sample.labels), None
        images = {reference.name: reference for reference in references}
        tables = choose_tables(contents, list(images))
        folder = Path(scratch.path).with_name("tables")
        folder.mkdir(exist_ok=True)

        def open_table(name: str) -> Path:
            path = folder / f"table{os.path.splitext(name)[1]}"
            path.write_bytes(contents[name])
            return path

        resolve = finder_among(images, self.reading, self.uri)
        if not tables:
            refuse_rival_table(contents, list(images), open_table, resolve, self.reading, self.uri)
            return label_by_folder(references, self.reading, self.findings, self.uri), False, None
        used, rows = read_tables(tables, open_table, resolve, self.reading, self.findings, self.uri)
        note_unnamed_images(list(images), rows, self.findings)
        self.findings.decide(f"the table {enumerate_names(used)} in it labels the images")
        numbered = table_kind(used[0]) == "list"
        labelled = [replace(images[row.path], labels=row.labels, split=row.split, group=row.group) for row in rows]
        return labelled, numbered, names_by_folder((row.path, row.labels) for row in rows) if numbered else None


def _without_suffix(name: str) -> str:
    return next((name[: -len(suffix)] for suffix in ARCHIVE_SUFFIXES if name.lower().endswith(suffix)), name)


def _group(references: list[ImageReference], reading: Reading, findings: Findings) -> list[ImageReference]:
    """Give images the groups that the user names, by their names where no table has told them."""
    if reading.group_by is None:
        return references
    if not any(reference.group for reference in references):
        try:
            pattern = re.compile(reading.group_by)
        except re.error as error:
            raise DatasetError(
                f"group_by: {reading.group_by!r} is neither a column of the table nor a regular expression ({error})"
            ) from None
        found = [pattern.search(reference.name) for reference in references]
        if not any(found):
            raise DatasetError(
                f"group_by: {reading.group_by!r} is no column of a table, and as a regular expression it is found in "
                f"no image's name, such as {references[0].name!r}"
            )
        references = [
            replace(reference, group=match[match.re.groups and 1]) if match else reference
            for reference, match in zip(references, found, strict=True)
        ]
    count = len({reference.group for reference in references if reference.group})
    findings.decide(f"{count:,} groups by {reading.group_by}, each kept in one split")
    return references


def _join_parquet(
    tables: Sequence[ParquetImages], place: str
) -> tuple[list[ImageReference], bool, Sequence[str] | None]:
    """The images of several files; each file's numbers have been named by its own names."""
    if len({table.numbered for table in tables}) > 1:
        raise DatasetError(f"{place}: some of its files name the classes and some only number them; write them alike")
    references = [reference for table in tables for reference in table.references]
    names = sorted({name for table in tables for name in table.class_names or ()})
    return references, bool(tables) and tables[0].numbered, names or None


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
