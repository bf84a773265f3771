"""Brings a prepared data set to where trials' pods read it."""

import shutil
from collections.abc import Callable
from pathlib import Path

from kfp_image_tuning.core.durable_file import appearing
from kfp_image_tuning.core.errors import EngineError
from kfp_image_tuning.dataset.document import DOCUMENT_NAME, Dataset
from kfp_image_tuning.engines.katib.pod.dataset_download import USED_SPLITS
from kfp_image_tuning.engines.katib.request.locations import Location, open_from_here
from kfp_image_tuning.engines.katib.request.options import KatibOptions


def bring_dataset(dataset: Dataset, options: KatibOptions, folder: Path | None, show: Callable[[str], None]) -> None:
    """Copy what trials need of a data set, unless it is there; its document comes last and says that it is whole.

    Args:
        dataset: The data set, on this machine.
        options: Where pods see it (``data``), and how that store is reached.
        folder: Where this process sees it, if that is on a volume claim.
        show: Takes one line for the reader.

    Raises:
        EngineError: If it is on a volume that is not seen here.
        StoreError: If the store does not take it.
    """
    uri = options.data
    document = (dataset.directory / DOCUMENT_NAME).read_bytes()
    files = [
        name for split in USED_SPLITS for shard in dataset.split(split).shards for name in (shard.record, shard.index)
    ]
    size = sum((dataset.directory / name).stat().st_size for name in files) / 1e6
    if not Location.parse("data", uri).is_volume:
        store = open_from_here(uri, options)
        if store.read(DOCUMENT_NAME) == document:
            show(f"Data set in {uri}: was there already")
            return
        show(f"Sending the data set to {uri} ({size:.1f} MB)")
        store.upload(dataset.directory, [*files, DOCUMENT_NAME])
        return
    if folder is None:
        raise EngineError(
            f"storage: {uri} is on a volume claim, and this process does not see it; say where it is mounted "
            "(storage_mount), or where the data set is on it already (data)"
        )
    if (folder / DOCUMENT_NAME).is_file() and (folder / DOCUMENT_NAME).read_bytes() == document:
        show(f"Data set in {uri}: was there already")
        return
    show(f"Copying the data set to {uri} ({size:.1f} MB)")
    for name in [*files, DOCUMENT_NAME]:
        with appearing(folder / name) as temporary:
            shutil.copyfile(dataset.directory / name, temporary)
