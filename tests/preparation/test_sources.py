import csv
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kfp_image_tuning.core.errors import DatasetError
from kfp_image_tuning.dataset.recordio import ImageRecord, RecordWriter
from kfp_image_tuning.preparation.sources.reading import Reading
from kfp_image_tuning.preparation.sources.source import LabelledImages
from kfp_image_tuning.preparation.sources.sources import open_source
from tests.preparation.corpus import encode, silent


def read(path: Path, scratch: Path, reading: Reading | None = None) -> LabelledImages:
    return open_source(str(path), scratch / "downloads", silent, reading).read(scratch / "images")


def found(images: LabelledImages) -> set[tuple[str, tuple[str, ...], str | None]]:
    return {(reference.name, reference.labels, reference.split) for reference in images.references}


def write(root: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(number))
    return root


LAYOUTS = {
    "class folders": (["cat/1.jpg", "dog/2.PNG"], {("cat/1.jpg", "cat", None), ("dog/2.PNG", "dog", None)}),
    "nested, the first folder is the class": (
        ["cat/in/1.jpg", "cat/2.jpg", "dog/out/far/3.JPeG"],
        {("cat/in/1.jpg", "cat", None), ("cat/2.jpg", "cat", None), ("dog/out/far/3.JPeG", "dog", None)},
    ),
    "wrapped": (
        ["photos/v1/cat/1.jpg", "photos/v1/dog/2.jpg"],
        {("photos/v1/cat/1.jpg", "cat", None), ("photos/v1/dog/2.jpg", "dog", None)},
    ),
    "splits": (
        ["train/cat/1.jpg", "Val/dog/2.jpg", "test/dog/3.jpg"],
        {
            ("train/cat/1.jpg", "cat", "train"),
            ("Val/dog/2.jpg", "dog", "validation"),
            ("test/dog/3.jpg", "dog", "test"),
        },
    ),
    "classes that are named like splits": (
        ["train/1.jpg", "car/2.jpg", "test/3.jpg"],
        {("train/1.jpg", "train", None), ("car/2.jpg", "car", None), ("test/3.jpg", "test", None)},
    ),
    "other and hidden files": (
        ["cat/1.jpg", "dog/2.jpg", "cat/notes.txt", "dog/._2.jpg", "__MACOSX/x/3.jpg", ".git/a/4.jpg"],
        {("cat/1.jpg", "cat", None), ("dog/2.jpg", "dog", None)},
    ),
    "unicode and line ends": (
        ["кот/1 \n2.jpg", "狗/\t%0A.jpg"],
        {("кот/1 \n2.jpg", "кот", None), ("狗/\t%0A.jpg", "狗", None)},
    ),
}


@pytest.mark.parametrize(("names", "expected"), LAYOUTS.values(), ids=LAYOUTS)
def test_folder_layouts(tmp_path: Path, names: list[str], expected: set[tuple[str, str, str | None]]) -> None:
    images = read(write(tmp_path / "data", *names), tmp_path)
    assert found(images) == {(name, (label,), split) for name, label, split in expected}
    assert images.skipped == []


def test_image_outside_of_class_folders_is_left_out(tmp_path: Path) -> None:
    images = read(write(tmp_path / "data", "cover.jpg", "photos/cat/1.jpg", "photos/dog/2.jpg"), tmp_path)
    assert [(item.image, item.reason) for item in images.skipped] == [("cover.jpg", "is in no class folder")]
    assert len(images.references) == 2


def pack_zip(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def pack_tar(mode: str) -> Callable[[Path, dict[str, bytes]], None]:
    def pack(path: Path, members: dict[str, bytes]) -> None:
        with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
            for name, data in members.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))

    return pack


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("photos.zip", pack_zip),
        ("photos.tar", pack_tar("w")),
        ("photos.TAR.GZ", pack_tar("w:gz")),
        ("photos.tgz", pack_tar("w:gz")),
        ("photos.tar.bz2", pack_tar("w:bz2")),
        ("photos.tar.xz", pack_tar("w:xz")),
    ],
)
def test_archives(tmp_path: Path, name: str, pack: Callable[[Path, dict[str, bytes]], None]) -> None:
    members = {f"photos/{kind}/{number}.jpg": encode(number) for kind in ("cat", "dog") for number in range(3)}
    pack(tmp_path / name, {**members, "photos/readme.txt": b"hello", "./photos/owl/x.jpg": encode(9)})
    images = read(tmp_path / name, tmp_path)
    assert images.classes == ("cat", "dog", "owl")
    contents = {reference.name: reference.read() for reference in images.references}
    assert contents == {**members, "photos/owl/x.jpg": encode(9)}


CSVS = {
    "header": ("path,label\na.jpg,cat\nsub/b.jpg,dog\n", {("a.jpg", ("cat",), None), ("sub/b.jpg", ("dog",), None)}),
    "no header": ("a.jpg,cat\nsub/b.jpg,dog\n", {("a.jpg", ("cat",), None), ("sub/b.jpg", ("dog",), None)}),
    "other order, names and a byte order mark": (
        "\ufeffid,Class,Filename,Split\n1,cat,a.jpg,Val\n2,dog,sub/b.jpg,train\n",
        {("a.jpg", ("cat",), "validation"), ("sub/b.jpg", ("dog",), "train")},
    ),
    "several labels": (
        "path,label\na.jpg,cat|indoors\nsub/b.jpg,dog\n",
        {("a.jpg", ("cat", "indoors"), None), ("sub/b.jpg", ("dog",), None)},
    ),
    "the same line twice": (
        "a.jpg,cat\na.jpg,cat\nsub/b.jpg,dog\n",
        {("a.jpg", ("cat",), None), ("sub/b.jpg", ("dog",), None)},
    ),
    "split column partly filled": (
        "a.jpg,cat,test\nsub/b.jpg,dog,\n",
        {("a.jpg", ("cat",), "test"), ("sub/b.jpg", ("dog",), None)},
    ),
}


@pytest.mark.parametrize(("text", "expected"), CSVS.values(), ids=CSVS)
def test_csv(tmp_path: Path, text: str, expected: set[tuple[str, tuple[str, ...], str | None]]) -> None:
    write(tmp_path, "a.jpg", "sub/b.jpg")
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    images = read(tmp_path / "labels.csv", tmp_path)
    assert found(images) == expected
    assert images.references[0].read() == encode(0)


def test_csv_with_odd_names_and_a_missing_image(tmp_path: Path) -> None:
    write(tmp_path, 'a,\n"b".jpg', "c.jpg")
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "label"], ['a,\n"b".jpg', "cat"], ["c.jpg", "dog"], ["c.jpg", ""]])
    images = read(tmp_path / "labels.csv", tmp_path)
    assert {reference.read() for reference in images.references} == {encode(0), encode(1)}
    assert [(item.image, item.reason) for item in images.skipped] == [("c.jpg", "has no label in the table")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.jpg,cat,nonsense\n", "row 1: split 'nonsense' is not one of"),
        ("path,label\nonly-a-path\n", "row 2: 'only-a-path' has no path and label"),
        ("path,label\n", "no row with path and label"),
        ('path,label\n"a.jpg,cat\n', "is not a CSV"),
    ],
)
def test_bad_csv(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(DatasetError, match=message):
        read(tmp_path / "labels.csv", tmp_path)


def test_parquet_of_hugging_face(tmp_path: Path) -> None:
    features = {"info": {"features": {"label": {"names": ["zebra", "ant"], "_type": "ClassLabel"}}}}
    rows = [{"bytes": encode(number), "path": None} for number in range(200)]
    table = pa.table({"image": rows, "label": [number % 2 for number in range(199)] + [-1]})
    table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    for name in ("train-00000-of-00001.parquet", "test-00000-of-00001.parquet"):
        (tmp_path / "data").mkdir(exist_ok=True)
        pq.write_table(table, tmp_path / "data" / name, row_group_size=70)
    images = read(tmp_path / "data", tmp_path)
    assert images.classes == ("ant", "zebra")
    by_name = {reference.name: reference for reference in images.references}
    assert len(by_name) == 398
    last = by_name["test-00000-of-00001.parquet#00000197"]
    assert (last.labels, last.split, last.read()) == (("ant",), "test", encode(197))
    assert [item.reason for item in images.skipped] == ["has no label"] * 2


def test_parquet_with_plain_columns(tmp_path: Path) -> None:
    labels = [["cat", "indoors"], ["dog"], ["cat"]]
    pq.write_table(pa.table({"img": [encode(0), encode(1), None], "labels": labels}), tmp_path / "x.parquet")
    images = read(tmp_path / "x.parquet", tmp_path)
    assert [reference.labels for reference in images.references] == [("cat", "indoors"), ("dog",)]
    assert [item.reason for item in images.skipped] == ["has no image bytes"]


def test_parquet_without_images_names_its_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1], "y": ["a"]}), tmp_path / "x.parquet")
    with pytest.raises(DatasetError, match="has the columns x, y; needed are"):
        read(tmp_path / "x.parquet", tmp_path)


def test_record_files_keep_their_numbers_and_splits(tmp_path: Path) -> None:
    (tmp_path / "rec").mkdir()
    for name, labels in (("caltech_train.rec", (0, 2, 10)), ("caltech_val.rec", (2, 0))):
        with RecordWriter(tmp_path / "rec" / name) as records:
            for key, label in enumerate(labels):
                records.write(ImageRecord(key, (float(label),), encode(label)).pack(), key)
    images = read(tmp_path / "rec", tmp_path)
    assert images.classes == tuple(f"{number:02d}" for number in range(11))
    assert [(r.labels, r.split, r.read() == encode(int(r.labels[0]))) for r in images.references] == [
        (("00",), "train", True),
        (("02",), "train", True),
        (("10",), "train", True),
        (("02",), "validation", True),
        (("00",), "validation", True),
    ]
    named = read(tmp_path / "rec", tmp_path, Reading(class_names=tuple(f"class {number}" for number in range(11))))
    assert {label for reference in named.references for label in reference.labels} == {"class 0", "class 2", "class 10"}
    with pytest.raises(DatasetError, match="class number 10, but only 3 class names"):
        read(tmp_path / "rec", tmp_path, Reading(class_names=("a", "b", "c")))


def test_records_with_several_labels(tmp_path: Path) -> None:
    with RecordWriter(tmp_path / "x.rec") as records:
        for key, labels in enumerate([(1.0, 0.0, 1.0), (0.0, 1.0, 0.0), (0.0, 0.0, 0.0)]):
            records.write(ImageRecord(key, labels, encode(key)).pack(), key)
    images = read(tmp_path / "x.rec", tmp_path)
    assert [reference.labels for reference in images.references] == [("0", "2"), ("1",), ()]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "is not there; give a folder of class folders"),
        (lambda path: path.mkdir(), "holds no images; give a folder"),
        (lambda path: write(path, "cat/1.jpg"), "has 1 class"),
        (lambda path: write(path, "1.jpg", "2.jpg"), "are in no class folders"),
    ],
)
def test_unusable_folders(tmp_path: Path, make: Callable[[Path], object], message: str) -> None:
    make(tmp_path / "data")
    with pytest.raises(DatasetError, match=message):
        read(tmp_path / "data", tmp_path)


def test_unknown_file_and_unknown_class(tmp_path: Path) -> None:
    (tmp_path / "photos.rar").write_bytes(b"x")
    with pytest.raises(DatasetError, match="is not a known source of images by its name"):
        read(tmp_path / "photos.rar", tmp_path)
    write(tmp_path / "data", "cat/1.jpg", "dog/1.jpg")
    with pytest.raises(DatasetError, match="has no class owl"):
        read(tmp_path / "data", tmp_path, Reading(classes=("cat", "owl")))


def test_fingerprint_follows_contents_and_names_only(tmp_path: Path) -> None:
    def fingerprint(name: str) -> str:
        return open_source(str(tmp_path / name), tmp_path, silent).fingerprint()

    write(tmp_path / "a", "cat/1.jpg", "dog/2.jpg")
    write(tmp_path / "b", "cat/1.jpg", "dog/2.jpg")
    write(tmp_path / "c", "dog/1.jpg", "cat/2.jpg")
    write(tmp_path / "d", "cat/1.jpg", "dog/2.jpg")
    (tmp_path / "d/dog/2.jpg").write_bytes(encode(7))
    assert fingerprint("a") == fingerprint("b")
    assert len({fingerprint(name) for name in "acd"}) == 3
