"""Images out of zip and tar archives, with nothing in an archive trusted.

Members are read one by one into one scratch file; a member's name is only ever a name in a report, never a path that is
written to. An archive that tries something (names that climb out, links, devices, the same name twice, encrypted
members, sizes out of all proportion) is refused as a whole, since nobody can know what else is wrong with it. An image
that fails its checksum is skipped like any damaged image.
"""

import bz2
import gzip
import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, cast

from kfp_image_tuning.core.errors import DatasetError
from kfp_image_tuning.dataset.document import SkippedImage
from kfp_image_tuning.preparation.sources.folders import is_of_a_machine
from kfp_image_tuning.preparation.sources.image_reference import (
    MAXIMUM_IMAGE_BYTES,
    ImageReference,
    ScratchImages,
    is_image_name,
    unread_reason,
)
from kfp_image_tuning.preparation.sources.reading import Findings
from kfp_image_tuning.preparation.sources.tables import table_kind
from kfp_image_tuning.preparation.sources.web_datasets import LABEL_SUFFIXES, MAXIMUM_LABEL_BYTES

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
MAXIMUM_MEMBERS = 20_000_000
MAXIMUM_RATIO = 200
# Below this, any ratio is harmless: a hundred small drawings may well be packed 1:500.
ALWAYS_ALLOWED_BYTES = 256 << 20
MAXIMUM_TAR_HEADER_BYTES = 1 << 20
MAXIMUM_ARCHIVED_TABLE_BYTES = 64 << 20

_WAY_OUT = "make the archive again from the folder of images"


def read_archive(
    path: Path, name: str, scratch: ScratchImages, findings: Findings, beside: dict[str, bytes]
) -> list[ImageReference]:
    """Copy the images of an archive into the scratch file.

    Args:
        path: The archive.
        name: What to call it in messages.
        scratch: Takes the images.
        findings: Gets the damaged ones.
        beside: Gets the tables and small label files in it by name.

    Returns:
        The images, without labels, sorted by name.

    Raises:
        DatasetError: If the archive is damaged as a whole, or tries something.
    """
    read = _read_zip if name.lower().endswith(".zip") else _read_tar
    try:
        references = []
        for member, data in read(path, name, findings.skipped):
            if is_image_name(member):
                references.append(scratch.append(data, member))
            else:
                beside[member] = data
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile) as error:
        raise DatasetError(f"{name}: is damaged or no such archive ({error}); copy it again or {_WAY_OUT}") from None
    return sorted(references, key=lambda reference: reference.name)


def _read_zip(path: Path, name: str, skipped: list[SkippedImage]) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        guard = _MemberGuard(name, path.stat().st_size)
        members = archive.infolist()
        for member in members:
            # The upper half of the attributes is the Unix mode, where the archive was made on Unix.
            mode = member.external_attr >> 16
            guard.check(member.filename, stat.S_IFMT(mode) in (0, stat.S_IFREG, stat.S_IFDIR), member.is_dir())
            guard.add(member.file_size)
            if member.flag_bits & 1:
                raise DatasetError(f"{name}: {member.filename!r} is encrypted; {_WAY_OUT}, without a password")
        for member in members:
            image_name = _normalise(member.filename)
            _skip_unread(image_name, skipped)
            if member.is_dir() or not _is_wanted(image_name, member.file_size):
                continue
            try:
                with archive.open(member) as file:
                    data = _read_member(file, member.file_size)
            except NotImplementedError:
                raise DatasetError(
                    f"{name}: {member.filename!r} is packed with a method that is not read here (number "
                    f"{member.compress_type}, such as Deflate64, which Windows takes for large archives); {_WAY_OUT}"
                ) from None
            except (zipfile.BadZipFile, zlib.error, EOFError, lzma.LZMAError) as error:
                skipped.append(SkippedImage(image_name, f"is damaged in the archive: {error}"))
                continue
            yield from _keep_image(image_name, data, skipped)


def _read_tar(path: Path, name: str, skipped: list[SkippedImage]) -> Iterator[tuple[str, bytes]]:
    guard = _MemberGuard(name, path.stat().st_size)
    with path.open("rb") as packed, _unpack(packed) as unpacked:
        stream = _GuardedStream(unpacked, name, path.stat().st_size)
        with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r|") as archive:
            while member := archive.next():
                # The archive would keep every member it has seen.
                archive.members = []  # type: ignore[attr-defined]
                guard.check(member.name, (member.isreg() and not member.issparse()) or member.isdir(), member.isdir())
                stream.expect(member.size + MAXIMUM_TAR_HEADER_BYTES)
                image_name = _normalise(member.name)
                _skip_unread(image_name, skipped)
                if not member.isreg() or not _is_wanted(image_name, member.size):
                    continue
                file = archive.extractfile(member)
                if file is not None:
                    yield from _keep_image(image_name, _read_member(file, member.size), skipped)
        stream.check_end()


def _unpack(packed: BinaryIO) -> BinaryIO | gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile:
    """The tar inside, whatever it is packed with; the content decides, not the name."""
    start = packed.read(6)
    packed.seek(0)
    if start.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=packed)
    if start.startswith(b"BZh"):
        return bz2.BZ2File(packed)
    if start.startswith(b"\xfd7zXZ\0"):
        return lzma.LZMAFile(packed)
    return packed


def _read_member(file: IO[bytes], size: int) -> bytes | None:
    """A member's bytes; None for one that is too large to be an image."""
    if size > MAXIMUM_IMAGE_BYTES:
        return None
    data = file.read(MAXIMUM_IMAGE_BYTES + 1)
    return data if len(data) <= MAXIMUM_IMAGE_BYTES else None


def _keep_image(name: str, data: bytes | None, skipped: list[SkippedImage]) -> Iterator[tuple[str, bytes]]:
    if data is None:
        skipped.append(SkippedImage(name, f"has more than {MAXIMUM_IMAGE_BYTES:,} bytes"))
    else:
        yield name, data


def _normalise(name: str) -> str:
    """One form for ``./cat/1.jpg`` and for the backslashes that old Windows programs write."""
    return str(PurePosixPath(name.replace("\\", "/")))


def _skip_unread(name: str, skipped: list[SkippedImage]) -> None:
    if (reason := unread_reason(name)) and not is_of_a_machine(name):
        skipped.append(SkippedImage(name, reason))


def _is_wanted(name: str, size: int) -> bool:
    is_table = table_kind(name) is not None and size <= MAXIMUM_ARCHIVED_TABLE_BYTES
    is_label = name.lower().endswith(LABEL_SUFFIXES) and size <= MAXIMUM_LABEL_BYTES
    return (is_table or is_label or is_image_name(name)) and not is_of_a_machine(name)


class _MemberGuard:
    """Refuses an archive by its list of members."""

    def __init__(self, archive: str, packed_bytes: int) -> None:
        self._archive = archive
        self._limit = max(ALWAYS_ALLOWED_BYTES, MAXIMUM_RATIO * packed_bytes)
        self._names: set[str] = set()
        self._bytes = 0

    def check(self, name: str, is_plain: bool, is_folder: bool) -> None:
        """Refuse names that climb out, special files, files that occur twice."""
        normal = _normalise(name)
        if normal.startswith("/") or ".." in normal.split("/") or "\0" in name or re.match("[A-Za-z]:/", normal):
            raise DatasetError(f"{self._archive}: {name!r} points outside of the archive; {_WAY_OUT}")
        if not is_plain:
            raise DatasetError(
                f"{self._archive}: {name!r} is a link, a sparse file or a device, not a file or folder; "
                f"{_WAY_OUT}, with the files that the links point to (zip without -y, tar -h)"
            )
        if is_folder:
            return
        if normal in self._names:
            raise DatasetError(f"{self._archive}: {name!r} is in it twice, so which one is meant is open; {_WAY_OUT}")
        self._names.add(normal)
        if len(self._names) > MAXIMUM_MEMBERS:
            raise DatasetError(f"{self._archive}: has more than {MAXIMUM_MEMBERS:,} members; give several .rec files")

    def add(self, size: int) -> None:
        """Refuse sizes out of proportion."""
        self._bytes += size
        if self._bytes > self._limit:
            raise _bomb_error(self._archive, self._limit)


class _GuardedStream:
    """What comes out of the decompressor, counted: tar's headers can announce anything."""

    def __init__(
        self, file: BinaryIO | gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile, archive: str, packed_bytes: int
    ) -> None:
        self._file = file
        self._archive = archive
        self._limit = max(ALWAYS_ALLOWED_BYTES, MAXIMUM_RATIO * packed_bytes)
        self._count = 0
        self._expected = MAXIMUM_TAR_HEADER_BYTES
        self._last = b""

    def check_end(self) -> None:
        """A tar ends with empty blocks; one that was cut between two members would look whole otherwise."""
        if not self._last.endswith(bytes(tarfile.BLOCKSIZE)):
            raise tarfile.ReadError("its end is missing")

    def expect(self, size: int) -> None:
        """Allow that many bytes until the next call: the next member and the headers around it."""
        self._expected = self._count + size

    def read(self, size: int = -1) -> bytes:
        """The next bytes.

        Raises:
            DatasetError: If there are more than were to be expected.
        """
        data = self._file.read(size)
        self._count += len(data)
        self._last = data or self._last
        if self._count > self._expected:
            raise DatasetError(
                f"{self._archive}: a member's header has more than {MAXIMUM_TAR_HEADER_BYTES:,} bytes; {_WAY_OUT}"
            )
        if self._count > self._limit:
            raise _bomb_error(self._archive, self._limit)
        return data


def _bomb_error(archive: str, limit: int) -> DatasetError:
    """The error for an archive that would fill the disk."""
    return DatasetError(
        f"{archive}: unpacks to more than {limit:,} bytes, {MAXIMUM_RATIO} times its size, which images never do; "
        "unpack it yourself and give the folder if this is what you want"
    )
