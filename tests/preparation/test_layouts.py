"""Further members of the kinds that the cases stand for: folders, words for splits, names, tables."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kfp_image_tuning.core.errors import DatasetError
from kfp_image_tuning.preparation.preparation import prepare_dataset
from kfp_image_tuning.preparation.sources.reading import Reading
from kfp_image_tuning.preparation.sources.source import LabelledImages
from kfp_image_tuning.preparation.sources.sources import open_source
from kfp_image_tuning.preparation.sources.split_words import split_of, splits_among
from tests.preparation.corpus import encode, silent

Found = dict[str, tuple[str, str | None]]


def read(path: Path, scratch: Path, **asked: Any) -> LabelledImages:
    return open_source(str(path), scratch / "downloads", silent, Reading.from_options(asked)).read(scratch / "images")


def found(images: LabelledImages) -> Found:
    return {reference.name: ("|".join(reference.labels), reference.split) for reference in images.references}


def write(root: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(number))
    return root


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("TRAIN", "train"),
        ("Training set", "train"),
        ("trainset", "train"),
        ("train2017", "train"),
        ("EVAL", "validation"),
        ("val_images", "validation"),
        ("Valid", "validation"),
        ("TestData", "test"),
        ("test1", "test"),
        ("PrivateTest", "test"),
        ("bullet_train", None),
        ("test_tube", None),
        ("training shoes", None),
        ("train_test", None),
        ("contest", None),
        ("valley", None),
    ],
)
def test_words_for_splits(name: str, split: str | None) -> None:
    assert split_of(name) == split


def test_words_that_all_share_say_nothing_and_classes_stay_classes() -> None:
    assert splits_among(["ILSVRC_img_train", "ILSVRC_img_val"]) == {
        "ILSVRC_img_train": "train",
        "ILSVRC_img_val": "validation",
    }
    assert splits_among(["bullet_train", "freight_train", "tram"]) == {}


FOLDERS: dict[str, tuple[list[str], dict[str, Any], Found]] = {
    "upper case": (
        ["TRAIN/cat/1.jpg", "TRAIN/dog/2.jpg", "EVAL/cat/3.jpg"],
        {},
        {
            "TRAIN/cat/1.jpg": ("cat", "train"),
            "TRAIN/dog/2.jpg": ("dog", "train"),
            "EVAL/cat/3.jpg": ("cat", "validation"),
        },
    ),
    "images below each split": (
        ["train/images/cat/1.jpg", "train/images/dog/2.jpg", "val/images/dog/3.jpg"],
        {},
        {
            "train/images/cat/1.jpg": ("cat", "train"),
            "train/images/dog/2.jpg": ("dog", "train"),
            "val/images/dog/3.jpg": ("dog", "validation"),
        },
    ),
    "one class folder in a split is a class": (
        ["train/cat/1.jpg", "train/dog/2.jpg", "val/cat/indoors/3.jpg"],
        {},
        {
            "train/cat/1.jpg": ("cat", "train"),
            "train/dog/2.jpg": ("dog", "train"),
            "val/cat/indoors/3.jpg": ("cat", "validation"),
        },
    ),
    "a class that is called train": (
        ["train/1.jpg", "car/2.jpg", "plane/3.jpg"],
        {},
        {"train/1.jpg": ("train", None), "car/2.jpg": ("car", None), "plane/3.jpg": ("plane", None)},
    ),
    "classes that have the word in their names": (
        ["bullet_train/1.jpg", "freight_train/2.jpg", "test_tube/3.jpg"],
        {},
        {
            "bullet_train/1.jpg": ("bullet_train", None),
            "freight_train/2.jpg": ("freight_train", None),
            "test_tube/3.jpg": ("test_tube", None),
        },
    ),
    "classes that are called like what is left aside elsewhere": (
        ["docs/1.jpg", "samples/2.jpg"],
        {},
        {"docs/1.jpg": ("docs", None), "samples/2.jpg": ("samples", None)},
    ),
    "sessions below the class": (
        ["cat/2019/1.jpg", "cat/2020/2.jpg", "dog/2019/3.jpg", "dog/2020/4.jpg"],
        {},
        {
            "cat/2019/1.jpg": ("cat", None),
            "cat/2020/2.jpg": ("cat", None),
            "dog/2019/3.jpg": ("dog", None),
            "dog/2020/4.jpg": ("dog", None),
        },
    ),
    "folds by option": (
        ["fold1/cat/1.jpg", "fold1/dog/2.jpg", "fold2/cat/3.jpg", "fold3/dog/4.jpg"],
        {"splits": "train=fold1,train=fold2,test=fold3"},
        {
            "fold1/cat/1.jpg": ("cat", "train"),
            "fold1/dog/2.jpg": ("dog", "train"),
            "fold2/cat/3.jpg": ("cat", "train"),
            "fold3/dog/4.jpg": ("dog", "test"),
        },
    ),
    "what only wraps images is no class": (
        ["train/n1/images/1.jpg", "train/n2/images/2.jpg", "val/images/3.jpg", "test/test/4.jpg"],
        {},
        {"train/n1/images/1.jpg": ("n1", "train"), "train/n2/images/2.jpg": ("n2", "train")},
    ),
    "numbers keep their label": (
        ["2/1.jpg", "10/2.jpg", "1/3.jpg"],
        {},
        {"2/1.jpg": ("2", None), "10/2.jpg": ("10", None), "1/3.jpg": ("1", None)},
    ),
}


@pytest.mark.parametrize(("names", "asked", "expected"), FOLDERS.values(), ids=FOLDERS)
def test_folders(tmp_path: Path, names: list[str], asked: dict[str, Any], expected: Found) -> None:
    assert found(read(write(tmp_path / "data", *names), tmp_path, **asked)) == expected


@pytest.mark.parametrize(
    ("names", "texts"),
    [
        (["fold1/cat/1.jpg", "fold2/dog/2.jpg"], ["folds", "--splits 'train=fold1,test=fold2'"]),
        (["train/1.jpg", "test/2.jpg"], ["are splits, but hold no class folders", "--data"]),
        (
            ["train/cat/1.jpg", "train/dog/2.jpg", "test/cat/3.jpg", "extra/cat/4.jpg"],
            ["what is extra?", "--splits 'train=train,test=test'"],
        ),
        (["cat/train/1.jpg", "cat/test/2.jpg", "dog/3.jpg"], ["cat hold splits", "--classes-from top"]),
        (["photos/cat/1.jpg", "photos/dog/2.jpg", "more/3.jpg"], ["--classes-from photos"]),
        (["Cat/1.jpg", "cat/2.jpg", "dog/3.jpg"], ["--merge Cat=cat", "--classes"]),
    ],
)
def test_two_readings_are_asked_about(tmp_path: Path, names: list[str], texts: list[str]) -> None:
    write(tmp_path / "data", *names)
    with pytest.raises(DatasetError) as caught:
        read(tmp_path / "data", tmp_path)
    assert [text for text in texts if text not in str(caught.value)] == []


def test_table_that_contradicts_the_folders_is_asked_about(tmp_path: Path) -> None:
    """As where images are stored in parts, and a table beside them has the labels."""
    write(tmp_path / "data", "part_1/a.jpg", "part_1/b.jpg", "part_2/c.jpg", "part_2/d.jpg")
    table = tmp_path / "data/HAM.csv"
    table.write_text("lesion,image_id,dx\nx,a,nv\nx,b,mel\ny,c,nv\ny,d,mel\n")
    with pytest.raises(DatasetError, match=r"HAM\.csv labels the same images .*--classes-from top"):
        read(tmp_path / "data", tmp_path)
    assert read(tmp_path / "data", tmp_path, classes_from="top").classes == ("part_1", "part_2")
    assert read(table, tmp_path).classes == ("mel", "nv")
    table.write_text("image_id,dx,split\na,one,train\nb,one,train\nc,two,test\nd,two,train\n")
    with pytest.raises(DatasetError, match="names their splits too"):
        read(tmp_path / "data", tmp_path)
    table.write_text("image_id,dx\na,one\nb,one\nc,two\nd,two\n")
    assert read(tmp_path / "data", tmp_path).classes == ("part_1", "part_2")


@pytest.mark.parametrize("by", ["patient", r"(p\d+)_"])
def test_images_of_a_group_stay_in_one_split(tmp_path: Path, by: str) -> None:
    names = [f"{cls}/p{cls}{patient}_{shot}.jpg" for cls in "01" for patient in range(10) for shot in range(5)]
    data = write(tmp_path / "data", *names)
    if by == "patient":
        rows = [f"{name},{name[0]},{name.split('_')[0][2:]}\n" for name in names]
        data = tmp_path / "data" / "labels.csv"
        data.write_text("path,label,patient\n" + "".join(rows))
    lines: list[str] = []
    reading = Reading(group_by=by)
    options: dict[str, Any] = {"image_shape": (3, 16, 16), "workers": 1, "progress": lines.append}
    dataset = prepare_dataset(str(data), tmp_path / "out", reading=reading, **options)
    splits: dict[str, set[str]] = {}
    for name, split in dataset.splits.items():
        listed = (tmp_path / "out" / name / f"{name}.lst").read_text().splitlines()
        for line in listed:
            splits.setdefault(line.split("/")[-1].split("_")[0], set()).add(name)
        assert set(split.images_per_class.values()) <= {5, 35, 40}
    assert len(splits) == 20
    assert all(len(found) == 1 for found in splits.values())
    assert f"20 groups by {by}, each kept in one split" in "\n".join(lines)


@pytest.mark.parametrize(("by", "text"), [("(", "regular expression"), ("patient", "found in no image's name")])
def test_groups_that_are_not_there(tmp_path: Path, by: str, text: str) -> None:
    with pytest.raises(DatasetError, match=text):
        read(write(tmp_path / "data", "a/1.jpg", "b/2.jpg"), tmp_path, group_by=by)


def test_group_that_the_source_splits_is_refused(tmp_path: Path) -> None:
    data = write(tmp_path / "data", "train/a/p1_1.jpg", "train/b/p2_1.jpg", "test/a/p1_2.jpg", "test/b/p3_1.jpg")
    with pytest.raises(DatasetError, match="group 'p1' are in t"):
        prepare_dataset(str(data), tmp_path / "out", reading=Reading(group_by=r"(p\d)_"), workers=1, progress=silent)


def test_data_set_that_was_prepared_beside_the_images_is_none_of_the_source(tmp_path: Path) -> None:
    data = write(tmp_path / "data", *(f"{cls}/{number}.jpg" for cls in ("cat", "dog") for number in range(5)))
    options: dict[str, Any] = {"image_shape": (3, 16, 16), "workers": 1, "progress": silent}
    first = prepare_dataset(str(data), data / "prepared", **options)
    assert prepare_dataset(str(data), tmp_path / "again", **options).fingerprint == first.fingerprint


def test_case_twins_may_be_wanted(tmp_path: Path) -> None:
    write(tmp_path / "data", "Cat/1.jpg", "cat/2.jpg", "dog/3.jpg")
    assert read(tmp_path / "data", tmp_path, classes="Cat,cat,dog").classes == ("Cat", "cat", "dog")
    kept = read(tmp_path / "data", tmp_path, classes="cat,dog", merge="Cat=cat")
    assert found(kept)["Cat/1.jpg"] == ("cat", None)


TABLES: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    "one with sep=": ("t.csv", "sep=;\nimage_id;category\na.jpg;cat\nb.jpg;dog\n", {}, {"a": "cat", "b": "dog"}),
    "tabs in a csv": ("t.csv", "img_path\tclass\na.jpg\tcat\nb.jpg\tdog\n", {}, {"a": "cat", "b": "dog"}),
    "tsv": ("t.tsv", "file\tlabel\na.jpg\tcat\nb.jpg\tdog\n", {}, {"a": "cat", "b": "dog"}),
    "quotes": (
        "t.csv",
        '"file name", "label"\n"a.jpg", "cat, wild"\n"b.jpg", "dog"\n',
        {},
        {"a": "cat, wild", "b": "dog"},
    ),
    "unknown words": ("t.csv", "Bild,Art\na.jpg,cat\nb.jpg,dog\n", {}, {"a": "cat", "b": "dog"}),
    "columns by option": (
        "t.csv",
        "when,who,what,where\n1,cat,a.jpg,TRAIN\n2,dog,b.jpg,TEST\n",
        {"label_column": "who", "split_column": "where"},
        {"a": ("cat", "train"), "b": ("dog", "test")},
    ),
    "number and name": ("t.csv", "path,label,class_name\na.jpg,1,ant\nb.jpg,0,zebra\n", {}, {"a": "ant", "b": "zebra"}),
    "another machine's paths": (
        "t.csv",
        "path,label\nC:\\Users\\me\\set\\a.jpg,cat\nC:\\Users\\me\\set\\b.jpg,dog\n",
        {},
        {"a": "cat", "b": "dog"},
    ),
    "Kaggle's paths": (
        "t.csv",
        "path,label\n/kaggle/input/set/a.jpg,cat\n/kaggle/input/set/b.jpg,dog\n",
        {},
        {"a": "cat", "b": "dog"},
    ),
    "usage": (
        "t.csv",
        "path,label,Usage\na.jpg,cat,Training\nb.jpg,dog,PrivateTest\n",
        {},
        {"a": ("cat", "train"), "b": ("dog", "test")},
    ),
    "is_test": (
        "t.csv",
        "path,label,is_test\na.jpg,cat,0\nb.jpg,dog,1\n",
        {},
        {"a": ("cat", "train"), "b": ("dog", "test")},
    ),
    "CelebA's partition": (
        "t.csv",
        "image_id,label,partition\na.jpg,cat,0\nb.jpg,dog,1\nsub/c.jpg,dog,2\n",
        {},
        {"a": ("cat", "train"), "b": ("dog", "validation"), "sub/c": ("dog", "test")},
    ),
    "a list in a cell": (
        "t.csv",
        "path,labels\na.jpg,\"['cat', 'wild']\"\nb.jpg,\"['dog']\"\n",
        {},
        {"a": "cat|wild", "b": "dog"},
    ),
    "separator by option": (
        "t.csv",
        "path,label\na.jpg,cat+wild\nb.jpg,dog\n",
        {"label_separator": "+"},
        {"a": "cat|wild", "b": "dog"},
    ),
    "one-hot with minus one": ("t.csv", "image_id,Cat,Dog\na.jpg,1,-1\nb.jpg,-1,1\n", {}, {"a": "Cat", "b": "Dog"}),
    "AutoML without splits": ("t.csv", "gs://b/x/a.jpg,cat\ngs://b/x/b.jpg,dog\n", {}, {"a": "cat", "b": "dog"}),
    "AutoML with unassigned": (
        "t.csv",
        "UNASSIGNED,gs://b/a.jpg,cat\nVALIDATION,gs://b/b.jpg,dog\n",
        {},
        {"a": ("cat", None), "b": ("dog", "validation")},
    ),
    "JSON Lines": (
        "t.jsonl",
        '{"file_name": "a.jpg", "label": "cat"}\n\n{"file_name": "b.jpg", "label": ["dog", "wild"], "split": "test"}\n',
        {},
        {"a": ("cat", None), "b": ("dog|wild", "test")},
    ),
    "manifest with several labels": (
        "t.manifest",
        '{"source-ref": "s3://b/a.jpg", "x": [0, 1], "x-metadata": {"class-map": {"0": "zebra", "1": "ant"}}}\n'
        '{"source-ref": "s3://b/b.jpg", "x": [1], "x-metadata": {"class-map": {"1": "ant"}}}\n',
        {},
        {"a": "ant|zebra", "b": "ant"},
    ),
    "upper case in files' names": ("t.csv", "path,label\nA.JPG,cat\nB.JPG,dog\n", {}, {"a": "cat", "b": "dog"}),
    "addresses of files that are here": (
        "t.csv",
        "url,label\nhttps://x.y/z/a.jpg?w=3,cat\nhttps://x.y/z/b.jpg?w=3,dog\n",
        {},
        {"a": "cat", "b": "dog"},
    ),
    "commas in a column of tags": (
        "t.csv",
        'path,tags\na.jpg,"cat, wild"\nb.jpg,wild\n',
        {},
        {"a": "cat|wild", "b": "wild"},
    ),
    "columns of classes by option": (
        "t.csv",
        "image,width,cat,dog\na,300,1,0\nb,300,0,1\n",
        {"label_column": "cat,dog"},
        {"a": "cat", "b": "dog"},
    ),
    "a text file with blanks": ("t.txt", "a.jpg 0\nb.jpg 1\n", {}, {"a": "0", "b": "1"}),
    "a JSON array": (
        "t.jsonl",
        '[{"image": "a.jpg", "label": "cat"},\n {"image": "b.jpg", "label": "dog"}]',
        {},
        {"a": "cat", "b": "dog"},
    ),
    "Vertex AI": (
        "t.jsonl",
        '{"imageGcsUri": "gs://b/a.jpg", "classificationAnnotation": {"displayName": "cat"}, '
        '"dataItemResourceLabels": {"aiplatform.googleapis.com/ml_use": "training"}}\n'
        '{"imageGcsUri": "gs://b/b.jpg", "classificationAnnotations": '
        '[{"displayName": "dog"}, {"displayName": "wild"}]}\n',
        {},
        {"a": ("cat", "train"), "b": "dog|wild"},
    ),
    "extension by option": (
        "t.csv",
        "name,label\na,cat\nb,dog\n",
        {"extension": "jpg", "image_column": "name"},
        {"a": "cat", "b": "dog"},
    ),
}


@pytest.mark.parametrize(("name", "text", "asked", "expected"), TABLES.values(), ids=TABLES)
def test_tables(tmp_path: Path, name: str, text: str, asked: dict[str, Any], expected: dict[str, Any]) -> None:
    write(tmp_path, "a.jpg", "b.jpg", "sub/c.jpg")
    (tmp_path / name).write_text(text, encoding="utf-8")
    rows = {key: value if isinstance(value, tuple) else (value, None) for key, value in expected.items()}
    assert found(read(tmp_path / name, tmp_path, **asked)) == {f"{key}.jpg": value for key, value in rows.items()}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_encodings_of_tables(tmp_path: Path, encoding: str) -> None:
    write(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "t.csv").write_bytes("path,label\na.jpg,Kätzchen\nb.jpg,dog\n".encode(encoding))
    assert read(tmp_path / "t.csv", tmp_path).classes == ("Kätzchen", "dog")


@pytest.mark.parametrize(
    ("text", "asked", "texts"),
    [
        ("path,a,b\na.jpg,x,y\nb.jpg,z,y\n", {}, ["columns path, a, b", "--label-column"]),
        ("path,w,a,b\na.jpg,30,0,1\nb.jpg,30,1,0\n", {}, ["--label-column a,b"]),
        ("path,label\nx.jpg,cat\ny.jpg,dog\n", {}, ["'x.jpg'", "--folder"]),
        ("path,label\na.jpg,cat\n", {"label_column": "kind"}, ["label_column", "'kind'", "path, label"]),
        ("path,label,fold\na.jpg,cat,1\nb.jpg,dog,2\n", {"split_column": "fold"}, ["split '1'"]),
    ],
)
def test_tables_that_do_not_tell(tmp_path: Path, text: str, asked: dict[str, Any], texts: list[str]) -> None:
    write(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DatasetError) as caught:
        read(tmp_path / "t.csv", tmp_path, **asked)
    assert [part for part in texts if part not in str(caught.value)] == []


def test_column_that_may_be_a_split_is_mentioned(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "t.csv").write_text("path,label,fold\na.jpg,cat,1\nb.jpg,dog,2\n")
    images = read(tmp_path / "t.csv", tmp_path)
    assert any("fold (1, 2) is not used" in sentence for sentence in images.findings.decisions)


def test_same_names_in_two_folders(tmp_path: Path) -> None:
    write(tmp_path, "train/a.jpg", "test/a.jpg", "train/b.jpg", "test/b.jpg")
    for name in ("train.csv", "labels.csv"):
        (tmp_path / name).write_text("id,label\na,cat\nb,dog\n")
    assert set(found(read(tmp_path / "train.csv", tmp_path))) == {"train/a.jpg", "train/b.jpg"}
    with pytest.raises(DatasetError, match="--folder"):
        read(tmp_path / "labels.csv", tmp_path)
    chosen = read(tmp_path / "labels.csv", tmp_path, folder="test", extension=".jpg")
    assert set(found(chosen)) == {"test/a.jpg", "test/b.jpg"}


def test_kaggle_folder_is_read_by_the_table_in_it(tmp_path: Path) -> None:
    write(tmp_path / "data", "train/a.jpg", "train/b.jpg", "test/c.jpg")
    (tmp_path / "data/train.csv").write_text("id,label\na,cat\nb,dog\n")
    (tmp_path / "data/sample_submission.csv").write_text("id,label\nc,cat\n")
    images = read(tmp_path / "data", tmp_path)
    assert found(images) == {"train/a.jpg": ("cat", None), "train/b.jpg": ("dog", None)}
    assert [(note.image, note.reason) for note in images.findings.notes] == [("test", "1 images that no table labels")]


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
def test_image_folder_of_hugging_face_with_metadata(tmp_path: Path, name: str) -> None:
    write(tmp_path / "data", "train/a.jpg", "train/b.jpg", "test/a.jpg")
    for split, rows in (("train", [("a.jpg", "cat"), ("b.jpg", "dog")]), ("test", [("a.jpg", "cat")])):
        lines = [f"{file},{label}" for file, label in rows]
        if name.endswith("jsonl"):
            text = "\n".join(json.dumps({"file_name": file, "label": label}) for file, label in rows)
        else:
            text = "\n".join(["file_name,label", *lines])
        (tmp_path / "data" / split / name).write_text(text)
    assert found(read(tmp_path / "data", tmp_path)) == {
        "train/a.jpg": ("cat", "train"),
        "train/b.jpg": ("dog", "train"),
        "test/a.jpg": ("cat", "test"),
    }


def test_metadata_without_labels_leaves_them_to_the_folders(tmp_path: Path) -> None:
    write(tmp_path / "data", "cat/a.jpg", "dog/b.jpg")
    (tmp_path / "data/metadata.csv").write_text("file_name,caption,author\ncat/a.jpg,a cat,me\ndog/b.jpg,a dog,me\n")
    images = read(tmp_path / "data", tmp_path)
    assert images.classes == ("cat", "dog")
    assert any("metadata.csv does not label" in sentence for sentence in images.findings.decisions)


def hugging_face_table(names: list[str], labels: list[int], start: int = 0) -> pa.Table:
    features = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
    rows = [{"bytes": encode(start + number), "path": None} for number in range(len(labels))]
    return pa.table({"image": rows, "label": labels}).replace_schema_metadata({"huggingface": json.dumps(features)})


def test_each_parquet_file_has_its_own_names(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    pq.write_table(hugging_face_table(["cat", "dog"], [0, 1]), tmp_path / "data/train-0.parquet")
    pq.write_table(hugging_face_table(["dog", "cat", "owl"], [0, 1, 2], 2), tmp_path / "data/test-0.parquet")
    assert found(read(tmp_path / "data", tmp_path)) == {
        "train-0.parquet#00000000": ("cat", "train"),
        "train-0.parquet#00000001": ("dog", "train"),
        "test-0.parquet#00000000": ("dog", "test"),
        "test-0.parquet#00000001": ("cat", "test"),
        "test-0.parquet#00000002": ("owl", "test"),
    }


def test_parquet_that_names_files(tmp_path: Path) -> None:
    write(tmp_path, "img/a.jpg", "img/b.jpg")
    columns = {"image_id": ["a", "b"], "breed": ["cat", "dog"], "split": ["train", "test"]}
    pq.write_table(pa.table(columns), tmp_path / "labels.parquet")
    assert found(read(tmp_path / "labels.parquet", tmp_path)) == {
        "img/a.jpg": ("cat", "train"),
        "img/b.jpg": ("dog", "test"),
    }


@pytest.mark.parametrize("form", ["stream", "file"])
def test_arrow_files_of_datasets(tmp_path: Path, form: str) -> None:
    for number, split in enumerate(("train", "test")):
        path = tmp_path / "data" / split / "data-00000-of-00001.arrow"
        path.parent.mkdir(parents=True)
        table = hugging_face_table(["cat", "dog"], [0, 1, 1], 3 * number)
        make = pa.ipc.new_stream if form == "stream" else pa.ipc.new_file
        with make(str(path), table.schema) as writer:
            writer.write_table(table)
        (path.parent / "state.json").write_text("{}")
    images = read(tmp_path / "data", tmp_path)
    assert images.classes == ("cat", "dog")
    assert [reference.split for reference in images.references] == ["test"] * 3 + ["train"] * 3


def test_numbers_that_are_no_classes(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "t.lst").write_text("0\t0\ta.jpg\n1\t1e30\tb.jpg\n")
    with pytest.raises(DatasetError, match="class number of 31 digits"):
        read(tmp_path / "t.lst", tmp_path)
    (tmp_path / "t.csv").write_text(f"path,label\na.jpg,{'9' * 5000}\nb.jpg,{'8' * 5000}\n")
    assert len(read(tmp_path / "t.csv", tmp_path).classes) == 2


def pack(path: Path, members: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def test_archives_of_web_dataset(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "val")):
        members = {}
        for image in range(4):
            members[f"{image:06d}.jpg"] = encode(10 * number + image)
            members[f"{image:06d}.cls"] = b"%d\n" % (image % 2)
        pack(tmp_path / "data" / f"{split}-000000.tar", members)
    images = read(tmp_path / "data", tmp_path, class_names="zebra,ant")
    assert images.classes == ("zebra", "ant")
    assert found(images)["train-000000/000001.jpg"] == ("ant", "train")
    assert found(images)["val-000000/000002.jpg"] == ("zebra", "validation")
    pack(
        tmp_path / "j.tar",
        {"a.jpg": encode(1), "a.json": b'{"label": "cat"}', "b.jpg": encode(2), "b.json": b'{"label": "dog"}'},
    )
    assert found(read(tmp_path / "j.tar", tmp_path)) == {"a.jpg": ("cat", None), "b.jpg": ("dog", None)}


def test_formats_that_are_not_read_are_counted_in_an_archive(tmp_path: Path) -> None:
    pack(tmp_path / "x.tar", {"a/1.jpg": encode(1), "b/2.jpg": encode(2), "b/3.heic": b"x", "__MACOSX/b/4.heic": b"x"})
    images = read(tmp_path / "x.tar", tmp_path)
    assert [(item.image, "HEIC" in item.reason) for item in images.skipped] == [("b/3.heic", True)]


def test_one_archive_for_each_split(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "test")):
        members = {f"{cls}/1.jpg": encode(10 * number + place) for place, cls in enumerate(("cat", "dog"))}
        pack(tmp_path / "data" / f"{split}.tar", members)
    assert found(read(tmp_path / "data", tmp_path)) == {
        f"{split}/{cls}/1.jpg": (cls, split) for split in ("train", "test") for cls in ("cat", "dog")
    }


def test_class_names_by_number_and_order_of_lists(tmp_path: Path) -> None:
    write(tmp_path, "zebra/1.jpg", "ant/2.jpg")
    (tmp_path / "all.lst").write_text("0\t0.000000\tzebra/1.jpg\n1\t1.000000\tant/2.jpg\n")
    assert read(tmp_path / "all.lst", tmp_path).classes == ("zebra", "ant")
    named = read(tmp_path / "all.lst", tmp_path, class_names="stripes,legs")
    assert named.classes == ("stripes", "legs")
    (tmp_path / "t.csv").write_text("path,label\nzebra/1.jpg,0\nant/2.jpg,1\n")
    assert read(tmp_path / "t.csv", tmp_path, class_names="stripes,legs").classes == ("stripes", "legs")
