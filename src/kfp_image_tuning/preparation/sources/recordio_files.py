"""Images out of ``.rec`` files that exist already, such as those made for SageMaker by ``im2rec``."""

import os
from pathlib import Path

from kfp_image_tuning.core.errors import DatasetError
from kfp_image_tuning.dataset.recordio import ImageRecord, RecordReader
from kfp_image_tuning.preparation.sources.image_reference import ImageReference, ScratchImages
from kfp_image_tuning.preparation.sources.list_files import label_numbers
from kfp_image_tuning.preparation.sources.reading import Findings
from kfp_image_tuning.preparation.sources.split_words import split_named_in


def read_records(path: Path, name: str, scratch: ScratchImages, findings: Findings) -> list[ImageReference]:
    """Copy the images of a record file into the scratch file.

    Args:
        path: The record file.
        name: Its name in the source, which may name a split (``val.rec``).
        scratch: Takes the images.
        findings: Gets what named the split.

    Returns:
        The images; their labels are class numbers.

    Raises:
        DatasetError: If the file is damaged, or its labels are no classes.
    """
    split = split_named_in(name)
    if split:
        findings.name_split(split, name)
    references = []
    with RecordReader(path) as records:
        for number, payload in enumerate(records):
            place = f"{name}#{number:08d}"
            record = ImageRecord.unpack(payload)
            references.append(scratch.append(record.image, place, label_numbers(record.labels, place), split))
    if not references:
        raise DatasetError(f"{os.fspath(path)}: holds no records; write it again")
    return references
