"""What one training image costs on its way from a record file into a batch, against the usual ways.

Every way fills batches of uint8 images, cropped at random and mirrored by chance. The store of decoded images is what
trials read from; the other two ways read the record file and decode every image in every epoch of every trial. Ways
take turns, and medians of CPU seconds are compared, so that other work on the machine tells little. Run it with
``python benchmarks/data_loading.py``.
"""

import io
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from kfp_image_tuning.dataset.pixel_store import PixelStore
from kfp_image_tuning.dataset.recordio import ImageRecord, RecordReader, RecordWriter

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.photographs import make_photographs

Pixels = NDArray[np.uint8]

IMAGES, ROUNDS, BATCH = 200, 5, 50
SHORT_SIDE, CROP = 256, 224
BASELINE = "Pillow, decoded every epoch (as ImageFolder)"
DECODING = "simplejpeg and OpenCV, decoded every epoch"
OURS = "this project, store of decoded images"


def with_pillow(path: Path) -> Iterator[Pixels]:
    with RecordReader(path) as reader:
        for payload in reader:
            image = Image.open(io.BytesIO(ImageRecord.unpack(payload).image)).convert("RGB")
            scale = SHORT_SIDE / min(image.size)
            size = (round(image.width * scale), round(image.height * scale))
            yield np.asarray(image if size == image.size else image.resize(size, Image.Resampling.BILINEAR))


def with_simplejpeg(path: Path) -> Iterator[Pixels]:
    with RecordReader(path) as reader:
        for payload in reader:
            image = simplejpeg.decode_jpeg(ImageRecord.unpack(payload).image)
            scale = SHORT_SIDE / min(image.shape[:2])
            size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
            yield image if size == image.shape[1::-1] else cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)


def from_store(store: PixelStore) -> Iterator[Pixels]:
    # In random order, as in training.
    return (store.images[number] for number in np.random.default_rng(0).permutation(len(store)))


def fill_batches(images: Iterator[Pixels]) -> int:
    """Crop and mirror images into batches; returns their number."""
    random = np.random.default_rng(1)
    batch = np.empty((BATCH, CROP, CROP, 3), np.uint8)
    count = 0
    for count, image in enumerate(images, start=1):
        top, left = random.integers(0, image.shape[0] - CROP + 1), random.integers(0, image.shape[1] - CROP + 1)
        crop = image[top : top + CROP, left : left + CROP]
        if random.random() < 0.5:
            cv2.flip(crop, 1, dst=batch[count % BATCH])
        else:
            batch[count % BATCH] = crop
    return count


def measure(path: Path, store: PixelStore) -> dict[str, float]:
    """CPU seconds per image and epoch of each way."""
    ways: dict[str, Callable[[], Iterator[Pixels]]] = {
        BASELINE: lambda: with_pillow(path),
        DECODING: lambda: with_simplejpeg(path),
        OURS: lambda: from_store(store),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            started = time.process_time()
            count = fill_batches(way())
            seconds[name].append((time.process_time() - started) / count)
    return {name: statistics.median(times) for name, times in seconds.items()}


def main() -> None:
    for height, width in ((375, 500), (256, 256)):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "photographs.rec"
            with RecordWriter(path) as writer:
                for number, photograph in enumerate(make_photographs(IMAGES, height, width)):
                    writer.write(ImageRecord(number, (0.0,), photograph).pack(), number)
            started = time.process_time()
            store = PixelStore.open([path], image_shape=(3, CROP, CROP), cache_directory=Path(folder) / "cache")
            building = (time.process_time() - started) / IMAGES
            found = measure(path, store)
        print(f"\n{width}x{height} JPEG, record file to batches of {BATCH} crops of {CROP}x{CROP}, one core:")
        for name, seconds in found.items():
            ratio = found[BASELINE] / seconds
            print(f"  {name:<46} {seconds * 1e6:8.0f} CPU µs per image {1 / seconds:8.0f} images/s {ratio:7.1f}x")
        epochs = building / (found[DECODING] - found[OURS])
        print(
            f"  making the store once costs {building * 1e6:.0f} CPU µs per image: paid back after {epochs:.1f} epochs"
        )


if __name__ == "__main__":
    main()
