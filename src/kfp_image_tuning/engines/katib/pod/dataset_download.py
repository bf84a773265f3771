"""Brings what a trial needs of a prepared data set from an object store into its pod."""

from pathlib import Path, PurePosixPath

from kfp_image_tuning.core.errors import EngineError
from kfp_image_tuning.core.object_store import PATIENT_RETRIES, open_place
from kfp_image_tuning.dataset.document import DOCUMENT_NAME, Dataset

USED_SPLITS = ("train", "validation")
"""No trial ever sees the test images."""


def fetch_dataset(uri: str, folder: Path) -> None:
    """Download the splits that a trial uses.

    Args:
        uri: Where the data set is.
        folder: Where it comes to.

    Raises:
        StoreError: If it cannot be had.
        EngineError: If it names files outside of itself.
        DatasetError: If what is there is no data set.
    """
    store = open_place(uri, retries=PATIENT_RETRIES)
    store.download([DOCUMENT_NAME], folder)
    dataset = Dataset.load(folder)
    shards = [shard for name in USED_SPLITS for shard in dataset.split(name).shards]
    names = [name for shard in shards for name in (shard.record, shard.index)]
    outside = [name for name in names if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts]
    if outside:
        raise EngineError(f"{uri}: {DOCUMENT_NAME} names files outside of the data set: {', '.join(outside)}")
    store.download(names, folder)
