"""Images without labels, such as those that a model is asked about: files, folders, addresses, standard input."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kfp_image_tuning.core.errors import ParameterError
from kfp_image_tuning.core.object_store import is_remote
from kfp_image_tuning.core.remote_source import RemoteSource
from kfp_image_tuning.preparation.sources.folders import walk_files
from kfp_image_tuning.preparation.sources.image_reference import (
    MAXIMUM_IMAGE_BYTES,
    ImageReference,
    UnreadableImageError,
    is_image_name,
)
from kfp_image_tuning.preparation.sources.reading import Findings

STANDARD_INPUT = "-"


@dataclass(frozen=True, slots=True)
class UnlabelledImage:
    """An image to classify.

    Attributes:
        name: As the user would call it: a path, an address, or ``-``.
        path: Where its bytes are; empty for standard input.
    """

    name: str
    path: str = ""

    def read(self) -> bytes:
        """The encoded image.

        Raises:
            UnreadableImageError: If there is nothing to read.
        """
        if self.path:
            return ImageReference(self.name, (), self.path).read()
        data = sys.stdin.buffer.read(MAXIMUM_IMAGE_BYTES + 1)
        if not data:
            raise UnreadableImageError("is empty; nothing came in on standard input")
        if len(data) > MAXIMUM_IMAGE_BYTES:
            raise UnreadableImageError(f"has more than {MAXIMUM_IMAGE_BYTES:,} bytes")
        return data


def find_images(places: Sequence[str], downloads: Path) -> list[UnlabelledImage]:
    """The images at some places, in the order of the places and by name within each.

    Args:
        places: Image files, folders (searched to the bottom), addresses of either (``https://`` of a file only), or
            ``-`` for one image on standard input.
        downloads: Folder for what is fetched.

    Raises:
        ParameterError: With every place where there is nothing.
        DatasetError: If a store does not deliver.
        StoreError: If a store cannot be reached.
    """
    problems = []
    if places.count(STANDARD_INPUT) > 1:
        problems.append(f"{STANDARD_INPUT}: is given more than once; standard input holds one image")
    for place in places:
        if place != STANDARD_INPUT and not is_remote(place) and not Path(place).exists():
            problems.append(f"{place}: is not there; give an image, a folder of images, or an address")
        elif Path(place).is_dir() and not is_remote(place) and not any(_in_folder(Path(place))):
            problems.append(
                f"{place}: holds no images (JPEG, PNG, WebP, BMP, TIFF or GIF, known by their names' ending)"
            )
    if problems:
        raise ParameterError.from_problems(problems)
    return [image for number, place in enumerate(places) for image in _images_at(place, downloads / str(number))]


def _images_at(place: str, downloads: Path) -> Iterator[UnlabelledImage]:
    if place == STANDARD_INPUT:
        yield UnlabelledImage(STANDARD_INPUT)
    elif is_remote(place):
        yield from _remote(RemoteSource(place), downloads)
    elif Path(place).is_dir():
        yield from _in_folder(Path(place))
    else:
        yield UnlabelledImage(place, place)


def _in_folder(folder: Path) -> Iterator[UnlabelledImage]:
    findings = Findings()
    for _, path in walk_files(folder, findings):
        if is_image_name(path):
            yield UnlabelledImage(path, path)
    for item in (*findings.skipped, *findings.notes):
        yield UnlabelledImage(str(folder / item.image), str(folder / item.image))


def _remote(source: RemoteSource, downloads: Path) -> Iterator[UnlabelledImage]:
    alone = is_image_name(source.key) or not source.can_list
    objects = [source.look_up()] if alone else [item for item in source.list() if is_image_name(item.key)]
    if not objects:
        raise ParameterError(f"{source.uri}: holds no images (JPEG, PNG, WebP, BMP, TIFF or GIF)")
    files = source.download(objects, downloads, lambda line: print(line, file=sys.stderr))
    for item in objects:
        name = source.uri if alone else f"{source.uri.rstrip('/')}/{item.key.removeprefix(source.key).lstrip('/')}"
        yield UnlabelledImage(name, str(files[item.key]))
