"""``dataset.json``, the document that makes a folder of record files a data set.

It is written last and atomically, so a folder without it is not a data set (but a preparation that was killed, for
example), and it holds nothing of the moment (no time, no host): the same images give the same bytes. Its form is
written down once, in ``dataset.schema.json`` beside this module.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Self

from kfp_image_tuning.core.document_schema import find_violations
from kfp_image_tuning.core.durable_file import write_durably
from kfp_image_tuning.core.errors import DatasetError, DocumentError
from kfp_image_tuning.dataset.recordio import read_index, scan_offsets

DOCUMENT_NAME = "dataset.json"
SCHEMA_VERSION = 1
SPLIT_NAMES = ("train", "validation", "test")


@dataclass(frozen=True)
class Shard:
    """One record file of a split, with its index and list.

    Attributes:
        record: Path of the ``.rec`` file relative to the data set's folder, with ``/``.
        index: Path of its ``.idx``.
        list: Path of its ``.lst``.
        images: Number of records.
        bytes: Size of the ``.rec`` file.
        sha256: Checksum of the ``.rec`` file, in hexadecimal.
    """

    record: str
    index: str
    list: str
    images: int
    bytes: int
    sha256: str

    def to_dict(self) -> dict[str, Any]:
        """The element of ``shards``."""
        return dict(vars(self))


@dataclass(frozen=True)
class Split:
    """The training, validation or test images.

    Attributes:
        name: ``train``, ``validation`` or ``test``.
        images: Number of images.
        images_per_class: Class name to number of images, for every class. With several labels an image counts in each.
        stored_size: Height and width at which the images are stored; training images carry a margin for random crops.
        shards: The record files, in order.
        directory: The data set's folder.
    """

    name: str
    images: int
    images_per_class: Mapping[str, int]
    stored_size: tuple[int, int]
    shards: tuple[Shard, ...]
    directory: Path = field(default=Path(), compare=False)

    @property
    def record_paths(self) -> tuple[Path, ...]:
        """Where the record files are."""
        return tuple(self.directory / shard.record for shard in self.shards)

    def to_dict(self) -> dict[str, Any]:
        """The element of ``splits``."""
        return {
            "images": self.images,
            "images_per_class": dict(self.images_per_class),
            "stored_size": list(self.stored_size),
            "shards": [shard.to_dict() for shard in self.shards],
        }


@dataclass(frozen=True)
class ResizePolicy:
    """How images came to their stored size.

    Attributes:
        interpolation: What is done when making smaller and larger, such as ``area down, linear up``.
        training_margin: How much larger than ``image_shape`` training images are stored, such as 1.143.
        encoding: ``jpeg`` or ``png``.
        quality: JPEG quality; None for ``png``.
        aspect: ``squeeze``: the whole image is kept and its aspect is not, as the algorithm does when serving.
    """

    interpolation: str
    training_margin: float
    encoding: str
    quality: int | None
    aspect: str = "squeeze"


@dataclass(frozen=True, kw_only=True)
class PreparationSettings:
    """What was asked of the preparation, where the rest of the document does not tell it: so it can be asked again.

    Attributes:
        max_invalid_images: Images that may be unreadable: a number such as ``20``, or a fraction of all such as ``1%``.
        encoding: ``jpeg``, ``png`` or ``auto``.
        quality: JPEG quality, also where nothing became a JPEG.
        training_margin: How much larger than ``image_shape`` training images are stored; None: by the images' sizes.
        reading: What was said of a source that can be read in several ways, by option, as text.
    """

    max_invalid_images: str = "1%"
    encoding: str = "auto"
    quality: int = 95
    training_margin: float | None = None
    reading: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The element ``settings``."""
        return {**vars(self), "reading": dict(self.reading)}


@dataclass(frozen=True)
class Source:
    """Where the images came from.

    Attributes:
        uri: Absolute path of the folder or file, or URL without credentials.
        kind: Its form, such as ``folder``, ``archive``, ``csv``, ``list``, ``parquet`` or ``recordio``.
        fingerprint: ``sha256:…`` over the source's content.
        understood: How it was read, a sentence each: which words named the splits, what was left aside.
    """

    uri: str
    kind: str
    fingerprint: str
    understood: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read the element ``source``, which keeps to the schema."""
        return cls(**{**document, "understood": tuple(document["understood"])})

    def to_dict(self) -> dict[str, Any]:
        """The element ``source``."""
        return {**vars(self), "understood": list(self.understood)}


@dataclass(frozen=True)
class SkippedImage:
    """An image that could not be used.

    Attributes:
        image: Its name in the source.
        reason: Why.
    """

    image: str
    reason: str


@dataclass(frozen=True)
class Duplicates:
    """Images with the same content, which stay together in one split.

    Attributes:
        images: Their names in the source.
        split: The split that holds them.
    """

    images: tuple[str, ...]
    split: str


@dataclass(frozen=True)
class LabelConflict:
    """Images with the same pixels but different labels.

    Attributes:
        images: Their names in the source.
        classes: The class names of each, in the same order.
    """

    images: tuple[str, ...]
    classes: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A data set on disk.

    Attributes:
        classes: The classes' names; a name's position is the label.
        multi_label: Whether an image may belong to several classes.
        image_shape: Channels, height and width that the network sees.
        splits: The splits by name.
        resize: How images came to their stored size.
        settings: What was asked of the preparation.
        seed: Of the random split.
        fractions: Fraction of the images in each split; None where the source itself named the splits.
        source: Where the images came from.
        skipped: Images that could not be used.
        duplicates: Groups of exact copies.
        label_conflicts: Groups of equal images that are labelled differently.
        directory: The folder that holds ``dataset.json``.
    """

    classes: tuple[str, ...]
    multi_label: bool
    image_shape: tuple[int, int, int]
    splits: Mapping[str, Split]
    resize: ResizePolicy
    seed: int
    fractions: Mapping[str, float] | None
    source: Source
    settings: PreparationSettings = field(default_factory=PreparationSettings)
    skipped: tuple[SkippedImage, ...] = ()
    duplicates: tuple[Duplicates, ...] = ()
    label_conflicts: tuple[LabelConflict, ...] = ()
    directory: Path = field(default=Path(), compare=False)

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> Self:
        """Read a data set's document; the record files are looked at by `verify` only.

        Args:
            directory: The folder that holds ``dataset.json``.

        Raises:
            DatasetError: If there is no ``dataset.json``.
            DocumentError: If it has an unknown version or another form, with every problem.
        """
        path = Path(directory) / DOCUMENT_NAME
        try:
            text = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise DatasetError(
                f"{directory}: holds no {DOCUMENT_NAME}, so it is not a data set or its preparation did not finish; "
                "run kfp-image-tuning prepare with this folder as output"
            ) from None
        except OSError as error:
            raise DatasetError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
        try:
            document = json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise DocumentError(f"{path}: is not valid JSON ({error}); prepare the data set again") from None
        return cls.from_dict(document, Path(directory))

    @classmethod
    def from_dict(cls, document: object, directory: Path) -> Self:
        """Read the JSON form.

        Raises:
            DocumentError: With every problem found.
        """
        place = directory / DOCUMENT_NAME
        version = document.get("schema_version") if isinstance(document, dict) else None
        if isinstance(version, int) and version != SCHEMA_VERSION:
            raise DocumentError(
                f"{place}: schema_version {version} is unknown, this program reads {SCHEMA_VERSION}; "
                "use the version of kfp-image-tuning that wrote it, or prepare the data set again"
            )
        problems = find_violations(document, _schema())
        if not problems and isinstance(document, dict):
            dataset = cls._from_sound_document(document, directory)
            problems = dataset._contradictions()
        if problems:
            raise DocumentError.from_problems(f"{place}: {problem}; prepare the data set again" for problem in problems)
        return dataset

    @classmethod
    def _from_sound_document(cls, document: Mapping[str, Any], directory: Path) -> Self:
        """Read a JSON form that keeps to the schema."""
        return cls(
            classes=tuple(document["classes"]),
            multi_label=document["multi_label"],
            image_shape=tuple(document["image_shape"]),
            splits={
                name: Split(
                    name,
                    split["images"],
                    split["images_per_class"],
                    tuple(split["stored_size"]),
                    tuple(Shard(**shard) for shard in split["shards"]),
                    directory,
                )
                for name, split in document["splits"].items()
            },
            resize=ResizePolicy(**document["resize"]),
            seed=document["seed"],
            fractions=document["fractions"],
            source=Source.from_dict(document["source"]),
            settings=PreparationSettings(**document["settings"]),
            skipped=tuple(SkippedImage(**item) for item in document["skipped"]),
            duplicates=tuple(Duplicates(tuple(item["images"]), item["split"]) for item in document["duplicates"]),
            label_conflicts=tuple(
                LabelConflict(tuple(item["images"]), tuple(map(tuple, item["classes"])))
                for item in document["label_conflicts"]
            ),
            directory=directory,
        )

    def _contradictions(self) -> list[str]:
        """What the document's parts say against each other, beyond what a schema can express."""
        problems = []
        for name, split in self.splits.items():
            held = sum(shard.images for shard in split.shards)
            if split.images != held:
                problems.append(f"splits.{name}.images is {split.images}, but its shards hold {held}")
            if set(split.images_per_class) != set(self.classes):
                problems.append(f"splits.{name}.images_per_class does not name exactly the classes")
        for position, conflict in enumerate(self.label_conflicts):
            if len(conflict.images) != len(conflict.classes):
                problems.append(f"label_conflicts[{position}] has not one list of classes for each image")
        return problems

    def to_dict(self) -> dict[str, Any]:
        """The JSON form; `from_dict` gives the same data set back."""
        return {
            "schema_version": SCHEMA_VERSION,
            "classes": list(self.classes),
            "multi_label": self.multi_label,
            "image_shape": list(self.image_shape),
            "splits": {name: self.splits[name].to_dict() for name in SPLIT_NAMES if name in self.splits},
            "resize": dict(vars(self.resize)),
            "seed": self.seed,
            "fractions": None if self.fractions is None else dict(self.fractions),
            "source": self.source.to_dict(),
            "settings": self.settings.to_dict(),
            "skipped": [dict(vars(item)) for item in self.skipped],
            "duplicates": [{"images": list(item.images), "split": item.split} for item in self.duplicates],
            "label_conflicts": [
                {"images": list(item.images), "classes": [list(names) for names in item.classes]}
                for item in self.label_conflicts
            ],
        }

    def save(self, directory: str | os.PathLike[str]) -> Self:
        """Write ``dataset.json``, whole or not at all.

        Args:
            directory: The folder that holds the record files.

        Returns:
            The same data set with its paths in ``directory``.
        """
        folder = Path(directory)
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=True, allow_nan=False) + "\n"
        write_durably(folder / DOCUMENT_NAME, text.encode("ascii"))
        splits = {name: replace(split, directory=folder) for name, split in self.splits.items()}
        return replace(self, splits=splits, directory=folder)

    def split(self, name: str) -> Split:
        """One split.

        Raises:
            DatasetError: If the data set has no such split.
        """
        if name not in self.splits:
            raise DatasetError(
                f"{self.directory}: has no split {name!r}, only {', '.join(self.splits) or 'none'}; "
                "prepare the data set with a fraction above 0 for it"
            )
        return self.splits[name]

    @property
    def fingerprint(self) -> str:
        """``sha256:…`` over everything that training and evaluation see: records, classes and image shape."""
        content = {
            "classes": self.classes,
            "multi_label": self.multi_label,
            "image_shape": self.image_shape,
            "shards": {name: [shard.sha256 for shard in split.shards] for name, split in self.splits.items()},
        }
        return "sha256:" + hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def verify(self) -> None:
        """Check all record files, indexes and lists against the document.

        Raises:
            DatasetError: With every difference found.
        """
        shards = [shard for split in self.splits.values() for shard in split.shards]
        # Hashing releases the interpreter lock, and reading waits for the disk.
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as threads:
            found = threads.map(lambda shard: _find_differences(self.directory, shard), shards)
            problems = [problem for differences in found for problem in differences]
        if problems:
            raise DatasetError.from_problems(problems)


def _find_differences(directory: Path, shard: Shard) -> list[str]:
    """Compare one shard's files with what the document says."""
    record = directory / shard.record
    way_out = "the file was changed or cut after preparation: copy the data set again or prepare it again"
    problems = [
        f"{directory / name}: is missing; copy the data set again or prepare it again"
        for name in (shard.record, shard.index, shard.list)
        if not (directory / name).is_file()
    ]
    if problems:
        return problems
    size = record.stat().st_size
    if size != shard.bytes:
        return [f"{record}: has {size} bytes instead of {shard.bytes}; {way_out}"]
    with record.open("rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    if checksum != shard.sha256:
        return [f"{record}: has the checksum {checksum} instead of {shard.sha256}; {way_out}"]
    try:
        offsets = scan_offsets(record)
        if len(offsets) != shard.images:
            problems.append(f"{record}: holds {len(offsets)} records instead of {shard.images}; {way_out}")
        if list(read_index(directory / shard.index).values()) != offsets:
            problems.append(f"{directory / shard.index}: does not point at the records of {record.name}; {way_out}")
    except DatasetError as error:
        problems += error.problems
    return problems


@cache
def _schema() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(Path(__file__).with_name("dataset.schema.json").read_bytes())
    return document


def _refuse_constant(name: str) -> None:
    """JSON knows no NaN or Infinity, Python's reader does."""
    raise ValueError(f"{name} is not allowed")
