"""Labelled images into a data set on disk.

Each image is decoded once. Its split decides at which size it is stored, and the split depends on which images are
equal, which only decoding tells. So images are shared out by name first, converted, and compared on the way; the few
whose split changes when copies move together are converted once more. The output's bytes depend on images, settings
and seed alone, not on the number of workers or the order of files.
"""

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from kfp_image_tuning.components.data_preparation.conversion import (
    Conversion,
    ConversionTask,
    ScannedImage,
    StoredImage,
    convert_images,
    scan_images,
)
from kfp_image_tuning.components.data_preparation.pixel_groups import identify_pixels, sizes_of_mixed_formats
from kfp_image_tuning.components.data_preparation.prepared_source import find_prepared, take_over
from kfp_image_tuning.components.data_preparation.progress import Progress
from kfp_image_tuning.components.data_preparation.remote import is_remote
from kfp_image_tuning.components.data_preparation.sources import LabelledImages, open_source, remote_identity
from kfp_image_tuning.components.data_preparation.split_writer import SplitImage, write_split
from kfp_image_tuning.components.data_preparation.storage_form import (
    Encoding,
    StorageForm,
    check_storage_form,
    choose_storage_form,
)
from kfp_image_tuning.components.data_preparation.workers import Workers
from kfp_image_tuning.components.data_preparation.workspace import Workspace
from kfp_image_tuning.dataset.cores import available_cores
from kfp_image_tuning.dataset.document import DOCUMENT_NAME, SPLIT_NAMES, Dataset, LeftOut, Source
from kfp_image_tuning.dataset.splits import LabelledImage, SplitPlan, plan_splits, rank_of, read_fractions
from kfp_image_tuning.tuning.errors import DatasetError, ImageTuningError

PREPARATION_VERSION = 2
"""Counts up when the same images and settings come to give other bytes."""
STAMP_NAME = ".preparation"
IMAGES_AT_A_TIME = 32
HEADERS_AT_A_TIME = 256
IMAGES_WORTH_A_WORKER = 64
BAD_IMAGES_IN_A_MESSAGE = 10

Say = Callable[[str], object]
Item = TypeVar("Item")


@dataclass(frozen=True)
class _Settings:
    """What was asked for; the stamp of a data set covers all of it."""

    image_shape: tuple[int, int, int] | None
    fractions: dict[str, float]
    seed: int
    shards: int
    max_bad: float
    encoding: Encoding
    quality: int
    training_margin: float | None
    classes: tuple[str, ...] | None

    def check(self) -> None:
        """Refuse what cannot be done, all at once."""
        problems = check_storage_form(self.image_shape, self.training_margin, self.encoding, self.quality)
        if self.shards < 1:
            problems.append(f"shards: {self.shards} is not 1 or more")
        if self.max_bad < 0 or (isinstance(self.max_bad, float) and not self.max_bad <= 1):
            problems.append(f"max_bad: {self.max_bad} is neither a count nor a share of 0.0 to 1.0")
        try:
            read_fractions(self.fractions)
        except DatasetError as error:
            problems += error.problems
        if problems:
            raise DatasetError.from_problems(problems)

    def stamp(self, identity: str) -> str:
        """What stands for a source and these settings."""
        content = {"version": PREPARATION_VERSION, "source": identity, **vars(self), "max_bad": repr(self.max_bad)}
        return "sha256:" + hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def bearable(self, total: int) -> int:
        """How many of ``total`` images may be bad; a share is rounded up."""
        return math.ceil(self.max_bad * total) if isinstance(self.max_bad, float) else self.max_bad


def prepare_dataset(
    data: str,
    output_directory: Path,
    *,
    image_shape: tuple[int, int, int] | None = None,
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1),
    seed: int = 0,
    shards: int = 1,
    max_bad: float = 0.01,
    encoding: Encoding = "auto",
    quality: int = 95,
    training_margin: float | None = None,
    classes: Sequence[str] | None = None,
    workers: int | None = None,
    progress: Say = print,
) -> Dataset:
    """Turn labelled images into training, validation and test sets in RecordIO.

    A source that is a prepared data set with the wanted image shape is taken over as it is. A data set that was
    prepared at the output from the same source contents with the same settings is checked and returned as it is.
    Otherwise the new one appears there whole or not at all.

    Args:
        data: A folder of class folders, a zip or tar of one, a CSV, Parquet or ``.rec`` files: path, ``s3://``,
            ``gs://``, ``minio://`` or ``https://``.
        output_directory: Where the data set goes: a new or empty folder, or a data set to replace.
        image_shape: Channels, height and width that the network sees; None: the images' own size where all have the
            same and it is at most 64 pixels, else 3,224,224.
        fractions: Shares of training, validation and test. Splits that the source names are kept.
        seed: Of the random split and the order of training images.
        shards: Number of training record files.
        max_bad: How many images may be unreadable: a count (int) or a share (float, rounded up).
        encoding: ``jpeg``, ``png`` or ``auto``: PNG up to 64 pixels.
        quality: JPEG quality.
        training_margin: How much larger than ``image_shape`` training images are stored; None: 1/7 where nine of ten
            images are that large, else 0.
        classes: Names for classes that the source only numbers; otherwise the classes that may occur.
        workers: Number of processes; None: as many as there are cores and it is worth.
        progress: Takes a line now and then.

    Raises:
        DatasetError: If no data set can be made of it.
    """
    settings = _Settings(
        image_shape and (image_shape[0], *image_shape[1:]),
        dict(zip(SPLIT_NAMES, fractions, strict=True)),
        seed,
        shards,
        max_bad,
        encoding,
        quality,
        training_margin,
        tuple(classes) if classes else None,
    )
    settings.check()
    output = Path(output_directory).absolute()
    _refuse_to_replace_source(data, output)
    started = time.monotonic()
    prepared = find_prepared(data)
    if prepared is not None and settings.image_shape in (None, prepared.image_shape):
        return _take_over(prepared, data, output, progress)
    identity = None
    if is_remote(data) and (output / STAMP_NAME).is_file():
        identity = remote_identity(data)
        if identity and (finished := _find_finished(output, settings.stamp(identity), progress)):
            return finished
    with Workspace(output) as workspace:
        source = open_source(data, workspace.downloads, progress)
        if is_remote(data):
            identity = identity or remote_identity(data)
        fingerprint = None
        if (output / STAMP_NAME).is_file():
            fingerprint = source.fingerprint()
            if finished := _find_finished(output, settings.stamp(identity or fingerprint), progress):
                return finished
        images = source.read(workspace.scratch / "source.images", settings.classes)
        progress(f"{source.uri}: {len(images.references):,} images of {len(images.classes)} classes ({source.kind})")
        worthwhile = math.ceil(len(images.references) / IMAGES_WORTH_A_WORKER)
        with Workers(workers or min(available_cores(), worthwhile)) as pool:
            job = _Job(images, settings, workspace, pool, progress)
            dataset = job.run(lambda known: Source(source.uri, source.kind, fingerprint or source.fingerprint(known)))
        (workspace.data / STAMP_NAME).write_text(settings.stamp(identity or dataset.source.fingerprint) + "\n")
        dataset.save(workspace.data)
        workspace.publish()
    dataset = Dataset.load(output)
    counts = ", ".join(f"{split.images:,} {name}" for name, split in dataset.splits.items())
    progress(f"{output}: {counts} images in {time.monotonic() - started:.1f} s")
    return dataset


def _take_over(prepared: Dataset, data: str, output: Path, progress: Say) -> Dataset:
    """Have a data set that is prepared already at the output."""
    stamp = prepared.fingerprint
    if finished := _find_finished(output, stamp, progress):
        return finished
    with Workspace(output) as workspace:
        take_over(prepared, data, workspace, progress)
        (workspace.data / STAMP_NAME).write_text(stamp + "\n")
        workspace.publish()
    return Dataset.load(output)


class _Job:
    """One preparation, from references to split files."""

    def __init__(
        self, images: LabelledImages, settings: _Settings, workspace: Workspace, workers: Workers, say: Say
    ) -> None:
        self._references = images.references
        self._classes = images.classes
        self._settings = settings
        self._workspace = workspace
        self._workers = workers
        self._say = say
        self._bad = list(images.left_out)
        self._notes = images.notes
        self._total = len(images.references) + len(images.left_out)

    def run(self, describe_source: Callable[[Mapping[str, bytes]], Source]) -> Dataset:
        """Write the splits and describe the data set.

        Args:
            describe_source: Is given the SHA-256 of the files that were read, by path.
        """
        self._refuse_too_many_bad()
        scanned = self._scan()
        form = choose_storage_form(
            ((image.height, image.width) for image in scanned.values()),
            image_shape=self._settings.image_shape,
            training_margin=self._settings.training_margin,
            encoding=self._settings.encoding,
            quality=self._settings.quality,
        )
        self._say(str(form))
        stored, plan, positions = self._convert_and_split(scanned, form)
        multi_label = any(len(self._references[position].labels) != 1 for position in positions)
        split_of = dict(zip(positions, plan.split_of, strict=True))
        splits = {
            name: write_split(
                self._workspace.data,
                name,
                self._order(name, split_of, stored),
                self._classes,
                multi_label,
                form.size_of(name),
                self._settings.shards if name == "train" else 1,
            )
            for name in SPLIT_NAMES
        }
        self._report(plan)
        left_out = {(item.image, item.reason): item for item in (*self._bad, *self._notes, *plan.left_out)}
        all_given = all(reference.split for reference in self._references)
        return Dataset(
            classes=self._classes,
            multi_label=multi_label,
            image_shape=form.image_shape,
            splits=splits,
            resize=form.policy,
            seed=self._settings.seed,
            fractions=None if all_given and self._gives_all_splits() else self._settings.fractions,
            source=describe_source({self._references[p].path: image.content for p, image in stored.items()}),
            left_out=tuple(left_out[key] for key in sorted(left_out)),
            duplicates=plan.duplicates,
            label_conflicts=plan.label_conflicts,
        )

    def _gives_all_splits(self) -> bool:
        return {reference.split for reference in self._references} == set(SPLIT_NAMES)

    def _scan(self) -> dict[int, ScannedImage]:
        """Headers of the usable images, by position."""
        meter = Progress(self._say, "looked at", len(self._references))
        usable: dict[int, ScannedImage] = {}
        position = 0
        for batch in self._workers.map(scan_images, _batches(self._references, HEADERS_AT_A_TIME)):
            for image in batch:
                if image.reason is None:
                    usable[position] = image
                else:
                    self._leave_out(position, image.reason)
                position += 1
            meter.add(len(batch))
        if not usable:
            raise DatasetError.from_problems(self._describe_bad("none of the images can be read"))
        return usable

    def _convert_and_split(
        self, scanned: Mapping[int, ScannedImage], form: StorageForm
    ) -> tuple[dict[int, StoredImage], SplitPlan, list[int]]:
        """Convert all images at the size of their split."""
        mixed = sizes_of_mixed_formats(list(scanned.values()))
        whole = {position for position, image in scanned.items() if (image.height, image.width) in mixed}
        positions = list(scanned)
        sizes = dict.fromkeys(positions, form.training_size)
        if form.training_size != form.image_shape[1:]:
            first = self._plan(positions, {position: b"%d" % position for position in positions})
            sizes = {p: form.size_of(split) for p, split in zip(positions, first.split_of, strict=True)}
        stored = self._convert(sizes, whole, form)
        positions = list(stored)
        keys = identify_pixels(self._references, stored, form.image_shape[0], self._workers)
        plan = self._plan(positions, keys)
        moved = {
            position: form.size_of(split)
            for position, split in zip(positions, plan.split_of, strict=True)
            if split and form.size_of(split) != sizes[position]
        }
        stored.update(self._convert(moved, whole, form))
        return stored, plan, positions

    def _plan(self, positions: Sequence[int], keys: Mapping[int, bytes]) -> SplitPlan:
        images = []
        for position in positions:
            reference = self._references[position]
            images.append(LabelledImage(reference.name, reference.labels, keys[position], reference.split))
        return plan_splits(images, self._settings.fractions, self._settings.seed)

    def _convert(
        self, sizes: Mapping[int, tuple[int, int]], whole: set[int], form: StorageForm
    ) -> dict[int, StoredImage]:
        """Convert images to the given sizes, by position; the usable ones come back."""
        conversion = Conversion(
            form.image_shape[0],
            form.training_size,
            form.encoding,
            form.quality,
            str(self._workspace.scratch),
        )
        positions = list(sizes)

        def batches() -> Iterator[tuple[Conversion, list[ConversionTask]]]:
            for batch in _batches(positions, IMAGES_AT_A_TIME):
                yield conversion, [ConversionTask(self._references[p], sizes[p], p in whole) for p in batch]

        meter = Progress(self._say, "prepared", len(positions))
        converted: dict[int, StoredImage] = {}
        done = 0
        for batch in self._workers.map(convert_images, batches()):
            for position, image in zip(positions[done : done + len(batch)], batch, strict=True):
                if image.reason is None:
                    converted[position] = image
                else:
                    self._leave_out(position, image.reason)
            done += len(batch)
            meter.add(len(batch))
        return converted

    def _order(
        self, split: str, split_of: Mapping[int, str | None], stored: Mapping[int, StoredImage]
    ) -> list[SplitImage]:
        """A split's images: training shuffled, the others by name."""
        number = {name: label for label, name in enumerate(self._classes)}
        images = []
        for position in (position for position, name in split_of.items() if name == split):
            reference = self._references[position]
            labels = tuple(number[label] for label in reference.labels)
            images.append(SplitImage(reference.name, labels, stored[position]))
        if split == "train":
            return sorted(images, key=lambda image: rank_of(self._settings.seed, image.name, "order"))
        return sorted(images, key=lambda image: image.name)

    def _leave_out(self, position: int, reason: str) -> None:
        self._bad.append(LeftOut(self._references[position].name, reason))
        self._refuse_too_many_bad()

    def _refuse_too_many_bad(self) -> None:
        bearable = self._settings.bearable(self._total)
        if len(self._bad) > bearable:
            raise DatasetError.from_problems(
                self._describe_bad(
                    f"more than {bearable} of {self._total:,} images cannot be used (max_bad: {self._settings.max_bad})"
                )
            )

    def _describe_bad(self, what: str) -> list[str]:
        listed = [f"{item.image}: {item.reason}" for item in self._bad[:BAD_IMAGES_IN_A_MESSAGE]]
        return [f"{what}; correct or remove them, or allow more bad images. The first:", *listed]

    def _report(self, plan: SplitPlan) -> None:
        """Say what was not as one would wish."""
        for count, what in (
            (len(self._bad), "Left out, images that cannot be used"),
            (len(plan.duplicates), "Kept in one split each, groups of equal images"),
            (len(plan.label_conflicts), "Left out, groups of equal images with different labels"),
            (len(plan.left_out), "Left out, images with a copy in a held-out split"),
        ):
            if count:
                self._say(f"{what}: {count:,} (listed in {DOCUMENT_NAME})")


def _batches(items: Sequence[Item], size: int) -> Iterator[list[Item]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


def _find_finished(output: Path, stamp: str, say: Say) -> Dataset | None:
    """The data set at the output, if it is the one that is wanted, whole and unchanged."""
    try:
        if (output / STAMP_NAME).read_text().strip() != stamp:
            return None
        dataset = Dataset.load(output)
        dataset.verify()
    except OSError:
        return None
    except ImageTuningError as error:
        say(f"{output}: is damaged and is prepared again: {error.problems[0]}")
        return None
    say(f"{output}: is prepared already from the same images with the same settings; its checksums are right")
    return dataset


def _refuse_to_replace_source(data: str, output: Path) -> None:
    if not is_remote(data):
        source = Path(data).expanduser().absolute()
        if output == source or output in source.parents:
            raise DatasetError(f"{output}: the output would replace the source {source}; give another output folder")
