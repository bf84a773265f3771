"""The record, index and list files of a split, out of the images that the workers stored."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from kfp_image_tuning.dataset.document import Shard, Split
from kfp_image_tuning.dataset.recordio import ImageRecord, ListEntry, RecordWriter, write_list
from kfp_image_tuning.preparation.conversion import StoredImage


@dataclass(frozen=True, slots=True)
class SplitImage:
    """One image of a split: its name in the source, its labels as class indexes, its converted form."""

    name: str
    labels: tuple[int, ...]
    stored: StoredImage


class StoredImages:
    """Reads what workers stored, from any of their files."""

    def __init__(self) -> None:
        self._descriptors: dict[str, int] = {}

    def read(self, stored: StoredImage) -> bytes:
        """The encoded image."""
        if stored.path not in self._descriptors:
            self._descriptors[stored.path] = os.open(stored.path, os.O_RDONLY)
        return os.pread(self._descriptors[stored.path], stored.size, stored.offset)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for descriptor in self._descriptors.values():
            os.close(descriptor)


def write_split(
    folder: Path,
    name: str,
    images: Sequence[SplitImage],
    classes: Sequence[str],
    multi_label: bool,
    stored_size: tuple[int, int],
    shards: int,
) -> Split:
    """Write a split.

    Args:
        folder: The data set's folder.
        name: The split.
        images: Its images, in the order in which they are to be written.
        classes: All classes.
        multi_label: Whether a record holds one value per class rather than a class index.
        stored_size: Height and width of the images.
        shards: Number of record files.
    """
    (folder / name).mkdir()
    stems = [name] if shards == 1 else [f"{name}-{number:05d}-of-{shards:05d}" for number in range(shards)]
    bounds = [len(images) * number // shards for number in range(shards + 1)]
    with StoredImages() as contents:
        written = tuple(
            _write_shard(
                folder,
                f"{name}/{stem}",
                list(enumerate(images[start:end], start)),
                len(classes) if multi_label else None,
                contents,
            )
            for stem, start, end in zip(stems, bounds, bounds[1:], strict=False)
        )
    counts = [0] * len(classes)
    for image in images:
        for label in image.labels:
            counts[label] += 1
    return Split(name, len(images), dict(zip(classes, counts, strict=True)), stored_size, written, folder)


def _write_shard(
    folder: Path, stem: str, images: Sequence[tuple[int, SplitImage]], values: int | None, contents: StoredImages
) -> Shard:
    record, index, list_name = f"{stem}.rec", f"{stem}.idx", f"{stem}.lst"
    with RecordWriter(folder / record, folder / index) as records:
        for identifier, image in images:
            data = contents.read(image.stored)
            records.write(ImageRecord(identifier, _label_values(image.labels, values), data).pack(), identifier)

    def entries() -> Iterator[ListEntry]:
        for identifier, image in images:
            yield ListEntry(identifier, _label_values(image.labels, values), image.name)

    write_list(folder / list_name, entries())
    with (folder / record).open("rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    return Shard(record, index, list_name, len(images), (folder / record).stat().st_size, checksum)


def _label_values(labels: tuple[int, ...], values: int | None) -> tuple[float, ...]:
    """The class index, or one 0 or 1 for each class."""
    if values is None:
        return (float(labels[0]),)
    hot = set(labels)
    return tuple(float(label in hot) for label in range(values))
