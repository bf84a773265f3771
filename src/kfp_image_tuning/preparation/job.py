"""One preparation, from references to split files.

Each image is decoded once. Its split decides at which size it is stored, and the split depends on which images are
equal, which only decoding tells. So images are shared out by name first, converted, and compared on the way; the few
whose split changes when copies move together are converted once more. The output's bytes depend on images, settings
and seed alone, not on the number of workers or the order of files.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import TypeVar

from kfp_image_tuning.core.console import printable_name
from kfp_image_tuning.core.errors import DatasetError
from kfp_image_tuning.core.progress_lines import Progress
from kfp_image_tuning.dataset.document import DOCUMENT_NAME, SPLIT_NAMES, Dataset, SkippedImage, Source
from kfp_image_tuning.dataset.splits import LabelledImage, SplitPlan, plan_splits, rank_of
from kfp_image_tuning.preparation.conversion import (
    Conversion,
    ConversionTask,
    ScannedImage,
    StoredImage,
    convert_images,
    scan_images,
)
from kfp_image_tuning.preparation.pixel_groups import identify_pixels, sizes_of_mixed_formats
from kfp_image_tuning.preparation.settings import Settings
from kfp_image_tuning.preparation.sources.reading import enumerate_names
from kfp_image_tuning.preparation.sources.source import LabelledImages
from kfp_image_tuning.preparation.split_writer import SplitImage, write_split
from kfp_image_tuning.preparation.storage_form import StorageForm, choose_storage_form
from kfp_image_tuning.preparation.understanding import describe_sizes
from kfp_image_tuning.preparation.workers import Workers
from kfp_image_tuning.preparation.workspace import Workspace

IMAGES_AT_A_TIME = 32
HEADERS_AT_A_TIME = 256
BAD_IMAGES_IN_A_MESSAGE = 10

Say = Callable[[str], object]
Item = TypeVar("Item")


class PreparationJob:
    """One preparation, from references to split files."""

    def __init__(
        self, images: LabelledImages, settings: Settings, workspace: Workspace, workers: Workers, say: Say
    ) -> None:
        self._references = images.references
        self._classes = images.classes
        self._settings = settings
        self._workspace = workspace
        self._workers = workers
        self._say = say
        self._bad = list(images.skipped)
        self._notes = images.findings.notes
        self._total = len(images.references) + len(images.skipped)

    def run(self, describe_source: Callable[[Mapping[str, bytes]], Source]) -> Dataset:
        """Write the splits and describe the data set.

        Args:
            describe_source: Is given the SHA-256 of the files that were read, by path.
        """
        scanned, form = self.look()
        stored, plan, positions = self._convert_and_split(scanned, form)
        self._refuse_empty_classes(positions, plan)
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
        skipped = {(item.image, item.reason): item for item in (*self._bad, *self._notes, *plan.skipped)}
        all_given = all(reference.split for reference in self._references)
        return Dataset(
            classes=self._classes,
            multi_label=multi_label,
            image_shape=form.image_shape,
            splits=splits,
            resize=form.policy,
            settings=self._settings.to_record(),
            seed=self._settings.seed,
            fractions=None if all_given and self._gives_all_splits() else self._settings.fractions,
            source=describe_source({self._references[p].path: image.content for p, image in stored.items()}),
            skipped=tuple(skipped[key] for key in sorted(skipped)),
            duplicates=plan.duplicates,
            label_conflicts=plan.label_conflicts,
        )

    def look(self) -> tuple[dict[int, ScannedImage], StorageForm]:
        """Look at the headers of all images, and say what was found and decided.

        Returns:
            The headers of the usable images, by position, and how they are stored.

        Raises:
            DatasetError: If too many images cannot be used, or a class has no image to train on.
        """
        self._refuse_too_many_bad()
        self._refuse_classes_without_training_images(
            {
                label
                for reference in self._references
                if reference.split in (None, "train")
                for label in reference.labels
            }
        )
        scanned = self._scan()
        sizes = [(image.height, image.width) for image in scanned.values()]
        form = choose_storage_form(
            sizes,
            image_shape=self._settings.image_shape,
            training_margin=self._settings.training_margin,
            encoding=self._settings.encoding,
            quality=self._settings.quality,
        )
        self._say(describe_sizes(sizes))
        self._say(f"  decided: {form}")
        return scanned, form

    def _refuse_empty_classes(self, positions: Sequence[int], plan: SplitPlan) -> None:
        self._refuse_classes_without_training_images(
            {
                label
                for position, split in zip(positions, plan.split_of, strict=True)
                if split == "train"
                for label in self._references[position].labels
            }
        )

    def _refuse_classes_without_training_images(self, trained: set[str]) -> None:
        """A model would have a class that it never saw."""
        empty = [name for name in self._classes if name not in trained]
        if empty and not self._settings.reading.allow_empty_classes:
            close = [(name, near[0]) for name in empty if (near := get_close_matches(name, sorted(trained), 1))]
            hint = f"; if it is another name of {close[0][1]}, --merge {close[0][0]}={close[0][1]}" if close else ""
            raise DatasetError(
                f"{'class' if len(empty) == 1 else 'classes'} {enumerate_names(empty)}: no usable training image; add "
                f"some, remove the class, or allow it with --allow-empty-classes{hint}"
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
            images.append(
                LabelledImage(reference.name, reference.labels, keys[position], reference.split, reference.group)
            )
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
        self._bad.append(SkippedImage(self._references[position].name, reason))
        self._refuse_too_many_bad()

    def _refuse_too_many_bad(self) -> None:
        tolerated = self._settings.tolerated(self._total)
        if len(self._bad) > tolerated:
            limit = self._settings.max_invalid_images
            raise DatasetError.from_problems(
                self._describe_bad(
                    f"more than {tolerated} of {self._total:,} images cannot be used (max_invalid_images: {limit})"
                )
            )

    def _describe_bad(self, what: str) -> list[str]:
        listed = [f"{printable_name(item.image)}: {item.reason}" for item in self._bad[:BAD_IMAGES_IN_A_MESSAGE]]
        return [f"{what}; correct or remove them, or allow more bad images. The first:", *listed]

    def _report(self, plan: SplitPlan) -> None:
        """Say what was not as one would wish."""
        for count, what in (
            (len(self._bad), "Skipped, images that cannot be used"),
            (len(plan.duplicates), "Kept in one split each, groups of equal images"),
            (len(plan.label_conflicts), "Skipped, groups of equal images with different labels"),
            (len(plan.skipped), "Skipped, images with a copy in a held-out split"),
        ):
            if count:
                self._say(f"{what}: {count:,} (listed in {DOCUMENT_NAME})")


def _batches(items: Sequence[Item], size: int) -> Iterator[list[Item]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])
