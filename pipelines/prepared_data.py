"""A prepared data set that a user names: a folder here, or one in an object store."""

from pathlib import Path

from kfp_image_tuning.components.data_preparation.prepared_source import find_prepared
from kfp_image_tuning.dataset.document import DOCUMENT_NAME, Dataset
from kfp_image_tuning.tuning.errors import DatasetError


def describe_dataset(data: str) -> Dataset:
    """The description of a data set; the images themselves are not read.

    Args:
        data: Its folder, that of a run which holds it, or its address.

    Raises:
        DatasetError: If there is none.
        DocumentError: If it is damaged or of an unknown version.
    """
    beside = Path(data) / "dataset"
    if not (Path(data) / DOCUMENT_NAME).is_file() and beside.is_dir():
        return Dataset.load(beside)
    dataset = find_prepared(data)
    if dataset is None:
        raise DatasetError(
            f"{data}: holds no {DOCUMENT_NAME}, and a plan needs prepared images; run kfp-image-tuning prepare --data "
            f"{data} --output DATASET, then plan with --data DATASET"
        )
    return dataset
