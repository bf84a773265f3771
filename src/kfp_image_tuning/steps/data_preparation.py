"""What the data preparation component does: read its parameters, prepare, put the data set where KFP collects it."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kfp_image_tuning.dataset.document import Dataset
from kfp_image_tuning.preparation.preparation import prepare_dataset
from kfp_image_tuning.preparation.settings import read_image_shape, read_max_invalid_images

DATASET_FOLDER = "dataset"
"""Where the data set lies in the work directory."""

CLASSES_SHOWN = 100
"""Metadata lives in a database that is not made for thousands of class names."""


@dataclass(frozen=True)
class PreparedData:
    """What the component puts out besides the data set itself.

    Attributes:
        num_classes: Number of classes.
        num_training_samples: Number of training images.
        metadata: What the console shows beside the artifact; text and numbers alone, which KFP's backend hands on as
            they are.
    """

    num_classes: int
    num_training_samples: int
    metadata: Mapping[str, str | int]


def launch(
    data: str,
    output_directory: str,
    *,
    image_shape: str,
    validation_fraction: float,
    test_fraction: float,
    shards: int,
    max_invalid_images: str,
    seed: int,
    work_directory: str,
) -> PreparedData:
    """Prepare a data set.

    Args:
        data: Where the images are.
        output_directory: Where KFP collects the data set.
        image_shape: ``auto``, or such as ``3,224,224``.
        validation_fraction: Fraction of validation images.
        test_fraction: Fraction of test images.
        shards: Number of training record files.
        max_invalid_images: As `read_max_invalid_images` takes it.
        seed: Seed of the split.
        work_directory: Folder in which the data set stays; empty: none.

    Raises:
        DatasetError: If no data set can be made of it.
    """
    output = Path(output_directory)
    place = Path(work_directory) / DATASET_FOLDER if work_directory else output
    dataset = prepare_dataset(
        data,
        place,
        image_shape=read_image_shape(image_shape),
        fractions=(round(1 - validation_fraction - test_fraction, 9), validation_fraction, test_fraction),
        seed=seed,
        shards=shards,
        max_invalid_images=read_max_invalid_images(max_invalid_images),
    )
    if place != output:
        _link_tree(place, output)
    return PreparedData(len(dataset.classes), dataset.split("train").images, _describe(dataset))


def _describe(dataset: Dataset) -> dict[str, str | int]:
    shown = ", ".join(dataset.classes[:CLASSES_SHOWN])
    more = len(dataset.classes) - CLASSES_SHOWN
    return {
        "fingerprint": dataset.fingerprint,
        "image_shape": ",".join(map(str, dataset.image_shape)),
        "classes": shown if more <= 0 else f"{shown} and {more} more",
        "num_classes": len(dataset.classes),
        **{f"{name}_images": split.images for name, split in dataset.splits.items()},
        "skipped": len(dataset.skipped),
    }


def _link_tree(source: Path, target: Path) -> None:
    """Make a data set appear a second time, without a second copy on the disk where the file system allows it."""
    shutil.copytree(source, target, copy_function=_link_or_copy, dirs_exist_ok=True)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
