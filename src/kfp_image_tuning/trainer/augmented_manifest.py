"""What SageMaker streams of an augmented manifest: each line's image as a record, followed by its label as a record.

That is what a channel with ``AttributeNames`` image and label and the ``RecordWrapperType`` ``RecordIO`` delivers.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from kfp_image_tuning.core.errors import DatasetError, TrainingError
from kfp_image_tuning.dataset.image_codec import read_image_header
from kfp_image_tuning.dataset.recordio import ImageRecord, RecordReader, RecordWriter
from kfp_image_tuning.search.hyperparameters import Hyperparameters


def pack_manifest(
    stream: Path, record_path: Path, hyperparameters: Hyperparameters, class_ids: bool, place: str
) -> None:
    """Join images and labels to the records that the trainer reads.

    Args:
        stream: All that came, in a file.
        record_path: Gets the records.
        hyperparameters: Say whether an image has several labels, and how many classes there are.
        class_ids: Whether several labels are given as class numbers; otherwise as a 0 or 1 for each class.
        place: Where it came from, for messages.

    Raises:
        TrainingError: At the first pair that is not an image and its label.
    """
    with RecordReader(stream) as reader, RecordWriter(record_path) as writer:
        for number, (image, label) in enumerate(_pairs(iter(reader), place)):
            try:
                labels = _read_label(label, hyperparameters, class_ids)
            except (ValueError, TypeError):
                expected = _describe_label(hyperparameters, class_ids)
                raise TrainingError(
                    f"{place}: the label of image {number} is {label[:80]!r}; it must be {expected}, and its attribute "
                    "the second of two AttributeNames"
                ) from None
            writer.write(ImageRecord(number, labels, image).pack(), number)


def _pairs(records: Iterator[bytes], place: str) -> Iterator[tuple[bytes, bytes]]:
    for number, image in enumerate(records):
        try:
            read_image_header(image)
        except DatasetError as error:
            raise TrainingError(
                f"{place}: image {number} {error}; AttributeNames must name the image's attribute and then the "
                "label's, and no other"
            ) from None
        label = next(records, None)
        if label is None:
            raise TrainingError(f"{place}: ends with an image without a label; AttributeNames must name both")
        yield image, label


def _read_label(label: bytes, hyperparameters: Hyperparameters, class_ids: bool) -> tuple[float, ...]:
    value = json.loads(label)
    # Some tools write numbers and lists as text.
    value = json.loads(value) if isinstance(value, str) else value
    classes = hyperparameters.num_classes
    if not hyperparameters.multi_label:
        return (_number_below(value, classes),)
    if class_ids:
        present = {_number_below(item, classes) for item in value}
        return tuple(float(number in present) for number in range(classes))
    labels = tuple(float(_number_below(item, 2)) for item in value)
    if len(labels) != classes:
        raise ValueError(value)
    return labels


def _number_below(value: object, limit: int) -> int:
    """A whole number from 0."""
    if not isinstance(value, str | int | float):
        raise TypeError(value)
    number = float(value)
    if not number.is_integer() or not 0 <= number < limit:
        raise ValueError(value)
    return int(number)


def _describe_label(hyperparameters: Hyperparameters, class_ids: bool) -> str:
    classes = hyperparameters.num_classes
    if not hyperparameters.multi_label:
        return f"a class number from 0 to {classes - 1}"
    if class_ids:
        return f"a list of class numbers from 0 to {classes - 1}, such as [0, 2] (label-format=class-id)"
    return f"a list of {classes} numbers 0 or 1, one for each class (or say label-format=class-id in the ContentType)"
