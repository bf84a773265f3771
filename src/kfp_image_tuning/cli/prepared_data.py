"""A prepared data set that a user names: a folder here, or one in an object store; or images, prepared for a plan."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kfp_image_tuning.cli.pipeline_options import image_options
from kfp_image_tuning.core.console import say
from kfp_image_tuning.core.errors import DatasetError
from kfp_image_tuning.dataset.document import DOCUMENT_NAME, Dataset
from kfp_image_tuning.preparation.sources.prepared_source import find_prepared


def describe_dataset(data: str) -> Dataset:
    """The description of a data set; the images themselves are not read.

    Args:
        data: Its folder, that of a run which holds it, or its address.

    Raises:
        DatasetError: If there is none.
        DocumentError: If it is damaged or of an unknown version.
    """
    dataset = find_prepared(data if "://" in data else str(_local_folder(data)))
    if dataset is None:
        raise DatasetError(
            f"{data}: holds no {DOCUMENT_NAME}, and a plan needs prepared images; run kfp-image-tuning prepare --data "
            f"{data} --output DATASET, then plan with --data DATASET"
        )
    return dataset


@contextmanager
def prepared_for_plan(data: str, options: Mapping[str, Any]) -> Iterator[str]:
    """The data set that a plan is for: the one that is named, or one made of local images, for as long as it is needed.

    Args:
        data: A prepared data set, or images on this machine.
        options: Those of data preparation, by their names on the command line.

    Raises:
        DatasetError: If no data set can be made of the images.
    """
    if "://" in data or (_local_folder(data) / DOCUMENT_NAME).is_file() or not Path(data).exists():
        yield data
        return
    from kfp_image_tuning.preparation.preparation import prepare_dataset
    from kfp_image_tuning.steps.data_preparation import preparation_arguments

    say(f"{data}: is not a prepared data set; its images are prepared for this plan, and nothing of it is kept")
    with tempfile.TemporaryDirectory(prefix="plan-") as folder:
        prepare_dataset(data, Path(folder) / "dataset", **preparation_arguments(image_options(options)))
        yield str(Path(folder) / "dataset")


def _local_folder(data: str) -> Path:
    """A data set's folder, where that of the run which holds it may be named."""
    directory = Path(data).expanduser()
    inside = directory / "dataset"
    return inside if not (directory / DOCUMENT_NAME).is_file() and (inside / DOCUMENT_NAME).is_file() else directory
