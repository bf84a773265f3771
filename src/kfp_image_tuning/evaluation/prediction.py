"""A model's probabilities for every image of a split, read from its record files."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from kfp_image_tuning.core.errors import DatasetError
from kfp_image_tuning.dataset.document import Dataset, Split
from kfp_image_tuning.dataset.image_codec import Pixels
from kfp_image_tuning.dataset.recordio import ImageRecord, RecordReader
from kfp_image_tuning.evaluation.scoring import Labels
from kfp_image_tuning.model.prediction import Classifier, predict_images, read_pixels

Progress = Callable[[int, int], None]
"""Takes the number of images done and the number of images in all."""


@dataclass(frozen=True)
class Location:
    """Where an image is stored.

    Attributes:
        shard: Position of its record file among the split's.
        offset: Of its record in the file.
        identifier: Its number, the key to its line in the list file.
    """

    shard: int
    offset: int
    identifier: int


@dataclass(frozen=True)
class Skipped:
    """An image that could not be scored.

    Attributes:
        identifier: Its number in the record file.
        record: The record file, relative to the data set's folder.
        reason: Why.
    """

    identifier: int
    record: str
    reason: str


@dataclass(frozen=True)
class Predictions:
    """A split's labels and a model's answers, row by row in the order of the record files.

    Attributes:
        labels: Class numbers ``[N]``, or truth values ``[N, C]`` where an image may have several labels.
        probabilities: ``[N, C]``, in the order of the data set's classes.
        locations: Where each image is stored.
        skipped: Images that could not be decoded.
        seconds: Wall time from the first record to the last probability.
    """

    labels: Labels
    probabilities: NDArray[np.float32]
    locations: tuple[Location, ...]
    skipped: tuple[Skipped, ...]
    seconds: float


def predict_split(
    model: Classifier, dataset: Dataset, split: Split, *, batch_size: int, progress: Progress | None = None
) -> Predictions:
    """Let a model answer for every image of a split.

    Args:
        model: Its classes must be the data set's; their order may differ.
        dataset: The data set.
        split: Which of its images.
        batch_size: Images that are decoded and predicted at a time.
        progress: Told after every batch.

    Raises:
        DatasetError: If model and data set do not belong together, or no image can be read.
    """
    columns = _match(model, dataset)
    began = time.monotonic()
    labels, locations, probabilities, skipped = [], [], [], []

    def decode(item: tuple[Location, ImageRecord]) -> Pixels | str:
        try:
            return read_pixels(item[1].image, dataset.image_shape)
        except DatasetError as error:
            return str(error)

    for (location, record), answer in predict_images(model, split_records(split), decode, batch_size):
        if isinstance(answer, str):
            skipped.append(Skipped(location.identifier, split.shards[location.shard].record, answer))
        else:
            locations.append(location)
            labels.append(read_label(record, dataset, split.record_paths[location.shard]))
            probabilities.append(answer[columns])
        done = len(locations) + len(skipped)
        if progress and (done % batch_size == 0 or done == split.images):
            progress(done, split.images)
    if not locations:
        reason = f"the first: image {skipped[0].identifier}: {skipped[0].reason}" if skipped else "it is empty"
        raise DatasetError(
            f"{dataset.directory}: no image of the split {split.name!r} can be scored ({reason}); "
            "prepare the data set with images in this split"
        )
    stacked = np.array(labels, dtype=bool) if dataset.multi_label else np.array(labels, dtype=np.int64)
    seconds = time.monotonic() - began
    return Predictions(stacked, np.stack(probabilities), tuple(locations), tuple(skipped), seconds)


def _match(model: Classifier, dataset: Dataset) -> list[int]:
    """The model's output for each class of the data set."""
    missing = sorted(set(dataset.classes) - set(model.classes))
    unknown = sorted(set(model.classes) - set(dataset.classes))
    problems = []
    if missing or unknown:
        differences = [
            f"{owner} has {_listed(names)}, which the other has not"
            for owner, names in (("the data set", missing), ("the model", unknown))
            if names
        ]
        problems.append(
            f"{dataset.directory}: the classes are not the model's: {'; '.join(differences)}; "
            "evaluate the model on a data set with the classes that it was trained for"
        )
    if tuple(model.image_shape) != tuple(dataset.image_shape):
        problems.append(
            f"{dataset.directory}: the images are made for image_shape {_shape(dataset.image_shape)}, the model takes "
            f"{_shape(model.image_shape)}; prepare the data set with the model's image_shape"
        )
    if problems:
        raise DatasetError.from_problems(problems)
    position = {name: number for number, name in enumerate(model.classes)}
    return [position[name] for name in dataset.classes]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown


def _shape(image_shape: Sequence[int]) -> str:
    return ",".join(str(size) for size in image_shape)


def split_records(split: Split) -> Iterator[tuple[Location, ImageRecord]]:
    """Every image of a split as it is stored, in the order of the record files."""
    return chain.from_iterable(_records(number, path) for number, path in enumerate(split.record_paths))


def _records(shard: int, path: os.PathLike[str]) -> Iterator[tuple[Location, ImageRecord]]:
    with RecordReader(path) as reader:
        for offset in reader.offsets():
            record = ImageRecord.unpack(reader.read_at(offset))
            yield Location(shard, offset, record.identifier), record


def read_label(record: ImageRecord, dataset: Dataset, path: os.PathLike[str]) -> int | list[bool]:
    """A record's class number, or its truth values where an image may have several labels.

    Raises:
        DatasetError: If it has another label than this data set's images have.
    """
    count = len(dataset.classes)
    if dataset.multi_label:
        if len(record.labels) == count:
            return [value > 0.5 for value in record.labels]
        rule = f"{count} values, one a class"
    else:
        if len(record.labels) == 1 and record.labels[0].is_integer() and 0 <= record.labels[0] < count:
            return int(record.labels[0])
        rule = f"one class number from 0 to {count - 1}"
    raise DatasetError(
        f"{path}: image {record.identifier}: its label is {list(record.labels)}, this data set needs {rule}; "
        "prepare the data set again"
    )
