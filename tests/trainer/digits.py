"""Real handwritten digits (scikit-learn's, 8x8 pixels) in the forms that the trainer's tests need."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from kfp_image_tuning.dataset.image_codec import encode_image
from kfp_image_tuning.dataset.recordio import ImageRecord, RecordWriter
from kfp_image_tuning.search.hyperparameters import Hyperparameters

CLASSES = tuple("0123456789")


@dataclass(frozen=True)
class Images:
    images: NDArray[np.uint8]
    labels: Any

    def part(self, start: int, stop: int) -> "Images":
        return replace(self, images=self.images[start:stop], labels=self.labels[start:stop])


def digits(scale: int = 1) -> Images:
    """All 1,797 digits, gray, shuffled, each pixel repeated ``scale`` times along both sides."""
    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    images = (found.images[order] * 15).astype(np.uint8).repeat(scale, axis=1).repeat(scale, axis=2)
    return Images(images[..., None], found.target[order].astype(np.int64))


def training_digits(count: int = 320) -> Images:
    return digits().part(0, count)


def validation_digits(count: int = 200) -> Images:
    return digits().part(1400, 1400 + count)


def make_hyperparameters(**changes: Any) -> Hyperparameters:
    values: dict[str, Any] = {
        "num_classes": 10,
        "num_training_samples": 320,
        "num_layers": 20,
        "image_shape": (1, 8, 8),
        "epochs": 2,
        "learning_rate": 0.05,
    }
    return Hyperparameters(**{**values, **changes})


def write_records(path: Path, data: Images) -> Path:
    """A ``.rec`` file of PNG images."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with RecordWriter(path) as writer:
        for number, (image, label) in enumerate(zip(data.images, data.labels, strict=True)):
            record = ImageRecord(number, (float(label),), encode_image(image, "png"))
            writer.write(record.pack(), number)
    return path


def write_images(folder: Path, data: Images) -> Path:
    """Image files of 40x48 and 48x40 pixels, JPEG and PNG, each with a digit in its middle; give their list file."""
    folder.mkdir(parents=True)
    lines = []
    for number, (image, label) in enumerate(zip(data.images, data.labels, strict=True)):
        form: Literal["jpeg", "png"] = "jpeg" if number % 2 else "png"
        border = (4, 8) if number % 3 else (8, 4)
        large = np.pad(image.repeat(4, axis=0).repeat(4, axis=1), [(side, side) for side in border] + [(0, 0)])
        (folder / str(label)).mkdir(exist_ok=True)
        (folder / str(label) / f"{number}.{form}").write_bytes(encode_image(large, form))
        lines.append(f"{number}\t{label}\t{label}/{number}.{form}\n")
    path = folder.with_suffix(".lst")
    path.write_text("".join(lines))
    return path
