"""What the data preparation component does: read its parameters, prepare, put the data set where KFP collects it."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kfp_image_tuning.dataset.document import Dataset
from kfp_image_tuning.options.declared import ImageOptions
from kfp_image_tuning.preparation.preparation import prepare_dataset
from kfp_image_tuning.preparation.settings import read_image_shape, read_max_invalid_images
from kfp_image_tuning.preparation.sources.reading import Reading

DATASET_FOLDER = "dataset"
"""Where the data set is in the work directory."""

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


def launch(options: ImageOptions, output_directory: str) -> PreparedData:
    """Prepare a data set.

    Args:
        options: What is prepared, and how.
        output_directory: Where KFP collects the data set.

    Raises:
        DatasetError: If no data set can be made of it.
    """
    output = Path(output_directory)
    place = Path(options.work_directory) / DATASET_FOLDER if options.work_directory else output
    dataset = prepare_dataset(options.images, place, **preparation_arguments(options))
    if place != output:
        _link_tree(place, output)
    return PreparedData(len(dataset.classes), dataset.split("train").images, _describe(dataset))


def preparation_arguments(options: ImageOptions) -> dict[str, Any]:
    """What `prepare_dataset` takes, by the options.

    Raises:
        DatasetError: If a text cannot be read.
    """
    validation, test = options.validation_fraction, options.test_fraction
    return {
        "image_shape": read_image_shape(options.image_shape),
        "fractions": (round(1 - validation - test, 9), validation, test),
        "seed": options.seed,
        "shards": options.shards,
        "max_invalid_images": read_max_invalid_images(options.max_invalid_images),
        "encoding": options.encoding,
        "quality": options.quality,
        "training_margin": options.training_margin,
        "reading": Reading.from_options(vars(options)),
    }


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
