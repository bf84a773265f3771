"""What SageMaker puts into a training's channels, brought into record files.

The forms are those that the built-in algorithm takes (Amazon SageMaker developer guide, "Input/Output Interface for the
Image Classification Algorithm"):

==================== ==================================================================================================
record files         in ``input/data/train``: as they are, one or several; or streamed (Pipe mode)
images               in ``input/data/train``, with the one ``.lst`` file in ``input/data/train_lst``
augmented manifest   streamed: each image as a record, followed by its label as a record
==================== ==================================================================================================

A streamed channel is a named pipe ``input/data/train_0``. The algorithm reads a new one (``train_1``, …) for every
epoch; here the first is read to its end and its images decoded once for all epochs.
"""

import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from kfp_image_tuning.core.errors import DatasetError, TrainingError
from kfp_image_tuning.dataset.recordio import scan_offsets
from kfp_image_tuning.search.hyperparameters import Hyperparameters
from kfp_image_tuning.trainer.augmented_manifest import pack_manifest
from kfp_image_tuning.trainer.image_lists import check_resize, pack_images

CHANNELS = ("train", "validation")
MODEL = "model"
SECONDS_TO_PIPE = 120.0
"""A pipe is usually there when the container starts, but that is not promised."""

Configuration = Mapping[str, Mapping[str, str]]
"""``inputdataconfig.json``: what each channel is."""


def bring_channels(
    data: Path, configuration: Configuration, hyperparameters: Hyperparameters, hosts: int, scratch: Path
) -> None:
    """Make the folders ``train`` and ``validation`` of record files, and ``model`` if there is one.

    Args:
        data: ``/opt/ml/input/data``.
        configuration: What SageMaker says of the channels.
        hyperparameters: The training's.
        hosts: Machines that train together.
        scratch: An empty folder that gets them.

    Raises:
        TrainingError: If a channel is missing or of a form that cannot be trained on.
        DatasetError: If its content cannot be read.
        HyperparameterError: If its content needs a hyperparameter that is not set.
    """
    _check(configuration, hosts)
    try:
        for name in CHANNELS:
            _bring_images(data, name, configuration.get(name, {}), hyperparameters, scratch)
        _bring_model(data, configuration.get(MODEL, {}), scratch)
    except OSError as error:
        raise TrainingError(
            f"{error.filename or data}: {error.strerror}; the channels are brought to {scratch}, which needs room for "
            "all images: give the training a larger volume (VolumeSizeInGB)"
        ) from error


def _check(configuration: Configuration, hosts: int) -> None:
    sharded = [name for name in CHANNELS if configuration.get(name, {}).get("S3DistributionType") == "ShardedByS3Key"]
    if sharded and hosts > 1:
        raise TrainingError(
            f"channels {', '.join(sharded)}: are ShardedByS3Key, but the {hosts} machines share each batch among "
            "them and need all images; set S3DataDistributionType to FullyReplicated"
        )


def _bring_images(
    data: Path, name: str, channel: Mapping[str, str], hyperparameters: Hyperparameters, scratch: Path
) -> None:
    folder = scratch / name
    list_folder = data / f"{name}_lst"
    if _is_streamed(data, name, channel):
        folder.mkdir()
        _bring_stream(data, name, channel, hyperparameters, folder / f"{name}.rec")
    elif any(data.joinpath(name).rglob("*.rec")):
        folder.symlink_to(data / name, target_is_directory=True)
    elif list_folder.is_dir():
        check_resize(hyperparameters)
        folder.mkdir()
        found = sorted(list_folder.rglob("*.lst"))
        if len(found) != 1:
            raise TrainingError(f"{list_folder}: holds {len(found)} .lst files; the channel {name}_lst needs one")
        print(f"Creating record files for {found[0].name}", flush=True)
        pack_images(found[0], data / name, folder / f"{name}.rec")
        print("Done creating record files", flush=True)
    else:
        raise TrainingError(
            f"{data / name}: holds no .rec file; the channel {name} needs RecordIO files as kfp-image-tuning prepare "
            f"writes them, or images and beside it a channel {name}_lst with their .lst file"
        )


def _is_streamed(data: Path, name: str, channel: Mapping[str, str]) -> bool:
    return channel.get("TrainingInputMode") == "Pipe" or (not (data / name).exists() and (data / f"{name}_0").is_fifo())


def _bring_stream(
    data: Path, name: str, channel: Mapping[str, str], hyperparameters: Hyperparameters, record_path: Path
) -> None:
    """Read a channel's pipe to its end."""
    content_type, *parameters = (part.strip() for part in channel.get("ContentType", "").split(";"))
    if channel.get("RecordWrapperType") == "RecordIO":
        streamed = record_path.with_suffix(".stream")
        _drain(data / f"{name}_0", streamed)
        pack_manifest(streamed, record_path, hyperparameters, "label-format=class-id" in parameters, f"channel {name}")
        streamed.unlink()
        return
    if content_type == "application/x-image":
        raise TrainingError(
            f"channel {name}: streams images without their labels; use an augmented manifest with RecordWrapperType "
            f"RecordIO, or the input mode File with a channel {name}_lst"
        )
    _drain(data / f"{name}_0", record_path)
    try:
        scan_offsets(record_path)
    except DatasetError as error:
        raise TrainingError(f"channel {name}: {error}; its S3Uri must name .rec files and nothing else") from None


def _drain(pipe: Path, target: Path) -> None:
    until = time.monotonic() + SECONDS_TO_PIPE
    while not pipe.exists():
        if time.monotonic() > until:
            raise TrainingError(f"{pipe}: is not there; SageMaker makes this pipe in Pipe mode")
        time.sleep(0.1)
    with pipe.open("rb", buffering=0) as source, target.open("wb") as file:
        shutil.copyfileobj(source, file, 1 << 20)


def _bring_model(data: Path, channel: Mapping[str, str], scratch: Path) -> None:
    """The model channel's archive, or its folder where it holds the files themselves."""
    if _is_streamed(data, MODEL, channel):
        _drain(data / f"{MODEL}_0", scratch / f"{MODEL}.tar.gz")
        (scratch / MODEL).symlink_to(scratch / f"{MODEL}.tar.gz")
    elif (data / MODEL).is_dir():
        archives = sorted((data / MODEL).glob("*.tar.gz"))
        (scratch / MODEL).symlink_to(archives[0] if archives else data / MODEL)
