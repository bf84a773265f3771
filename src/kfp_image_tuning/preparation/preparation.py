"""Labelled images into a data set on disk: found there already, taken over, or made."""

import math
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from kfp_image_tuning.core.console import say
from kfp_image_tuning.core.errors import DatasetError, ImageTuningError
from kfp_image_tuning.core.object_store import is_remote
from kfp_image_tuning.core.processors import available_cores
from kfp_image_tuning.core.volume_claims import is_on_claim, mounted_path
from kfp_image_tuning.core.wording import duration
from kfp_image_tuning.dataset.document import SPLIT_NAMES, Dataset, Source
from kfp_image_tuning.preparation.job import PreparationJob, Say
from kfp_image_tuning.preparation.settings import Settings
from kfp_image_tuning.preparation.sources.prepared_source import find_prepared, take_over
from kfp_image_tuning.preparation.sources.reading import Reading
from kfp_image_tuning.preparation.sources.source import LabelledImages
from kfp_image_tuning.preparation.sources.source import Source as OpenedSource
from kfp_image_tuning.preparation.sources.sources import open_source, remote_identity
from kfp_image_tuning.preparation.storage_form import Encoding
from kfp_image_tuning.preparation.understanding import describe_reading, describe_source
from kfp_image_tuning.preparation.workers import Workers, refuse_in_starting_worker
from kfp_image_tuning.preparation.workspace import Workspace

STAMP_NAME = ".preparation"
IMAGES_WORTH_A_WORKER = 64


def prepare_dataset(
    data: str,
    output_directory: Path,
    *,
    image_shape: tuple[int, int, int] | None = None,
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1),
    seed: int = 0,
    shards: int = 1,
    max_invalid_images: float = 0.01,
    encoding: Encoding = "auto",
    quality: int = 95,
    training_margin: float | None = None,
    reading: Reading | None = None,
    workers: int | None = None,
    progress: Say = say,
) -> Dataset:
    """Turn labelled images into training, validation and test sets in RecordIO.

    A source that is a prepared data set with the wanted image shape is used as it is. A data set that was
    prepared at the output from the same source contents with the same settings is checked and returned as it is.
    Otherwise the new one appears there whole or not at all.

    Args:
        data: A folder of class folders, a zip or tar of one, a table of images, or ``.rec`` files: path, ``s3://``,
            ``gs://``, ``minio://`` or ``https://``, or ``pvc://`` where the claim is mounted.
        output_directory: Where the data set goes: a new or empty folder, or a data set to replace.
        image_shape: Channels, height and width that the network sees; None: the images' own size where all have the
            same and it is at most 64 pixels, else 3,224,224.
        fractions: Fractions of training, validation and test. Splits that the source names are kept.
        seed: Of the random split and the order of training images.
        shards: Number of training record files.
        max_invalid_images: How many images may be unreadable: a count (int) or a fraction (float, rounded up).
        encoding: ``jpeg``, ``png`` or ``auto``: PNG up to 64 pixels.
        quality: JPEG quality.
        training_margin: How much larger than ``image_shape`` training images are stored; None: 1/7 where nine of ten
            images are that large, else 0.
        reading: What is to be said of a source that can be read in several ways.
        workers: Number of processes; None: as many as there are cores and it is worth.
        progress: Takes a line now and then.

    Raises:
        DatasetError: If no data set can be made of it.
        StoreError: If the source is not reached.
    """
    refuse_in_starting_worker()
    settings = Settings(
        image_shape and (image_shape[0], *image_shape[1:]),
        dict(zip(SPLIT_NAMES, fractions, strict=True)),
        seed,
        shards,
        max_invalid_images,
        encoding,
        quality,
        training_margin,
        reading or Reading(),
    )
    settings.check()
    output = Path(output_directory).absolute()
    named, data = data, mounted_path(data)
    _refuse_to_replace_source(data, output)
    started = time.monotonic()
    prepared = find_prepared(data)
    if prepared is not None and settings.image_shape in (None, prepared.image_shape):
        return _take_over(prepared, data, output, progress)
    identity = None
    if is_remote(data) and (output / STAMP_NAME).is_file():
        identity = remote_identity(data)
        if identity and (finished := _find_finished(output, settings.stamp(identity), progress)):
            return finished
    with Workspace(output) as workspace:
        source = open_source(data, workspace.downloads, progress, settings.reading)
        if is_on_claim(named):
            source = replace(source, uri=named)
        if is_remote(data):
            identity = identity or remote_identity(data)
        fingerprint = None
        if (output / STAMP_NAME).is_file():
            fingerprint = source.fingerprint()
            if finished := _find_finished(output, settings.stamp(identity or fingerprint), progress):
                return finished
        images = _read(source, settings, workspace, progress)
        with _workers_for(images, workers) as pool:
            job = PreparationJob(images, settings, workspace, pool, progress)
            understood = tuple(describe_reading(images, settings.fractions))
            dataset = job.run(
                lambda known: Source(source.uri, source.kind, fingerprint or source.fingerprint(known), understood)
            )
        (workspace.data / STAMP_NAME).write_text(settings.stamp(identity or dataset.source.fingerprint) + "\n")
        dataset.save(workspace.data)
        workspace.publish()
    dataset = Dataset.load(output)
    counts = ", ".join(f"{split.images:,} {name}" for name, split in dataset.splits.items())
    progress(f"{output}: {counts} images in {duration(time.monotonic() - started)}")
    return dataset


def explain_source(data: str, settings: Settings, *, workers: int | None = None, progress: Say = say) -> list[str]:
    """Say how labelled images are understood and how they would be stored, without preparing them.

    Args:
        data: As of `prepare_dataset`.
        settings: What would be asked of the preparation.
        workers: Number of processes; None: as many as there are cores and it is worth.
        progress: Takes the lines.

    Returns:
        The same lines.

    Raises:
        DatasetError: If no data set could be made of it, as far as the images' headers tell.
        StoreError: If the source is not reached.
    """
    refuse_in_starting_worker()
    settings.check()
    data = mounted_path(data)
    lines: list[str] = []

    def show(line: str) -> None:
        lines.append(line)
        progress(line)

    if (prepared := find_prepared(data)) is not None and settings.image_shape in (None, prepared.image_shape):
        counts = ", ".join(f"{split.images:,} {name}" for name, split in prepared.splits.items())
        show(f"{data}: is prepared already, {counts} images of {len(prepared.classes)} classes")
        return lines
    with tempfile.TemporaryDirectory(prefix="prepare-") as folder, Workspace(Path(folder) / "dataset") as workspace:
        source = open_source(data, workspace.downloads, progress, settings.reading)
        images = _read(source, settings, workspace, show)
        with _workers_for(images, workers) as pool:
            PreparationJob(images, settings, workspace, pool, show).look()
    return lines


def _read(source: OpenedSource, settings: Settings, workspace: Workspace, progress: Say) -> LabelledImages:
    """Find the images and say what was understood."""
    images = source.read(workspace.scratch / "source.images")
    for line in describe_source(source.uri, source.kind, images, settings.fractions):
        progress(line)
    return images


def _workers_for(images: LabelledImages, workers: int | None) -> Workers:
    worthwhile = math.ceil(len(images.references) / IMAGES_WORTH_A_WORKER)
    return Workers(workers or min(available_cores(), worthwhile))


def _take_over(prepared: Dataset, data: str, output: Path, progress: Say) -> Dataset:
    """Have a data set that is prepared already at the output."""
    stamp = prepared.fingerprint
    if finished := _find_finished(output, stamp, progress):
        return finished
    with Workspace(output) as workspace:
        take_over(prepared, data, workspace, progress)
        (workspace.data / STAMP_NAME).write_text(stamp + "\n")
        workspace.publish()
    return Dataset.load(output)


def _find_finished(output: Path, stamp: str, show: Say) -> Dataset | None:
    """The data set at the output, if it is the one that is wanted, whole and unchanged."""
    try:
        if (output / STAMP_NAME).read_text().strip() != stamp:
            return None
        dataset = Dataset.load(output)
        dataset.verify()
    except OSError:
        return None
    except ImageTuningError as error:
        show(f"{output}: is damaged and is prepared again: {error.problems[0]}")
        return None
    show(f"{output}: is prepared already from the same images with the same settings; its checksums are right")
    return dataset


def _refuse_to_replace_source(data: str, output: Path) -> None:
    if not is_remote(data):
        source = Path(data).expanduser().absolute()
        if output == source or output in source.parents:
            raise DatasetError(f"{output}: the output would replace the source {source}; give another output folder")
