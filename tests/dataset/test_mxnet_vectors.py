"""Our RecordIO and list files against those that MXNet 1.9.1 wrote; tests/mxnet/make_vectors.py made them."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from kfp_image_tuning.dataset.recordio import (
    ImageRecord,
    ListEntry,
    RecordReader,
    RecordWriter,
    read_index,
    read_list,
    scan_offsets,
    write_list,
)
from tests.mxnet.drawn_arrays import draw

VECTORS = Path(__file__).parent.parent / "data" / "mxnet"

MARK = b"\x0a\x23\xd7\xce"
PAYLOADS = (MARK * 3 + b"abc", b"ab" + MARK, b"abcd" + MARK, b"", MARK)
LABELS: dict[str, Callable[[int], tuple[float, ...]]] = {
    "single": lambda number: (float(number % 3),),
    "multi": lambda number: (float(number % 2), 1.0, 0.5),
}


def read_records(path: Path) -> list[ImageRecord]:
    with RecordReader(path) as reader:
        return [ImageRecord.unpack(payload) for payload in reader]


@pytest.mark.parametrize("name", ["single", "multi"])
def test_images_and_labels_that_mxnet_wrote_are_read(name: str) -> None:
    images = read_records(VECTORS / f"{name}.rec")[:6]
    for number, record in enumerate(images):
        assert record.identifier == number * 3
        assert record.labels == LABELS[name](number)
        pixels = cv2.imdecode(np.frombuffer(record.image, np.uint8), cv2.IMREAD_COLOR)
        np.testing.assert_array_equal(pixels, draw(f"{number} images", (5, 7, 3)))


@pytest.mark.parametrize("name", ["single", "multi"])
def test_payloads_that_hold_the_formats_own_mark_are_read(name: str) -> None:
    records = read_records(VECTORS / f"{name}.rec")[6:]
    assert [record.image for record in records] == list(PAYLOADS)
    assert [record.labels for record in records] == [LABELS[name](number) for number in range(6, 11)]


@pytest.mark.parametrize("name", ["single", "multi", "im2rec"])
def test_rewriting_mxnets_records_gives_mxnets_bytes(name: str, tmp_path: Path) -> None:
    with RecordWriter(tmp_path / "again.rec", tmp_path / "again.idx") as writer:
        for key, record in enumerate(read_records(VECTORS / f"{name}.rec")):
            writer.write(record.pack(), key)
    assert (tmp_path / "again.rec").read_bytes() == (VECTORS / f"{name}.rec").read_bytes()
    assert (tmp_path / "again.idx").read_bytes() == (VECTORS / f"{name}.idx").read_bytes()


@pytest.mark.parametrize("name", ["single", "multi", "im2rec"])
def test_records_are_found_without_mxnets_index_where_it_says(name: str) -> None:
    assert scan_offsets(VECTORS / f"{name}.rec") == list(read_index(VECTORS / f"{name}.idx").values())


def test_list_that_im2rec_wrote_is_read_and_written_byte_for_byte(tmp_path: Path) -> None:
    entries = read_list(VECTORS / "im2rec.lst")
    assert entries == [
        ListEntry(0, (0.0,), "cat/a b.png"),
        ListEntry(1, (0.0,), "cat/ü.png"),
        ListEntry(2, (1.0,), "dog/1.png"),
        ListEntry(3, (2.0,), "dog/deep/2.jpg"),
    ]
    write_list(tmp_path / "again.lst", entries)
    assert (tmp_path / "again.lst").read_bytes() == (VECTORS / "im2rec.lst").read_bytes()


def test_records_that_im2rec_wrote_match_its_list() -> None:
    entries = read_list(VECTORS / "im2rec.lst")
    assert read_records(VECTORS / "im2rec.rec") == [
        ImageRecord(entry.identifier, entry.labels, b"image %d" % number) for number, entry in enumerate(entries)
    ]
