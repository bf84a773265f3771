"""Images that a list file names, packed into a record file as they are, as ``im2rec --pass-through`` does."""

from collections.abc import Iterator
from pathlib import Path

from kfp_image_tuning.core.errors import DatasetError, HyperparameterError
from kfp_image_tuning.dataset.image_codec import read_image_header
from kfp_image_tuning.dataset.recordio import ImageRecord, ListEntry, RecordWriter, read_list
from kfp_image_tuning.search.hyperparameters import Hyperparameters

PROBLEMS_SHOWN = 20


def check_resize(hyperparameters: Hyperparameters) -> None:
    """Images have any size, so that the algorithm requires ``resize`` for them.

    Raises:
        HyperparameterError: If it is missing.
    """
    if hyperparameters.resize is None:
        side = max(hyperparameters.image_shape[1:])
        raise HyperparameterError(
            f"resize: is required for images with a list file; set the shortest side in pixels, such as {side * 8 // 7}"
        )


def pack_images(list_path: Path, folder: Path, record_path: Path) -> None:
    """Write a record file of the images in a list.

    Args:
        list_path: ``.lst``: number, label (or one for each class) and path of each image, separated by tabs.
        folder: What the paths are relative to.
        record_path: Gets the records, numbered and in the order of the list.

    Raises:
        DatasetError: If the list or images cannot be read; names the images.
    """
    entries = read_list(list_path)
    if not entries:
        raise DatasetError(f"{list_path}: names no images; each line is index<tab>label<tab>path")
    problems: list[str] = []
    with RecordWriter(record_path) as writer:
        for entry, image in _read_images(entries, folder, problems):
            writer.write(ImageRecord(entry.identifier, entry.labels, image).pack(), entry.identifier)
    if problems:
        more = [f"and {len(problems) - PROBLEMS_SHOWN} more"] if len(problems) > PROBLEMS_SHOWN else []
        raise DatasetError(
            *problems[:PROBLEMS_SHOWN], *more, f"correct {list_path}, whose paths are relative to {folder}"
        )


def _read_images(entries: list[ListEntry], folder: Path, problems: list[str]) -> Iterator[tuple[ListEntry, bytes]]:
    for entry in entries:
        path = folder / entry.path
        try:
            image = path.read_bytes()
            read_image_header(image)
        except OSError as error:
            problems.append(f"{path}: cannot be read ({error.strerror})")
        except DatasetError as error:
            problems.append(f"{path}: {error}")
        else:
            yield entry, image
