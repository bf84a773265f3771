"""The most confidently wrong images: where a classifier, or a label, deserves a second look."""

import base64
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kfp_image_tuning.dataset.document import Dataset, Split
from kfp_image_tuning.dataset.image_codec import decode_image, encode_image, resize_image
from kfp_image_tuning.dataset.recordio import ImageRecord, RecordReader, read_list
from kfp_image_tuning.evaluation.prediction import Location, Predictions

MISTAKES = 24
THUMBNAIL_PIXELS = 112
"""Longest side of a thumbnail."""
SMALL_BYTES = 2048
"""A stored image no larger than this is its own thumbnail."""


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """One image that the model is wrong about.

    Attributes:
        identifier: Its number in the record and list file.
        path: Its name in the source, from the list file; empty if it has no line there.
        true: The names of the classes that it belongs to.
        predicted: The names of the classes that the model says.
        confidence: The model's probability for its worst wrong answer, 0 to 1.
        true_probability: What the model gives the true class; None where an image may have several labels.
        record: The record file, relative to the data set's folder.
        offset: Where in it the image's record starts.
        thumbnail: The image as a data URI, PNG or JPEG.
    """

    identifier: int
    path: str
    true: tuple[str, ...]
    predicted: tuple[str, ...]
    confidence: float
    true_probability: float | None
    record: str
    offset: int
    thumbnail: str


def find_mistakes(
    predictions: Predictions, answers: NDArray[np.bool_], dataset: Dataset, split: Split
) -> tuple[Mistake, ...]:
    """The most confidently wrong images, worst first.

    Args:
        predictions: Labels and probabilities.
        answers: Which answers are right, as `scoring.find_answers` says.
        dataset: The data set.
        split: The split that was predicted.
    """
    probabilities = predictions.probabilities
    confidence = np.maximum(probabilities, 1 - probabilities) if dataset.multi_label else probabilities
    if dataset.multi_label:
        worst = np.where(answers, 0.0, confidence).max(axis=1)
    else:
        worst = np.where(answers[:, 0], 0.0, confidence.max(axis=1))
    # Stable, so that equals stay in the order of the record files.
    order = np.argsort(-worst, kind="stable")[:MISTAKES]
    names = {shard: _read_names(split, shard) for shard in {predictions.locations[row].shard for row in order}}
    return tuple(
        _describe(int(row), float(worst[row]), predictions, dataset, split, names) for row in order if worst[row] > 0
    )


def _describe(
    row: int,
    confidence: float,
    predictions: Predictions,
    dataset: Dataset,
    split: Split,
    names: dict[int, dict[int, str]],
) -> Mistake:
    location, probabilities, label = predictions.locations[row], predictions.probabilities[row], predictions.labels[row]
    if dataset.multi_label:
        true = tuple(name for name, holds in zip(dataset.classes, np.atleast_1d(label), strict=True) if holds)
        predicted = tuple(name for name, p in zip(dataset.classes, probabilities, strict=True) if p > 0.5)
    else:
        true, predicted = (dataset.classes[int(label)],), (dataset.classes[int(probabilities.argmax())],)
    return Mistake(
        identifier=location.identifier,
        path=names[location.shard].get(location.identifier, ""),
        true=true,
        predicted=predicted,
        confidence=confidence,
        true_probability=None if dataset.multi_label else float(probabilities[int(label)]),
        record=split.shards[location.shard].record,
        offset=location.offset,
        thumbnail=_make_thumbnail(split, location, dataset.image_shape[0]),
    )


def _read_names(split: Split, shard: int) -> dict[int, str]:
    # Names that are no UTF-8 cannot stand in JSON; what is unreadable in them is replaced.
    entries = read_list(split.directory / split.shards[shard].list)
    return {
        entry.identifier: entry.path.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for entry in entries
    }


def _make_thumbnail(split: Split, location: Location, channels: int) -> str:
    with RecordReader(split.record_paths[location.shard]) as reader:
        stored = ImageRecord.unpack(reader.read_at(location.offset)).image
    if len(stored) <= SMALL_BYTES and stored.startswith(b"\x89PNG"):
        return _data_uri("png", stored)
    if len(stored) <= SMALL_BYTES and stored.startswith(b"\xff\xd8\xff"):
        return _data_uri("jpeg", stored)
    image = decode_image(stored, channels=channels)
    height, width = image.shape[:2]
    shrink = min(1.0, THUMBNAIL_PIXELS / max(height, width))
    small = resize_image(image, max(1, round(height * shrink)), max(1, round(width * shrink)))
    return _data_uri("jpeg", encode_image(small, "jpeg", 85))


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
