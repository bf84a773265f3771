"""Decodes record files into the arrays of a pixel store, on all cores.

The arrays are laid out in full first, so that a disk without room is found out at once; then each worker process takes
every n-th chunk of images and writes it to its place. As a program (``python -m``) this module is such a worker: it
prints one JSON value a line, the number of images done or a sentence about one that cannot be used.
"""

import json
import math
import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from kfp_image_tuning.core.errors import DatasetError
from kfp_image_tuning.core.processors import available_cores
from kfp_image_tuning.dataset.image_codec import Pixels, decode_image, read_image_header, resize_image
from kfp_image_tuning.dataset.recordio import ImageRecord, RecordReader
from kfp_image_tuning.dataset.stored_size import StoredSize

CHUNK_BYTES = 8 << 20
BYTES_WORTH_A_WORKER = 8 << 20
"""Starting a worker takes as long as decoding about this many bytes of records."""
SECONDS_BEFORE_PROGRESS = 2.0
PROBLEMS_SHOWN = 20

_OFFSETS = "offsets.npy"
_JOB = "job.json"


@dataclass(frozen=True)
class Job:
    """What the workers need to know besides the offsets.

    Attributes:
        record_paths: The record files.
        size: Height, width and channels to store.
        labels: Values per image, 0 for one class number.
        workers: Processes that share the images.
        chunk: Images that a worker decodes between two writes.
    """

    record_paths: tuple[str, ...]
    size: tuple[int, int, int]
    labels: int
    workers: int
    chunk: int

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what the starting process wrote."""
        fields = json.loads((folder / _JOB).read_bytes())
        fields["record_paths"] = tuple(fields["record_paths"])
        fields["size"] = tuple(fields["size"])
        return cls(**fields)


class ArrayFile:
    """An ``.npy`` file that several processes fill, each its own rows.

    Args:
        path: An existing file made by `create`.
    """

    def __init__(self, path: Path) -> None:
        self._start = int(np.load(path, mmap_mode="r", allow_pickle=False).offset)
        self._descriptor = os.open(path, os.O_WRONLY)

    @staticmethod
    def create(path: Path, kind: type[np.generic], shape: tuple[int, ...]) -> None:
        """Lay out an array with all the room that it needs on the disk."""
        header = {"descr": np.dtype(kind).str, "fortran_order": False, "shape": shape}
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            size = file.tell() + math.prod(shape) * np.dtype(kind).itemsize
            file.flush()
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)

    def write(self, row: int, values: NDArray[Any]) -> None:
        """Write rows. Not through a memory map, where a full disk kills the process instead of raising an error."""
        content = memoryview(np.ascontiguousarray(values).data).cast("B")
        offset = self._start + row * (values.nbytes // len(values))
        while content:
            written = os.pwrite(self._descriptor, content, offset)
            content, offset = content[written:], offset + written

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Bring what was written onto the disk."""
        os.fsync(self._descriptor)
        os.close(self._descriptor)


def build_store(
    folder: Path,
    record_paths: list[Path],
    size: StoredSize,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Write ``images.npy``, ``labels.npy`` and ``identifiers.npy`` into a folder.

    Args:
        folder: An existing, empty folder.
        record_paths: The record files, in order.
        size: What decides at which size images are stored.
        progress: Called with the images done and in all.

    Raises:
        DatasetError: With every record that cannot be used.
    """
    places = _find_records(record_paths)
    job = _plan(places, record_paths, size)
    np.save(folder / _OFFSETS, places, allow_pickle=False)
    (folder / _JOB).write_text(json.dumps(asdict(job)))
    count = len(places)
    ArrayFile.create(folder / "images.npy", np.uint8, (count, *job.size))
    ArrayFile.create(
        folder / "labels.npy", np.float32 if job.labels else np.int64, (count, job.labels) if job.labels else (count,)
    )
    ArrayFile.create(folder / "identifiers.npy", np.uint64, (count,))
    messages = build_share(folder, 0) if job.workers == 1 else _run_workers(folder, job.workers)
    _follow(messages, count, progress)
    (folder / _OFFSETS).unlink()
    (folder / _JOB).unlink()


def build_share(folder: Path, share: int) -> Iterator[int | str]:
    """Decode one worker's fraction of the images.

    Yields:
        The number of images of each chunk when it is written, and a sentence for each image that cannot be used.
    """
    job = Job.read(folder)
    places: NDArray[np.int64] = np.load(folder / _OFFSETS, allow_pickle=False)
    images = np.zeros((job.chunk, *job.size), np.uint8)
    labels = np.zeros((job.chunk, job.labels), np.float32) if job.labels else np.zeros(job.chunk, np.int64)
    identifiers = np.zeros(job.chunk, np.uint64)
    arrays: dict[str, NDArray[Any]] = {"images": images, "labels": labels, "identifiers": identifiers}
    with ExitStack() as opened:
        readers = [opened.enter_context(RecordReader(path)) for path in job.record_paths]
        files = {name: opened.enter_context(ArrayFile(folder / f"{name}.npy")) for name in arrays}
        for first in range(share * job.chunk, len(places), job.workers * job.chunk):
            chunk = places[first : first + job.chunk].tolist()
            for row, (shard, offset) in enumerate(chunk):
                identifier = None
                try:
                    record = ImageRecord.unpack(readers[shard].read_at(offset))
                    identifiers[row] = identifier = record.identifier
                    labels[row] = _read_label(record, job.labels)
                    images[row] = fit_image(record.image, *job.size)
                except DatasetError as error:
                    yield str(_at(job.record_paths[shard], offset, error, identifier))
            for name, file in files.items():
                file.write(first, arrays[name][: len(chunk)])
            yield len(chunk)


def fit_image(data: bytes, height: int, width: int, channels: int) -> Pixels:
    """Decode an image to exactly this size: as it is, or covering the size with its aspect kept and cut off evenly."""
    header = read_image_header(data)
    scale = max(height / header.height, width / header.width)
    rows = max(height, round(header.height * scale))
    columns = max(width, round(header.width * scale))
    image = resize_image(decode_image(data, channels=channels, minimum_size=(rows, columns)), rows, columns)
    top, left = (rows - height) // 2, (columns - width) // 2
    return image[top : top + height, left : left + width]


def _find_records(record_paths: list[Path]) -> NDArray[np.int64]:
    """Shard number and offset of every record."""
    places: list[NDArray[np.int64]] = []
    for shard, path in enumerate(record_paths):
        with RecordReader(path) as reader:
            offsets = np.fromiter(reader.offsets(), np.int64)
        places.append(np.stack([np.full_like(offsets, shard), offsets], axis=1))
    found = np.concatenate(places) if places else np.empty((0, 2), np.int64)
    if not len(found):
        names = ", ".join(map(str, record_paths)) or "no record files"
        raise DatasetError(f"{names}: hold no images; prepare the data set again with more images for this split")
    return found


def _plan(places: NDArray[np.int64], record_paths: list[Path], stored: StoredSize) -> Job:
    """Settle the stored size, the form of the labels and how the work is shared."""
    with ExitStack() as opened:
        readers = [opened.enter_context(RecordReader(path)) for path in record_paths]
        first = _read_record(readers[places[0, 0]], int(places[0, 1]))
        height, width = stored.choose(_size(_read_record(readers[shard], offset)) for shard, offset in places.tolist())
    size = (height, width, stored.image_shape[0])
    total_bytes = sum(path.stat().st_size for path in record_paths)
    workers = max(1, min(available_cores(), total_bytes // BYTES_WORTH_A_WORKER, len(places)))
    # Several chunks for each worker, so that all end at about the same time.
    chunk = max(1, min(CHUNK_BYTES // math.prod(size), len(places) // (4 * workers)))
    labels = len(first.labels) if len(first.labels) > 1 else 0
    return Job(tuple(map(str, record_paths)), size, labels, workers, chunk)


def _read_record(reader: RecordReader, offset: int) -> ImageRecord:
    payload = reader.read_at(offset)
    try:
        return ImageRecord.unpack(payload)
    except DatasetError as error:
        raise _at(reader.path, offset, error) from None


def _at(path: str | os.PathLike[str], offset: int, error: DatasetError, identifier: int | None = None) -> DatasetError:
    """The same problem with its place, and the number that the list file gives to the image, as far as it is known."""
    image = "" if identifier is None else f" (image {identifier})"
    return DatasetError(f"{path}: record at byte {offset}{image}: {error}")


def _size(record: ImageRecord) -> tuple[int, int] | None:
    """Height and width; None for an image that cannot be read, which is reported when it is decoded."""
    try:
        header = read_image_header(record.image)
    except DatasetError:
        return None
    return header.height, header.width


def _read_label(record: ImageRecord, labels: int) -> tuple[float, ...] | int:
    """The record's label in the form that the first record's has."""
    if labels:
        if len(record.labels) != labels:
            raise DatasetError(f"has {len(record.labels)} labels, the first one {labels}; write the records again")
        return record.labels
    if len(record.labels) != 1 or record.labels[0] < 0 or not float(record.labels[0]).is_integer():
        raise DatasetError(
            f"has the label {record.labels}, which is not a class number from 0; write the records again"
        )
    return int(record.labels[0])


def _run_workers(folder: Path, workers: int) -> Iterator[int | str]:
    """Run the worker processes and pass their messages on."""
    # Our own interpreter and search path: the package may be unpacked anywhere, and the starting program need not be
    # importable, as it must be for multiprocessing.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
    messages: queue.SimpleQueue[int | str | None] = queue.SimpleQueue()
    processes = []
    try:
        for share in range(workers):
            command = [sys.executable, "-m", __name__, str(folder), str(share)]
            # In a group of their own, so that a terminal's interrupt reaches this process alone, which then ends them.
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, process_group=0)
            processes.append(process)
            threading.Thread(target=_listen, args=(process, messages), daemon=True).start()
        running = workers
        while running:
            message = messages.get()
            if message is None:
                running -= 1
            else:
                yield message
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _listen(process: "subprocess.Popen[str]", messages: "queue.SimpleQueue[int | str | None]") -> None:
    """Pass one worker's messages on, and at last how it ended."""
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            messages.put(json.loads(line))
    if status := process.wait():
        messages.put(f"a decoding process ended with status {status}; is there enough memory?")
    messages.put(None)


def _follow(messages: Iterator[int | str], count: int, progress: Callable[[int, int], None] | None) -> None:
    """Report progress until all is done, then raise what went wrong."""
    problems = []
    done = 0
    next_report = time.monotonic() + SECONDS_BEFORE_PROGRESS
    for message in messages:
        if isinstance(message, str):
            problems.append(message)
            continue
        done += message
        if progress is not None and time.monotonic() >= next_report:
            progress(done, count)
            next_report = time.monotonic() + 1.0
    if problems:
        # By place in the file, however the workers took turns.
        problems.sort(
            key=lambda problem: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", problem)]
        )
        more = [f"and {len(problems) - PROBLEMS_SHOWN} more"] if len(problems) > PROBLEMS_SHOWN else []
        raise DatasetError.from_problems(problems[:PROBLEMS_SHOWN] + more)


def main() -> None:
    """Do one worker's share."""
    folder, share = sys.argv[1:]
    try:
        for message in build_share(Path(folder), int(share)):
            print(json.dumps(message), flush=True)
    except (DatasetError, OSError) as error:
        print(json.dumps(str(error)), flush=True)


if __name__ == "__main__":
    main()
