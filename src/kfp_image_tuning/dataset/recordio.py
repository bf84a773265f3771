"""The files that Apache MXNet and Amazon SageMaker's image classification algorithm read, byte for byte.

A ``.rec`` file (RecordIO) is a row of records, each starting at a multiple of four bytes::

    magic 0xced7230a | part kind << 29 | length | payload | zeros up to a multiple of four

A payload that holds the magic at a multiple of four is cut there into parts (kind 1 first, 2 middle, 3 last; 0 is an
uncut record) and the magic itself is left out, so that a record's start can be found from anywhere in the file.

For images the payload is MXNet's ``IRHeader`` (``<IfQQ``: number of labels or 0, label, identifier, second identifier),
the labels as float32 where there are several, then the encoded image.

An ``.idx`` file says where each record starts (``key<tab>offset``); a ``.lst`` file which image it is, as ``im2rec``
writes it (``index<tab>label with six decimals, one or one per class<tab>relative path``). The latter knows no escapes,
but file names may hold tabs and line ends. Those are written as in a URL (``%09``, ``%0A``, ``%0D``), and a name that
already looks like that has its percent sign written as ``%25``; every other name stays as it is.
"""

import os
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from kfp_image_tuning.core.errors import DatasetError

MAGIC = 0xCED7230A
MAXIMUM_PART_BYTES = (1 << 29) - 1

_MAGIC_BYTES = struct.pack("<I", MAGIC)
_PART_HEADER = struct.Struct("<II")
_IMAGE_HEADER = struct.Struct("<IfQQ")
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)

_BREAKS = {"\t": "%09", "\n": "%0A", "\r": "%0D"}
_CHARACTERS = {escape: character for character, escape in _BREAKS.items()}
_TO_ESCAPE = re.compile(r"[\t\n\r]|%(?=(?:25)*0[9AD])")
_ESCAPED = re.compile(r"%25(?=(?:25)*0[9AD])|%0[9AD]")


@dataclass(frozen=True)
class ImageRecord:
    """One image of a data set as it is stored.

    Attributes:
        identifier: The image's number, unique in its file.
        labels: One class index, or one value per class when an image may have several labels. Stored as float32.
        image: The encoded image (JPEG, PNG, …).
    """

    identifier: int
    labels: tuple[float, ...]
    image: bytes

    def pack(self) -> bytes:
        """The record's payload, as MXNet's ``recordio.pack`` writes it."""
        if len(self.labels) == 1:
            return _IMAGE_HEADER.pack(0, self.labels[0], self.identifier, 0) + self.image
        if not self.labels:
            raise DatasetError(
                f"image {self.identifier}: has no label; a record needs one class index, or one value a class"
            )
        header = _IMAGE_HEADER.pack(len(self.labels), 0.0, self.identifier, 0)
        return b"".join((header, struct.pack(f"<{len(self.labels)}f", *self.labels), self.image))

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """Read a record's payload.

        Raises:
            DatasetError: If the payload is too short for the labels that it announces.
        """
        if len(payload) < _IMAGE_HEADER.size:
            raise DatasetError(
                f"a record of {len(payload)} bytes is not an image record, whose header has {_IMAGE_HEADER.size}; "
                "write the file with im2rec or kfp-image-tuning prepare"
            )
        count, label, identifier, _ = _IMAGE_HEADER.unpack_from(payload)
        start = _IMAGE_HEADER.size + 4 * count
        if len(payload) < start:
            raise DatasetError(
                f"image record {identifier}: announces {count} labels but has {len(payload)} bytes only; "
                "the file holds something other than images, or is damaged: write it again"
            )
        labels = struct.unpack_from(f"<{count}f", payload, _IMAGE_HEADER.size) if count else (label,)
        return cls(identifier, labels, payload[start:])


@dataclass(frozen=True)
class ListEntry:
    """One line of a list file.

    Attributes:
        identifier: The image's number, the same as in its record.
        labels: One class index, or one value per class.
        path: Where the image came from, relative to the source.
    """

    identifier: int
    labels: tuple[float, ...]
    path: str


class RecordWriter:
    """Writes a ``.rec`` file and, if asked for, its ``.idx``.

    Both files are on the disk, not only in the kernel's memory, when the context ends without an error.

    Args:
        path: The record file; an existing one is replaced.
        index_path: The index file.
    """

    def __init__(self, path: str | os.PathLike[str], index_path: str | os.PathLike[str] | None = None) -> None:
        self._records = open(path, "wb")  # noqa: SIM115 (__exit__ closes it)
        self._index = None if index_path is None else open(index_path, "wb")  # noqa: SIM115
        self._offset = 0

    def write(self, payload: bytes, key: int) -> int:
        """Append one record.

        Args:
            payload: What the record holds, for images `ImageRecord.pack`.
            key: The record's key in the index.

        Returns:
            The record's offset in the file.
        """
        offset = self._offset
        encoded = encode_record(payload)
        self._records.write(encoded)
        if self._index is not None:
            self._index.write(b"%d\t%d\n" % (key, offset))
        self._offset += len(encoded)
        return offset

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for file in (self._records, self._index):
            if file is None:
                continue
            with file:
                if kind is None:
                    file.flush()
                    os.fsync(file.fileno())


class RecordReader:
    """Reads a ``.rec`` file, in order by iteration or at an offset.

    It reads what it is asked for and no more; a memory map would count all of a large file as this process's memory.

    Args:
        path: The record file.

    Raises:
        DatasetError: If the file cannot be opened; while reading: if it is damaged or no RecordIO.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            self._file = open(path, "rb", buffering=0)  # noqa: SIM115 (close closes it)
        except OSError as error:
            raise DatasetError(
                f"{self.path}: cannot be read ({error.strerror}); check the path and its permissions"
            ) from None
        self._descriptor = self._file.fileno()
        self._size = os.fstat(self._descriptor).st_size

    def __iter__(self) -> Iterator[bytes]:
        offset = 0
        while offset < self._size:
            payload, offset = self._read(offset)
            yield payload

    def read_at(self, offset: int) -> bytes:
        """The payload of the record that starts at ``offset``."""
        return self._read(offset)[0]

    def offsets(self) -> Iterator[int]:
        """Where the records start, found by their headers alone."""
        offset = 0
        while offset < self._size:
            yield offset
            kind, _, offset = self._part(offset, first=True)
            while kind in (_FIRST, _MIDDLE):
                kind, _, offset = self._part(offset, first=False)

    def _read(self, offset: int) -> tuple[bytes, int]:
        """The record at ``offset`` and the offset after it."""
        kind, place, following = self._part(offset, first=True)
        if kind == _WHOLE:
            return self._bytes_at(place), following
        parts = [self._bytes_at(place)]
        while kind != _LAST:
            kind, place, following = self._part(following, first=False)
            parts.append(self._bytes_at(place))
        return _MAGIC_BYTES.join(parts), following

    def _part(self, offset: int, first: bool) -> tuple[int, slice, int]:
        """Check one part's header; return its kind, where its payload is, and the offset after it."""
        start = offset + _PART_HEADER.size
        if offset < 0 or start > self._size:
            raise self._damaged(
                offset, f"a record header of {_PART_HEADER.size} bytes is expected, the file ends at {self._size}"
            )
        magic, word = _PART_HEADER.unpack(self._bytes_at(slice(offset, start)))
        if magic != MAGIC:
            raise self._damaged(offset, f"a record starts with 0x{MAGIC:08x}, found 0x{magic:08x}")
        kind, length = word >> 29, word & MAXIMUM_PART_BYTES
        if kind not in ((_WHOLE, _FIRST) if first else (_MIDDLE, _LAST)):
            raise self._damaged(offset, f"part kind {kind} is not allowed {'first' if first else 'inside a record'}")
        following = start + (length + 3 & ~3)
        if following > self._size:
            raise self._damaged(
                offset, f"the record needs {following - offset} bytes, the file ends after {self._size - offset}"
            )
        return kind, slice(start, start + length), following

    def _bytes_at(self, place: slice) -> bytes:
        content = os.pread(self._descriptor, place.stop - place.start, place.start)
        if len(content) != place.stop - place.start:
            raise self._damaged(place.start, "the file became shorter while it was read")
        return content

    def _damaged(self, offset: int, reason: str) -> DatasetError:
        return DatasetError(
            f"{self.path}: at byte {offset}: {reason}; the file is incomplete, damaged or no RecordIO: write it again"
        )

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def encode_record(payload: bytes) -> bytes:
    """The bytes that stand for ``payload`` in a ``.rec`` file.

    Raises:
        DatasetError: If the payload is longer than the format can say.
    """
    if len(payload) > MAXIMUM_PART_BYTES:
        raise DatasetError(
            f"a record holds at most {MAXIMUM_PART_BYTES} bytes (512 MB), got {len(payload)}; use smaller images"
        )
    pieces: list[bytes] = []
    start = 0
    # Four times as fast as to look for the bytes anywhere.
    words = np.frombuffer(payload, "<u4", len(payload) // 4)
    for found in (4 * np.flatnonzero(words == MAGIC)).tolist():
        pieces += (_part_header(_MIDDLE if start else _FIRST, found - start), payload[start:found])
        start = found + 4
    pieces += (
        _part_header(_LAST if start else _WHOLE, len(payload) - start),
        payload[start:],
        b"\0" * (-len(payload) % 4),
    )
    return b"".join(pieces)


def scan_offsets(path: str | os.PathLike[str]) -> list[int]:
    """Where the records of a ``.rec`` file start, without its index.

    Raises:
        DatasetError: If the file cannot be read, is damaged or no RecordIO.
    """
    with RecordReader(path) as reader:
        return list(reader.offsets())


def read_index(path: str | os.PathLike[str]) -> dict[int, int]:
    """Read an ``.idx`` file: key to offset, in the file's order.

    Raises:
        DatasetError: With every line that has another form.
    """
    try:
        lines = Path(path).read_bytes().split(b"\n")
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from None
    offsets: dict[int, int] = {}
    problems = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            key, offset = line.split(b"\t")
            offsets[int(key)] = int(offset)
        except ValueError:
            problems.append(f"{path}: line {number}: {line[:80]!r} is not key<tab>offset; write the index again")
    if problems:
        raise DatasetError.from_problems(problems)
    return offsets


def write_list(path: str | os.PathLike[str], entries: Iterable[ListEntry]) -> None:
    """Write a list file, entry by entry, and bring it onto the disk."""
    # Names that are no UTF-8 come from os.fsdecode as lone surrogates, and go back to their own bytes.
    with Path(path).open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        for entry in entries:
            labels = "\t".join(f"{label:.6f}" for label in entry.labels)
            name = _TO_ESCAPE.sub(lambda found: _BREAKS.get(found[0], "%25"), entry.path)
            file.write(f"{entry.identifier}\t{labels}\t{name}\n")
        file.flush()
        os.fsync(file.fileno())


def read_list(path: str | os.PathLike[str]) -> list[ListEntry]:
    """Read a list file.

    Raises:
        DatasetError: With every line that has another form.
    """
    try:
        lines = Path(path).read_bytes().decode("utf-8", errors="surrogateescape").split("\n")
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from None
    entries = []
    problems = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            identifier, *labels, name = line.rstrip("\r").split("\t")
            if not labels or not name:
                raise ValueError(line)
            # im2rec itself writes the index of some lists as a float.
            entry = ListEntry(int(float(identifier)), tuple(float(label) for label in labels), _unescape(name))
        except (ValueError, OverflowError):
            problems.append(f"{path}: line {number}: {line[:80]!r} is not index<tab>label…<tab>path; correct the line")
        else:
            entries.append(entry)
    if problems:
        raise DatasetError.from_problems(problems)
    return entries


def _part_header(kind: int, length: int) -> bytes:
    return _PART_HEADER.pack(MAGIC, kind << 29 | length)


def _unescape(name: str) -> str:
    return _ESCAPED.sub(lambda found: _CHARACTERS.get(found[0], "%"), name)
