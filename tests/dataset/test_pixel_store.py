"""The store of decoded images: right pixels, built once, whole or not at all."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray
from PIL import Image

from kfp_image_tuning.core.errors import DatasetError
from kfp_image_tuning.dataset import pixel_store_building
from kfp_image_tuning.dataset.image_codec import encode_image, resize_image
from kfp_image_tuning.dataset.pixel_store import PixelStore
from kfp_image_tuning.dataset.recordio import ImageRecord, RecordWriter

PHOTOGRAPH: NDArray[np.uint8] = skimage.data.astronaut()

OPEN_STORE = """
import sys
from kfp_image_tuning.dataset.pixel_store import PixelStore
store = PixelStore.open(sys.argv[2:], image_shape=(3, 64, 64), cache_directory=sys.argv[1], stored_size=(64, 64))
print(store.directory.name, len(store), int(store.images.sum()))
"""


def cut(number: int, height: int, width: int) -> NDArray[np.uint8]:
    """A different piece of the photograph for each number."""
    top, left = number * 7 % (512 - height), number * 13 % (512 - width)
    return np.ascontiguousarray(PHOTOGRAPH[top : top + height, left : left + width])


def write_records(path: Path, sizes: list[tuple[int, int]], first: int = 0) -> Path:
    with RecordWriter(path) as writer:
        for number, size in enumerate(sizes, start=first):
            record = ImageRecord(number, (float(number % 3),), encode_image(cut(number, *size), "png"))
            writer.write(record.pack(), number)
    return path


def write_large_records(path: Path) -> Path:
    """Few but heavy images, so that several workers are busy for a while."""
    noise = np.random.default_rng(0).integers(0, 256, (900, 900, 3), np.uint8)
    with RecordWriter(path) as writer:
        image = encode_image(noise, "png")
        for number in range(40):
            writer.write(ImageRecord(number, (0.0,), image).pack(), number)
    return path


def open_in_process(cache: Path, *paths: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", OPEN_STORE, str(cache), *map(str, paths)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def stores(cache: Path) -> list[str]:
    """What is in a cache directory besides locks and remembered checksums."""
    return [name for name in os.listdir(cache) if not name.endswith(".lock") and not name.startswith("checksum-")]


def wait_for(found: object, seconds: float = 60) -> None:
    assert callable(found)
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.01)


def test_images_labels_and_identifiers_of_all_shards_come_in_order(tmp_path: Path) -> None:
    first = write_records(tmp_path / "a.rec", [(32, 40)] * 7)
    second = write_records(tmp_path / "b.rec", [(32, 40)] * 4, first=7)
    store = PixelStore.open([first, second], image_shape=(3, 28, 28), cache_directory=tmp_path / "cache")
    assert len(store) == 11
    assert store.images.dtype == np.uint8
    assert np.array_equal(store.images, np.stack([cut(number, 32, 40) for number in range(11)]))
    assert store.labels.dtype == np.int64
    assert store.labels.tolist() == [number % 3 for number in range(11)]
    assert store.identifiers.tolist() == list(range(11))
    assert not store.images.flags.writeable


def test_gray_images_have_one_channel(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.rec", [(28, 28)] * 2)
    store = PixelStore.open([path], image_shape=(1, 28, 28), cache_directory=tmp_path / "cache")
    expected = np.asarray(Image.fromarray(cut(1, 28, 28)).convert("L"))
    assert np.array_equal(store.images[1, :, :, 0], expected)


def test_several_labels_become_one_row_of_values(tmp_path: Path) -> None:
    with RecordWriter(tmp_path / "a.rec") as writer:
        for labels in ((1.0, 0.0, 1.0), (0.0, 0.5, 0.0)):
            writer.write(ImageRecord(0, labels, encode_image(cut(0, 28, 28), "png")).pack(), 0)
    store = PixelStore.open([tmp_path / "a.rec"], image_shape=(3, 28, 28), cache_directory=tmp_path / "cache")
    assert store.labels.dtype == np.float32
    assert store.labels.tolist() == [[1, 0, 1], [0, 0.5, 0]]


@pytest.mark.parametrize(
    ("sizes", "stored_size", "expected"),
    [
        pytest.param([(28, 28)] * 2, None, (28, 28), id="same size as the network's"),
        pytest.param([(56, 40)] * 2, None, (56, 40), id="all one larger size"),
        pytest.param([(57, 40)] * 2, None, (32, 32), id="all one much larger size: 8/7"),
        pytest.param([(64, 48), (48, 64)], None, (32, 32), id="different sizes: 8/7"),
        pytest.param([(20, 40)] * 2, None, (32, 32), id="all one too small size: 8/7"),
        pytest.param([(64, 48), (48, 64)], (36, 30), (36, 30), id="different sizes to the size asked for"),
        pytest.param([(64, 48)] * 2, (20, 20), (28, 28), id="never smaller than the network's"),
    ],
)
def test_the_stored_size(
    tmp_path: Path, sizes: list[tuple[int, int]], stored_size: tuple[int, int] | None, expected: tuple[int, int]
) -> None:
    path = write_records(tmp_path / "a.rec", sizes)
    store = PixelStore.open(
        [path], image_shape=(3, 28, 28), cache_directory=tmp_path / "cache", stored_size=stored_size
    )
    assert store.images.shape == (2, *expected, 3)


def test_an_image_of_another_size_covers_the_stored_size_and_is_cut_evenly(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.rec", [(100, 60), (60, 100)])
    store = PixelStore.open([path], image_shape=(3, 28, 28), cache_directory=tmp_path / "cache", stored_size=(30, 30))
    assert np.array_equal(store.images[0], resize_image(cut(0, 100, 60), 50, 30)[10:40])
    assert np.array_equal(store.images[1], resize_image(cut(1, 60, 100), 30, 50)[:, 10:40])


RESIZED: dict[str, tuple[list[tuple[int, int]], tuple[int, int], str]] = {
    "all of one aspect": ([(90, 60), (120, 80)], (60, 40), "whole"),
    "all higher than wide, of different aspects": ([(90, 60), (180, 60)], (60, 40), "cut at top and bottom"),
    "high ones and wide ones": ([(90, 60), (60, 90)], (40, 40), "the middle square"),
    "smaller ones": ([(30, 20), (90, 60)], (60, 40), "enlarged"),
}


@pytest.mark.parametrize("case", RESIZED)
@pytest.mark.parametrize("stored_size", [None, (28, 28)])
def test_resize_brings_every_image_to_its_shortest_side(
    tmp_path: Path, case: str, stored_size: tuple[int, int] | None
) -> None:
    sizes, expected, _ = RESIZED[case]
    store = PixelStore.open(
        [write_records(tmp_path / "a.rec", sizes)],
        image_shape=(3, 28, 28),
        cache_directory=tmp_path / "cache",
        stored_size=stored_size,
        resize=40,
    )
    assert store.images.shape == (2, *expected, 3)
    for number, (height, width) in enumerate(sizes):
        rows, columns = height * 40 // min(height, width), width * 40 // min(height, width)
        top, left = (rows - expected[0]) // 2, (columns - expected[1]) // 2
        whole = resize_image(cut(number, height, width), rows, columns)
        assert np.array_equal(store.images[number], whole[top : top + expected[0], left : left + expected[1]])


def test_a_store_is_made_once_and_found_again_for_copied_data(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.rec", [(28, 28)] * 3)
    shape, cache = (3, 28, 28), tmp_path / "cache"
    directory = PixelStore.open([path], image_shape=shape, cache_directory=cache).directory
    made = (directory / "images.npy").stat().st_ino
    copied = shutil.copy(path, tmp_path / "elsewhere.rec")
    for again in (path, copied):
        store = PixelStore.open([again], image_shape=shape, cache_directory=cache)
        assert store.directory == directory
        assert (store.directory / "images.npy").stat().st_ino == made
    assert len(stores(cache)) == 1


def test_changed_records_get_a_store_of_their_own(tmp_path: Path) -> None:
    shape, cache = (3, 28, 28), tmp_path / "cache"
    path = write_records(tmp_path / "a.rec", [(28, 28)] * 3)
    # Old enough for its checksum to be remembered.
    os.utime(path, (time.time() - 100, time.time() - 100))
    PixelStore.open([path], image_shape=shape, cache_directory=cache)
    write_records(path, [(28, 28)] * 3, first=1)
    store = PixelStore.open([path], image_shape=shape, cache_directory=cache)
    assert store.identifiers.tolist() == [1, 2, 3]
    larger = PixelStore.open([path], image_shape=(3, 32, 32), cache_directory=cache)
    assert larger.images.shape == (3, 37, 37, 3)
    assert len(stores(cache)) == 3


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "identifiers.npy", "store.json"])
@pytest.mark.parametrize("damage", ["cut", "empty", "missing", "other version"])
def test_a_damaged_store_is_made_again(tmp_path: Path, name: str, damage: str) -> None:
    path = write_records(tmp_path / "a.rec", [(28, 28)] * 3)
    before = PixelStore.open([path], image_shape=(3, 28, 28), cache_directory=tmp_path / "cache")
    expected = before.images.copy()
    file = before.directory / name
    content = file.read_bytes()
    file.unlink()
    if damage != "missing":
        file.write_bytes({"cut": content[:-1], "empty": b"", "other version": content.replace(b"1", b"2")}[damage])
    store = PixelStore.open([path], image_shape=(3, 28, 28), cache_directory=tmp_path / "cache")
    assert np.array_equal(store.images, expected)
    assert store.labels.tolist() == [0, 1, 2]
    assert file.read_bytes() == content


def test_every_record_that_cannot_be_used_is_named_and_no_store_is_left(tmp_path: Path) -> None:
    image = encode_image(cut(0, 28, 28), "png")
    records = [
        ImageRecord(0, (0.0,), image),
        ImageRecord(1, (0.0,), image[:-40]),
        ImageRecord(2, (0.5,), image),
        ImageRecord(3, (1.0, 0.0), image),
        ImageRecord(4, (-1.0,), image),
        ImageRecord(5, (0.0,), b""),
    ]
    path = tmp_path / "a.rec"
    with RecordWriter(path) as writer:
        offsets = [writer.write(record.pack(), record.identifier) for record in records]
    with pytest.raises(DatasetError) as raised:
        PixelStore.open([path], image_shape=(3, 28, 28), cache_directory=tmp_path / "cache")
    reasons = ["damaged or cut off", "label (0.5,)", "label (1.0, 0.0)", "label (-1.0,)", "is empty"]
    assert len(raised.value.problems) == len(reasons)
    for number, (problem, reason) in enumerate(zip(raised.value.problems, reasons, strict=True), start=1):
        assert f"{path}: record at byte {offsets[number]} (image {number}): " in problem
        assert reason in problem
    assert stores(tmp_path / "cache") == []


def test_records_of_something_else_are_refused_with_their_place(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    with RecordWriter(path) as writer:
        writer.write(b"no image", 0)
    with pytest.raises(DatasetError, match=r"a\.rec: record at byte 0: a record of 8 bytes is not an image record"):
        PixelStore.open([path], image_shape=(3, 28, 28), cache_directory=tmp_path / "cache")


def test_no_images_is_an_error(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.rec", [])
    for paths in ([path], []):
        with pytest.raises(DatasetError, match="hold no images"):
            PixelStore.open(paths, image_shape=(3, 28, 28), cache_directory=tmp_path / "cache")


def test_wrong_arguments_and_places_are_refused(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.rec", [(28, 28)])
    with pytest.raises(DatasetError, match="4 channels"):
        PixelStore.open([path], image_shape=(4, 28, 28), cache_directory=tmp_path / "cache")
    with pytest.raises(DatasetError, match=r"nowhere\.rec: cannot be read"):
        PixelStore.open([tmp_path / "nowhere.rec"], image_shape=(3, 28, 28), cache_directory=tmp_path / "cache")
    with pytest.raises(DatasetError, match=r"a\.rec.*give a cache directory that is writable"):
        PixelStore.open([path], image_shape=(3, 28, 28), cache_directory=path)


def test_workers_give_the_same_store_as_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_records(tmp_path / "a.rec", [(40, 40)] * 30)
    alone = PixelStore.open([path], image_shape=(3, 28, 28), cache_directory=tmp_path / "alone")
    monkeypatch.setattr(pixel_store_building, "BYTES_WORTH_A_WORKER", 1)
    monkeypatch.setattr(pixel_store_building, "available_cores", lambda: 3)
    shared = PixelStore.open([path], image_shape=(3, 28, 28), cache_directory=tmp_path / "shared")
    for name in ("images.npy", "labels.npy", "identifiers.npy"):
        assert (alone.directory / name).read_bytes() == (shared.directory / name).read_bytes()
    assert sorted(os.listdir(shared.directory)) == ["identifiers.npy", "images.npy", "labels.npy", "store.json"]


def test_progress_is_reported_only_when_it_takes_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_records(tmp_path / "a.rec", [(28, 28)] * 8)
    reports: list[tuple[int, int]] = []

    def build(cache: str) -> None:
        PixelStore.open(
            [path], image_shape=(3, 28, 28), cache_directory=tmp_path / cache, progress=lambda *it: reports.append(it)
        )

    monkeypatch.setattr(pixel_store_building, "SECONDS_BEFORE_PROGRESS", 600.0)
    build("quick")
    assert reports == []
    monkeypatch.setattr(pixel_store_building, "SECONDS_BEFORE_PROGRESS", 0.0)
    build("slow")
    assert reports
    assert all(0 < done <= total == 8 for done, total in reports)


def test_a_killed_build_is_never_taken_for_a_whole_one(tmp_path: Path) -> None:
    path = write_large_records(tmp_path / "a.rec")
    cache = tmp_path / "cache"
    process = open_in_process(cache, path)
    wait_for(lambda: list(cache.glob(".building-*/images.npy")))
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert all(name.startswith(".building-") for name in stores(cache))
    store = PixelStore.open([path], image_shape=(3, 64, 64), cache_directory=cache, stored_size=(64, 64))
    assert len(store) == 40
    assert (store.images == store.images[:1]).all()
    assert store.images.std() > 1
    assert stores(cache) == [store.directory.name]


def test_processes_that_open_at_once_share_one_store(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.rec", [(200, 200)] * 40)
    cache = tmp_path / "cache"
    processes = [open_in_process(cache, path) for _ in range(3)]
    outcomes = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outcomes
    assert len({printed for printed, _ in outcomes}) == 1
    assert len(stores(cache)) == 1


def test_a_disk_without_room_is_found_out_at_once(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.rec", [(64, 64)] * 30)
    program = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))" + OPEN_STORE
    command = [sys.executable, "-c", program, str(tmp_path / "cache"), str(path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "DatasetError" in ended.stderr
    assert "has room" in ended.stderr
    assert stores(tmp_path / "cache") == []


def test_a_worker_that_dies_fails_the_build_with_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_records(tmp_path / "a.rec", [(28, 28)] * 8)
    monkeypatch.setattr(pixel_store_building, "BYTES_WORTH_A_WORKER", 1)
    monkeypatch.setattr(pixel_store_building, "available_cores", lambda: 2)
    # An interpreter that is killed as soon as it starts, as by the kernel when memory ends.
    killed = tmp_path / "python"
    killed.write_text("#!/bin/sh\nkill -9 $$\n")
    killed.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(killed))
    with pytest.raises(DatasetError, match=r"ended with status -9; is there enough memory\?"):
        PixelStore.open([path], image_shape=(3, 28, 28), cache_directory=tmp_path / "cache")
    assert stores(tmp_path / "cache") == []


def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    program = OPEN_STORE.replace(
        "print(", "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) #"
    )
    peaks = []
    for count in (200, 3000):
        image = encode_image(cut(0, 64, 64), "jpeg")
        path = tmp_path / f"{count}.rec"
        with RecordWriter(path) as writer:
            for number in range(count):
                writer.write(ImageRecord(number, (0.0,), image).pack(), number)
        command = [sys.executable, "-c", program, str(tmp_path / "cache"), str(path)]
        peaks.append(int(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    # 3,000 images are 37 MB of pixels; the chunk that is being decoded may take its 8 MB.
    assert peaks[1] - peaks[0] < 16_000
