"""MXNet's readers on the files that we write. (The other direction: tests/dataset/test_mxnet_vectors.py.)"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from kfp_image_tuning.dataset.recordio import ImageRecord, ListEntry, RecordReader, RecordWriter, read_index, write_list

MARK = b"\x0a\x23\xd7\xce"


def encoded(pixels: NDArray[np.uint8]) -> bytes:
    content: bytes = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1].tobytes()
    return content


@pytest.mark.parametrize("labels", [(2.0,), (0.0, 1.0, 1.0, 0.25)], ids=["one label", "several labels"])
def test_mxnet_reads_our_records_in_order_and_by_index(
    mxnet: Callable[..., Any], tmp_path: Path, labels: tuple[float, ...]
) -> None:
    payloads = [b"", b"a", b"abcd" * 100, MARK, MARK * 5, b"abc" + MARK, b"abcd" + MARK + b"ab", MARK + b"\0" * 7]
    records = [ImageRecord(7 * number, labels, payload) for number, payload in enumerate(payloads)]
    with RecordWriter(tmp_path / "ours.rec", tmp_path / "ours.idx") as writer:
        for key, record in enumerate(records):
            writer.write(record.pack(), key)
    answer = mxnet("read_records", tmp_path, name="ours")
    expected = [
        {"identifier": record.identifier, "labels": list(labels), "image": record.image.hex()} for record in records
    ]
    assert answer["in_order"] == expected
    assert answer["by_key"] == {str(key): record for key, record in enumerate(expected)}


@pytest.mark.parametrize("count", [1, 3])
def test_mxnets_training_reader_sees_our_images_and_labels(
    mxnet: Callable[..., Any], tmp_path: Path, count: int
) -> None:
    source = np.random.default_rng(count)
    images = source.integers(0, 256, (10, 9, 9, 3), dtype=np.uint8)
    labels = source.integers(0, 2, (10, count)).astype(np.float32)
    with RecordWriter(tmp_path / "ours.rec", tmp_path / "ours.idx") as writer:
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            writer.write(ImageRecord(number, tuple(label.tolist()), encoded(image)).pack(), number)
    mxnet("read_images", tmp_path, name="ours", size=9, labels=count)
    with np.load(tmp_path / "ours.npz") as found:
        np.testing.assert_array_equal(found["images"], images.transpose(0, 3, 1, 2))
        np.testing.assert_array_equal(found["labels"].reshape(10, count), labels)


def test_im2rec_packs_what_our_list_names(mxnet: Callable[..., Any], tmp_path: Path) -> None:
    root = tmp_path / "images"
    entries = [
        ListEntry(0, (0.0, 1.0), "cat/a b.png"),
        ListEntry(1, (1.0, 1.0), "dog/ü.png"),
        ListEntry(5, (1.0, 0.0), "dog/2.png"),
    ]
    for entry in entries:
        (root / entry.path).parent.mkdir(parents=True, exist_ok=True)
        (root / entry.path).write_bytes(entry.path.encode())
    write_list(tmp_path / "photos.lst", entries)
    mxnet("pack_list", tmp_path, root=str(root))
    with RecordReader(tmp_path / "photos.rec") as reader:
        records = {
            key: ImageRecord.unpack(reader.read_at(at)) for key, at in read_index(tmp_path / "photos.idx").items()
        }
    assert records == {
        entry.identifier: ImageRecord(entry.identifier, entry.labels, entry.path.encode()) for entry in entries
    }
