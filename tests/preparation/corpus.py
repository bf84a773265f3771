"""Small real images for the tests, and what a data set on disk holds."""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from kfp_image_tuning.dataset.document import Dataset
from kfp_image_tuning.dataset.recordio import ImageRecord, RecordReader

CLASSES = ("cat", "dog", "owl")


def encode(seed: int, height: int = 40, width: int = 48, form: str = "JPEG", **options: object) -> bytes:
    """A picture that is different for every seed."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    file = io.BytesIO()
    coarse.resize((width, height), Image.Resampling.BICUBIC).save(file, form, **options)
    return file.getvalue()


def make_folder(
    root: Path, classes: Sequence[str] = CLASSES, count: int = 10, height: int = 40, width: int = 48
) -> Path:
    """A folder of class folders with JPEGs."""
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for number in range(count):
            (root / name / f"{number:03d}.jpg").write_bytes(encode(1000 * label + number, height, width))
    return root


def snapshot(folder: Path) -> dict[str, str]:
    """Every file of a folder with its checksum."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def records_of(dataset: Dataset, split: str) -> list[ImageRecord]:
    """All records of a split."""
    return [ImageRecord.unpack(payload) for path in dataset.split(split).record_paths for payload in RecordReader(path)]


def silent(_: str) -> None:
    """Progress that nobody reads."""
