"""MXNet's file of named arrays (``.params``), read and written without MXNet.

All numbers are little-endian::

    u64 0x112 | u64 0 | u64 count | count arrays | u64 count | count names
    array: u32 0xF993FAC9 | i32 storage (0: dense) | u32 dimensions | i64 each
           | i32 device | i32 device number | i32 type | values
    name:  u64 length | text

Arrays of MXNet before 1.0 have the mark 0xF993FAC8 and no storage field; those saved with NumPy shapes have 0xF993FACA.
"""

import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kfp_image_tuning.core.errors import TrainingError

_LIST_MARK = 0x112
_ARRAY_MARK = 0xF993FAC9
_ARRAY_MARK_WITHOUT_STORAGE = 0xF993FAC8
_ARRAY_MARKS = (_ARRAY_MARK_WITHOUT_STORAGE, _ARRAY_MARK, 0xF993FACA)
_TYPES: dict[int, np.dtype[np.floating[Any]]] = {0: np.dtype("<f4"), 1: np.dtype("<f8"), 2: np.dtype("<f2")}
_CPU = 1
_MAXIMUM_DIMENSIONS = 8


def write_arrays(path: Path, arrays: Mapping[str, NDArray[np.float32]]) -> None:
    """Write named float32 arrays as MXNet's ``nd.save`` does, in the order given.

    Args:
        path: The ``.params`` file; an existing one is replaced.
        arrays: Arrays by name; a model's names start with ``arg:`` (learned) or ``aux:`` (running statistics).
    """
    with path.open("wb") as file:
        file.write(struct.pack("<QQQ", _LIST_MARK, 0, len(arrays)))
        for array in arrays.values():
            dimensions = array.ndim
            file.write(struct.pack(f"<IiI{dimensions}q", _ARRAY_MARK, 0, dimensions, *array.shape))
            file.write(struct.pack("<iii", _CPU, 0, 0))
            file.write(np.ascontiguousarray(array, dtype="<f4").tobytes())
        file.write(struct.pack("<Q", len(arrays)))
        for name in arrays:
            text = name.encode()
            file.write(struct.pack("<Q", len(text)) + text)


def read_arrays(path: Path) -> dict[str, NDArray[np.float32]]:
    """Read named arrays of floating point numbers.

    Returns:
        Arrays by name in the file's order, as float32 (a model trained with ``precision_dtype`` float16 has halves).

    Raises:
        TrainingError: If the file cannot be read, is damaged, or holds something else.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TrainingError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from None
    return _Reader(path, content).read()


class _Reader:
    """Reads front to back and trusts no length that the file states."""

    def __init__(self, path: Path, content: bytes) -> None:
        self._path = path
        self._content = content
        self._offset = 0

    def read(self) -> dict[str, NDArray[np.float32]]:
        mark, _, count = self._take("QQQ")
        if mark != _LIST_MARK:
            raise self._refusal(f"a file of MXNet arrays starts with 0x{_LIST_MARK:x}, found 0x{mark:x}")
        arrays = [self._array() for _ in range(count)]
        (names,) = self._take("Q")
        if names != count:
            raise self._refusal(f"{count} arrays but {names} names; a model's arrays all have a name")
        named = {self._name(): array for array in arrays}
        if len(named) != count:
            raise self._refusal("two arrays have the same name")
        if self._offset != len(self._content):
            raise self._refusal(f"{len(self._content) - self._offset} bytes follow the last name")
        return named

    def _array(self) -> NDArray[np.float32]:
        (mark,) = self._take("I")
        if mark not in _ARRAY_MARKS:
            raise self._refusal(f"an array starts with 0x{_ARRAY_MARK:x}, found 0x{mark:x}")
        if mark != _ARRAY_MARK_WITHOUT_STORAGE and self._take("i") != (0,):
            raise self._refusal("sparse arrays are not for image classifiers")
        (dimensions,) = self._take("I")
        if dimensions > _MAXIMUM_DIMENSIONS:
            raise self._refusal(f"an array of {dimensions} dimensions, at most {_MAXIMUM_DIMENSIONS} are expected")
        shape = self._take(f"{dimensions}q")
        _, _, kind = self._take("iii")
        if kind not in _TYPES or any(size < 0 for size in shape):
            raise self._refusal(f"an array of type {kind} and shape {shape}; floating point numbers are expected")
        values = self._bytes(math.prod(shape) * _TYPES[kind].itemsize)
        return np.frombuffer(values, _TYPES[kind]).reshape(shape).astype(np.float32)

    def _name(self) -> str:
        (length,) = self._take("Q")
        try:
            return self._bytes(length).decode()
        except UnicodeDecodeError:
            raise self._refusal("a name is not UTF-8 text") from None

    def _take(self, form: str) -> tuple[int, ...]:
        return struct.unpack(f"<{form}", self._bytes(struct.calcsize(f"<{form}")))

    def _bytes(self, length: int) -> bytes:
        end = self._offset + length
        if end > len(self._content):
            raise self._refusal(f"{length} bytes are expected, the file ends at {len(self._content)}")
        piece = self._content[self._offset : end]
        self._offset = end
        return piece

    def _refusal(self, reason: str) -> TrainingError:
        return TrainingError(
            f"{self._path}: at byte {self._offset}: {reason}; "
            "the file is incomplete, damaged or no MXNet model: get it again"
        )
