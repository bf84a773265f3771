"""Real handwritten digits as a data set on disk, and a network trained on them."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from kfp_image_tuning.dataset.document import Dataset, ResizePolicy, Shard, Source, Split
from kfp_image_tuning.dataset.image_codec import encode_image
from kfp_image_tuning.dataset.pixel_store import PixelStore
from kfp_image_tuning.dataset.recordio import ImageRecord, ListEntry, RecordWriter, write_list
from kfp_image_tuning.search.hyperparameters import Hyperparameters
from kfp_image_tuning.trainer.training import train

CLASSES = tuple(f"digit {number}" for number in range(10))
SHAPE = (1, 8, 8)


def write_digits(
    directory: Path,
    *,
    classes: Sequence[str] = CLASSES,
    counts: tuple[int, int, int] = (600, 150, 300),
    multi_label: bool = False,
    train_shards: int = 1,
    test_shards: int = 2,
    damaged: int = 0,
) -> Dataset:
    """A data set of scikit-learn's digits; with several labels, an image is its digit and ``even`` or not."""
    digits = load_digits()
    pixels = np.minimum(digits.images * 16, 255).astype(np.uint8)[:, :, :, None]
    order = np.random.default_rng(7).permutation(len(pixels))
    names = (*classes, "even") if multi_label else tuple(classes)
    splits, start = {}, 0
    for split, count in zip(("train", "validation", "test"), counts, strict=True):
        chosen = order[start : start + count]
        start += count
        parts = np.array_split(chosen, {"train": train_shards, "test": test_shards}.get(split, 1))
        shards, seen = [], Counter(dict.fromkeys(names, 0))
        for number, part in enumerate(parts):
            stem = f"{split}/{split}-{number:05}"
            (directory / split).mkdir(parents=True, exist_ok=True)
            entries: list[ListEntry] = []
            with RecordWriter(directory / f"{stem}.rec", directory / f"{stem}.idx") as writer:
                for position in part.tolist():
                    label = int(digits.target[position])
                    holds = [name == classes[label] or (name == "even" and label % 2 == 0) for name in names]
                    labels = tuple(map(float, holds)) if multi_label else (float(label),)
                    seen.update(name for name, held in zip(names, holds, strict=True) if held)
                    encoded = encode_image(pixels[position], "png")
                    broken = split == "test" and number == 0 and len(entries) < damaged
                    writer.write(ImageRecord(position, labels, b"no image" if broken else encoded).pack(), position)
                    entries.append(ListEntry(position, labels, f"{classes[label]}/{position}.png"))
            write_list(directory / f"{stem}.lst", entries)
            content = (directory / f"{stem}.rec").read_bytes()
            checksum = hashlib.sha256(content).hexdigest()
            shards.append(Shard(f"{stem}.rec", f"{stem}.idx", f"{stem}.lst", len(part), len(content), checksum))
        splits[split] = Split(split, count, dict(seen), SHAPE[1:], tuple(shards))
    return Dataset(
        classes=names,
        multi_label=multi_label,
        image_shape=SHAPE,
        splits=splits,
        resize=ResizePolicy("none", 1.0, "png", None),
        seed=7,
        fractions=None,
        source=Source("sklearn:digits", "folder", "sha256:0"),
    ).save(directory)


def train_on(dataset: Dataset, directory: Path, *, epochs: int = 2, classes: Sequence[str] | None = None) -> Path:
    """A ResNet-20, trained for a moment."""
    stores = {
        name: PixelStore.open(
            dataset.split(name).record_paths,
            image_shape=dataset.image_shape,
            cache_directory=dataset.directory / "cache",
            stored_size=dataset.split(name).stored_size,
        )
        for name in ("train", "validation")
    }
    hyperparameters = Hyperparameters(
        num_classes=len(dataset.classes),
        num_training_samples=dataset.split("train").images,
        image_shape=dataset.image_shape,
        num_layers=20,
        epochs=epochs,
        learning_rate=0.05,
        mini_batch_size=25,
        multi_label=dataset.multi_label,
    )
    train(
        hyperparameters,
        stores["train"],
        stores["validation"],
        classes=classes or dataset.classes,
        model_directory=directory,
        seed=1,
        log=lambda line: None,
    )
    return directory
