"""The test images on their way through a batch transform: out of the record files, to S3, and back as predictions.

Each image gets a flat key of its own, made of its position in the split. SageMaker's documents do not say clearly which
folder a prediction is written to, so predictions are matched by these names, wherever they are.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np

from kfp_image_tuning.core.errors import DatasetError, EngineError
from kfp_image_tuning.dataset.document import Dataset, Split
from kfp_image_tuning.engines.sagemaker.aws.storage import Storage
from kfp_image_tuning.evaluation.prediction import (
    Location,
    Predictions,
    Skipped,
    read_label,
    split_records,
)

OUTPUT_SUFFIX = ".out"
UPLOAD_BATCH = 512
"""Images that are held in memory at a time."""
NO_ANSWER = "SageMaker gave no prediction"


@dataclass(frozen=True)
class SentImage:
    """One image of the split.

    Attributes:
        name: Its key below the folder.
        location: Where it is stored in the record files.
        label: Its class number, or truth values.
    """

    name: str
    location: Location
    label: int | list[bool]


def send_images(dataset: Dataset, split: Split, storage: Storage, folder: str) -> list[SentImage]:
    """Bring the images of a split to S3, those that are not there yet.

    Args:
        dataset: The data set.
        split: Which of its images.
        storage: S3.
        folder: Where to; its name must be made from the split's content.

    Returns:
        The images in the order of the record files.

    Raises:
        DatasetError: If a record cannot be read.
        EngineError: If S3 does not take an image.
    """
    there = storage.sizes(folder)
    sent: list[SentImage] = []
    images = _images(dataset, split)
    while batch := list(islice(images, UPLOAD_BATCH)):
        new = {f"{folder}/{image.name}": content for image, content in batch if there.get(image.name) != len(content)}
        storage.upload_contents(new)
        sent += [image for image, _ in batch]
    return sent


def _images(dataset: Dataset, split: Split) -> Iterator[tuple[SentImage, bytes]]:
    for number, (location, record) in enumerate(split_records(split)):
        suffix = "png" if record.image.startswith(b"\x89PNG") else "jpg"
        label = read_label(record, dataset, split.record_paths[location.shard])
        yield SentImage(f"{number:08}.{suffix}", location, label), record.image


def collect_predictions(
    images: list[SentImage], dataset: Dataset, split: Split, storage: Storage, folder: str, seconds: float
) -> Predictions:
    """Read the predictions that a transform job has written.

    Args:
        images: What `send_images` has sent.
        dataset: The data set.
        split: Which of its images.
        storage: S3.
        folder: The transform job's output folder.
        seconds: How long the job ran.

    Raises:
        EngineError: If there is no prediction at all, or one is not of the algorithm's form.
    """
    names = _names_by_image(storage.sizes(folder))
    outputs = storage.read(folder, [names[image.name] for image in images if image.name in names])
    labels, locations, probabilities, skipped = [], [], [], []
    for image in images:
        if image.name not in names:
            record = split.shards[image.location.shard].record
            skipped.append(Skipped(image.location.identifier, record, NO_ANSWER))
            continue
        place = names[image.name]
        probabilities.append(parse_prediction(outputs[place], len(dataset.classes), f"{folder}/{place}"))
        labels.append(image.label)
        locations.append(image.location)
    if not locations:
        raise EngineError(f"{folder}: holds no predictions for the {len(images)} test images; see the job's logs")
    stacked = np.array(labels, dtype=bool) if dataset.multi_label else np.array(labels, dtype=np.int64)
    return Predictions(
        stacked, np.array(probabilities, dtype=np.float32), tuple(locations), tuple(skipped), max(seconds, 0.0)
    )


def parse_prediction(content: bytes, classes: int, place: str) -> list[float]:
    """The probabilities in one output: ``{"prediction": [...]}`` or the bare list, both of which are in use.

    Raises:
        EngineError: If it is neither.
    """
    try:
        document = json.loads(content)
    except ValueError:
        document = None
    values = document.get("prediction") if isinstance(document, Mapping) else document
    numbers = isinstance(values, list) and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in values
    )
    if not numbers or not isinstance(values, list):
        shown = content[:80].decode(errors="replace")
        raise EngineError(
            f'{place}: is neither {{"prediction": [...]}} nor a list of numbers, but {shown!r}; the model must be one '
            "of the image classification algorithm"
        )
    if len(values) != classes:
        raise DatasetError(
            f"{place}: has {len(values)} probabilities, the data set has {classes} classes; evaluate the model on a "
            "data set with the classes that it was trained for"
        )
    # What is no number stays so: scoring says that the model has diverged.
    return [float(value) if math.isfinite(value) else math.nan for value in values]


def _names_by_image(keys: Mapping[str, int]) -> dict[str, str]:
    """Each output's key by the name of its image, in whatever subfolder it is."""
    return {
        key.rpartition("/")[2].removesuffix(OUTPUT_SUFFIX): key for key in sorted(keys) if key.endswith(OUTPUT_SUFFIX)
    }
