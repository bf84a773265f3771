"""Images out of ``.rec`` files that exist already, such as those made for SageMaker by ``im2rec``."""

import os
from pathlib import Path

from kfp_image_tuning.core.errors import DatasetError
from kfp_image_tuning.dataset.recordio import ImageRecord, RecordReader
from kfp_image_tuning.preparation.sources.folders import split_named_in
from kfp_image_tuning.preparation.sources.image_reference import ImageReference, ScratchImages


def read_records(path: Path, name: str, scratch: ScratchImages) -> list[ImageReference]:
    """Copy the images of a record file into the scratch file.

    Args:
        path: The record file.
        name: Its name in the source, which may name a split (``val.rec``).
        scratch: Takes the images.

    Returns:
        The images; their labels are class numbers.

    Raises:
        DatasetError: If the file is damaged, or its labels are no classes.
    """
    split = split_named_in(name)
    references = []
    with RecordReader(path) as records:
        for number, payload in enumerate(records):
            place = f"{name}#{number:08d}"
            record = ImageRecord.unpack(payload)
            references.append(scratch.append(record.image, place, _read_labels(record.labels, place), split))
    if not references:
        raise DatasetError(f"{os.fspath(path)}: holds no records; write it again")
    return references


def _read_labels(labels: tuple[float, ...], place: str) -> tuple[str, ...]:
    """A class number, or one value (0 or 1) for each class."""
    if len(labels) == 1 and labels[0] >= 0 and labels[0].is_integer():
        return (str(int(labels[0])),)
    if len(labels) > 1 and set(labels) <= {0.0, 1.0}:
        return tuple(str(number) for number, value in enumerate(labels) if value)
    raise DatasetError(
        f"{place}: the label {', '.join(f'{label:g}' for label in labels[:10])} is neither a class number from 0 nor "
        "one 0 or 1 for each class; write the records with class numbers as labels"
    )
