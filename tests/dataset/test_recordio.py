"""RecordIO, index and list files: exact bytes, any payload, and clear words for damaged files."""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kfp_image_tuning.core.errors import DatasetError
from kfp_image_tuning.dataset.recordio import (
    MAGIC,
    ImageRecord,
    ListEntry,
    RecordReader,
    RecordWriter,
    encode_record,
    read_index,
    read_list,
    scan_offsets,
    write_list,
)

MAGIC_BYTES = struct.pack("<I", MAGIC)

# Payloads in which the magic turns up at every alignment, whole, doubled and cut.
payloads = st.lists(
    st.one_of(st.sampled_from([MAGIC_BYTES, MAGIC_BYTES * 2, MAGIC_BYTES[:3], MAGIC_BYTES[1:]]), st.binary(max_size=9)),
    max_size=8,
).map(b"".join)


def write_records(path: Path, payloads: list[bytes]) -> list[int]:
    with RecordWriter(path, path.with_suffix(".idx")) as writer:
        return [writer.write(payload, key) for key, payload in enumerate(payloads)]


def decode_word_by_word(content: bytes) -> list[bytes]:
    """A second reader, straight from the format's definition."""
    words = [content[place : place + 4] for place in range(0, len(content), 4)]
    records: list[bytes] = []
    place = 0
    while place < len(words):
        assert words[place] == MAGIC_BYTES
        (word,) = struct.unpack("<I", words[place + 1])
        length = word & 0x1FFFFFFF
        count = -(-length // 4)
        body = b"".join(words[place + 2 : place + 2 + count])
        assert body[length:] == bytes(-length % 4)
        if word >> 29 in (0, 1):
            records.append(body[:length])
        else:
            records[-1] += MAGIC_BYTES + body[:length]
        place += 2 + count
    return records


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"", "0a23d7ce 00000000"),
        (b"abc", "0a23d7ce 03000000 61626300"),
        (b"abcd", "0a23d7ce 04000000 61626364"),
        # The magic alone: an empty first and an empty last part.
        (MAGIC_BYTES, "0a23d7ce 00000020 0a23d7ce 00000060"),
        # Three in a row: first, two middle ones, last.
        (MAGIC_BYTES * 3, "0a23d7ce 00000020 0a23d7ce 00000040 0a23d7ce 00000040 0a23d7ce 00000060"),
        (b"abcd" + MAGIC_BYTES + b"e", "0a23d7ce 04000020 61626364 0a23d7ce 01000060 65000000"),
        # Not at a multiple of four: no cut.
        (b"a" + MAGIC_BYTES, "0a23d7ce 05000000 610a23d7 ce000000"),
    ],
)
def test_a_record_has_exactly_the_bytes_of_the_format(payload: bytes, expected: str) -> None:
    assert encode_record(payload) == bytes.fromhex(expected)


@settings(deadline=None)
@given(contents=st.lists(payloads, max_size=6))
def test_any_payload_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("records") / "train.rec"
    offsets = write_records(path, contents)
    with RecordReader(path) as reader:
        assert list(reader) == contents
        assert [reader.read_at(offset) for offset in reversed(offsets)] == contents[::-1]
    assert scan_offsets(path) == offsets
    assert read_index(path.with_suffix(".idx")) == dict(enumerate(offsets))
    assert decode_word_by_word(path.read_bytes()) == contents


@settings(deadline=None)
@given(payload=payloads)
def test_the_magic_stands_at_multiples_of_four_only_where_a_part_starts(payload: bytes) -> None:
    encoded = encode_record(payload)
    starts = [place for place in range(0, len(encoded), 4) if encoded[place : place + 4] == MAGIC_BYTES]
    place = 0
    for start in starts:
        assert start == place
        length = struct.unpack_from("<I", encoded, start + 4)[0] & 0x1FFFFFFF
        place = start + 8 + -(-length // 4) * 4
    assert place == len(encoded)


def test_a_file_cut_anywhere_inside_a_record_is_refused_with_place_and_reason(tmp_path: Path) -> None:
    path = tmp_path / "train.rec"
    contents = [b"first", b"abcd" + MAGIC_BYTES + b"ef", MAGIC_BYTES * 2, b"last"]
    offsets = write_records(path, contents)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        if length in offsets:
            with RecordReader(path) as reader:
                assert list(reader) == contents[: offsets.index(length)]
            continue
        for read in (scan_offsets, lambda path: list(RecordReader(path))):
            with pytest.raises(DatasetError) as raised:
                read(path)
            message = str(raised.value)
            assert str(path) in message
            assert "at byte" in message
            assert "write it again" in message


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"PK\x03\x04 an archive", "found 0x04034b50"),
        (MAGIC_BYTES + struct.pack("<I", 2 << 29), "part kind 2 is not allowed first"),
        (MAGIC_BYTES + struct.pack("<I", 5 << 29), "part kind 5 is not allowed first"),
        (MAGIC_BYTES + struct.pack("<I", 1 << 29) + MAGIC_BYTES + struct.pack("<I", 0), "kind 0 is not allowed inside"),
        (MAGIC_BYTES + struct.pack("<I", 100) + b"short", "needs 108 bytes, the file ends after 13"),
    ],
)
def test_a_foreign_file_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "train.rec"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=reason):
        list(RecordReader(path))


@pytest.mark.parametrize("offset", [-8, 4, 1 << 40])
def test_reading_at_a_wrong_offset_is_refused(tmp_path: Path, offset: int) -> None:
    path = tmp_path / "train.rec"
    write_records(path, [b"something long"])
    with RecordReader(path) as reader, pytest.raises(DatasetError, match=f"at byte {offset}"):
        reader.read_at(offset)


def test_a_file_without_records_reads_as_such(tmp_path: Path) -> None:
    path = tmp_path / "train.rec"
    assert write_records(path, []) == []
    assert path.read_bytes() == b""
    assert scan_offsets(path) == []


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for read in (RecordReader, scan_offsets, read_index, read_list):
        with pytest.raises(DatasetError, match=r"nowhere.*No such file"):
            read(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("record", "header"),
    [
        (ImageRecord(7, (3.0,), b"JPEG"), struct.pack("<IfQQ", 0, 3.0, 7, 0)),
        (ImageRecord(2**64 - 1, (1.0, 0.0, 1.0), b""), struct.pack("<IfQQ3f", 3, 0.0, 2**64 - 1, 0, 1, 0, 1)),
    ],
)
def test_an_image_record_has_exactly_the_bytes_of_mxnet(record: ImageRecord, header: bytes) -> None:
    assert record.pack() == header + record.image
    assert ImageRecord.unpack(record.pack()) == record


@settings(deadline=None)
@given(
    identifier=st.integers(0, 2**64 - 1),
    labels=st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=20).map(tuple),
    image=st.binary(max_size=40),
)
def test_any_image_record_comes_back_as_it_was(identifier: int, labels: tuple[float, ...], image: bytes) -> None:
    record = ImageRecord(identifier, labels, image)
    assert ImageRecord.unpack(record.pack()) == record


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"short", "a record of 5 bytes"),
        (struct.pack("<IfQQ", 1000, 0.0, 9, 0), "image record 9: announces 1000 labels but has 24 bytes"),
    ],
)
def test_a_record_of_something_else_is_no_image(payload: bytes, reason: str) -> None:
    with pytest.raises(DatasetError, match=reason):
        ImageRecord.unpack(payload)


def test_an_image_without_label_is_refused() -> None:
    with pytest.raises(DatasetError, match="image 4: has no label"):
        ImageRecord(4, (), b"JPEG").pack()


def test_list_lines_are_those_of_im2rec(tmp_path: Path) -> None:
    path = tmp_path / "train.lst"
    write_list(path, [ListEntry(0, (0.0,), "cat/im0.jpg"), ListEntry(12, (1.0, 0.0), "b c/ü%20.png")])
    assert path.read_bytes() == "0\t0.000000\tcat/im0.jpg\n12\t1.000000\t0.000000\tb c/ü%20.png\n".encode()


@settings(deadline=None)
@given(names=st.lists(st.one_of(st.text(min_size=1), st.text("%2509AD\t\n\r", min_size=1)), max_size=5))
def test_any_file_name_comes_back_from_a_list(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    path = tmp_path_factory.mktemp("lists") / "train.lst"
    entries = [ListEntry(number, (2.0,), name) for number, name in enumerate(names)]
    write_list(path, entries)
    assert read_list(path) == entries


def test_a_name_that_is_no_utf8_comes_back_from_a_list(tmp_path: Path) -> None:
    entry = ListEntry(0, (0.0,), b"caf\xe9.jpg".decode("utf-8", "surrogateescape"))
    write_list(tmp_path / "train.lst", [entry])
    assert b"caf\xe9.jpg" in (tmp_path / "train.lst").read_bytes()
    assert read_list(tmp_path / "train.lst") == [entry]


@pytest.mark.parametrize(
    ("read", "content", "lines"),
    [
        (read_index, b"0\t0\nno number\t4\n3 4\n", ("line 2", "line 3")),
        (read_list, b"0\t1.0\ta.jpg\n1\tb.jpg\nx\t1\tc.jpg\n2\t0\t\n", ("line 2", "line 3", "line 4")),
    ],
)
def test_every_malformed_line_is_named(
    tmp_path: Path, read: Callable[[Path], object], content: bytes, lines: tuple[str, ...]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(DatasetError) as raised:
        read(path)
    assert [problem.split(": ")[1] for problem in raised.value.problems] == list(lines)
