"""``dataset.json``: round trip, refusals in clear words, and the schema that is beside it."""

import copy
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kfp_image_tuning.dataset.document as document_module
from kfp_image_tuning.core.document_schema import find_violations
from kfp_image_tuning.core.errors import DatasetError, DocumentError
from kfp_image_tuning.dataset.document import (
    Dataset,
    Duplicates,
    LabelConflict,
    PreparationSettings,
    ResizePolicy,
    Shard,
    SkippedImage,
    Source,
    Split,
)
from kfp_image_tuning.dataset.recordio import ImageRecord, ListEntry, RecordWriter, write_list

SCHEMA = json.loads(Path(document_module.__file__).with_name("dataset.schema.json").read_bytes())


def write_shard(directory: Path, name: str, images: int) -> Shard:
    record, index, listed = (f"{name}/{name}.{ending}" for ending in ("rec", "idx", "lst"))
    (directory / name).mkdir()
    with RecordWriter(directory / record, directory / index) as writer:
        for number in range(images):
            writer.write(ImageRecord(number, (float(number % 2),), f"{name} {number}".encode()).pack(), number)
    entries = [ListEntry(number, (float(number % 2),), f"{number}.png") for number in range(images)]
    write_list(directory / listed, entries)
    content = (directory / record).read_bytes()
    return Shard(record, index, listed, images, len(content), hashlib.sha256(content).hexdigest())


def make_dataset(directory: Path) -> Dataset:
    counts = {"train": 6, "validation": 2, "test": 2}
    return Dataset(
        classes=("cat", "dög\n"),
        multi_label=False,
        image_shape=(3, 28, 28),
        splits={
            name: Split(
                name,
                images,
                {"cat": images // 2, "dög\n": images // 2},
                (32, 32) if name == "train" else (28, 28),
                (write_shard(directory, name, images),),
            )
            for name, images in counts.items()
        },
        resize=ResizePolicy("area below a half, else linear", 1.143, "jpeg", 95),
        seed=7,
        fractions={"train": 0.6, "validation": 0.2, "test": 0.2},
        source=Source("s3://bucket/photos", "folder", "sha256:" + "0" * 64),
        settings=PreparationSettings(
            max_invalid_images="2.5%", training_margin=0.143, reading={"classes": "dög\n,cat"}
        ),
        skipped=(SkippedImage("cat/broken.jpg", "is damaged or cut off"),),
        duplicates=(Duplicates(("cat/1.png", "cat/copy of 1.png"), "train"),),
        label_conflicts=(LabelConflict(("cat/2.png", "dög/2.png"), (("cat",), ("dög\n",))),),
    ).save(directory)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return make_dataset(tmp_path)


def test_a_saved_data_set_loads_as_it_was(dataset: Dataset, tmp_path: Path) -> None:
    loaded = Dataset.load(tmp_path)
    assert loaded == dataset
    assert loaded.directory == tmp_path
    assert loaded.split("train").record_paths == (tmp_path / "train/train.rec",)
    assert loaded.fingerprint == dataset.fingerprint
    loaded.verify()
    before = (tmp_path / "dataset.json").read_bytes()
    loaded.save(tmp_path)
    assert (tmp_path / "dataset.json").read_bytes() == before


def test_a_data_set_can_be_moved(dataset: Dataset, tmp_path: Path) -> None:
    moved = tmp_path.with_name(tmp_path.name + "-moved")
    tmp_path.rename(moved)
    loaded = Dataset.load(moved)
    loaded.verify()
    assert loaded.fingerprint == dataset.fingerprint
    moved.rename(tmp_path)


def test_the_document_fulfils_its_json_schema(dataset: Dataset, tmp_path: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(json.loads((tmp_path / "dataset.json").read_bytes()), SCHEMA)


def test_nothing_but_the_document_is_left_after_saving(dataset: Dataset, tmp_path: Path) -> None:
    assert sorted(os.listdir(tmp_path)) == ["dataset.json", "test", "train", "validation"]


def test_killed_while_saving_leaves_the_old_document(dataset: Dataset, tmp_path: Path) -> None:
    before = (tmp_path / "dataset.json").read_bytes()
    program = """
import os, signal, sys
from kfp_image_tuning.dataset.document import Dataset
dataset = Dataset.load(sys.argv[1])
os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
dataset.save(sys.argv[1])
"""
    status = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False).returncode
    assert status == -9
    assert (tmp_path / "dataset.json").read_bytes() == before
    assert Dataset.load(tmp_path) == dataset


def test_a_folder_without_document_is_no_data_set(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DatasetError, match=r"holds no dataset\.json.*kfp-image-tuning prepare"):
            Dataset.load(folder)


def test_an_unknown_split_is_refused(dataset: Dataset) -> None:
    with pytest.raises(DatasetError, match="no split 'holdout', only train, validation, test"):
        dataset.split("holdout")


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        (lambda d: d.update(schema_version=2), ["schema_version 2 is unknown, this program reads 1"]),
        (lambda d: d.update(schema_version=True), ["schema_version must be 1, got True"]),
        (lambda d: d.pop("schema_version"), ["schema_version is missing"]),
        (lambda d: d.pop("classes"), ["classes is missing"]),
        (lambda d: d.update(colour="red"), ["colour is unknown"]),
        (lambda d: d.update(classes=["cat", "cat"]), ["classes must not hold an element twice"]),
        (lambda d: d.update(image_shape=[3, 28]), ["image_shape must have exactly 3 elements, has 2"]),
        (lambda d: d.update(seed="7"), ["seed must be an integer, got '7'"]),
        (lambda d: d["splits"].update(holdout={}), ["splits.holdout is unknown; known here are train"]),
        (lambda d: d["splits"]["test"].update(images=3), ["splits.test.images is 3, but its shards hold 2"]),
        (lambda d: d["splits"]["test"]["images_per_class"].pop("cat"), ["does not name exactly the classes"]),
        (lambda d: d["label_conflicts"][0]["classes"].append([]), ["label_conflicts[0] has not one list of classes"]),
        (lambda d: d["resize"].update(quality=101, aspect="keep"), ["at most 100, got 101", "one of 'squeeze', got"]),
        (
            lambda d: d["splits"]["test"]["shards"][0].update(record="../../etc/passwd", index="/x", list="a/../../b"),
            ["shards[0].record must have", "shards[0].index must have", "shards[0].list must have"],
        ),
    ],
)
def test_a_malformed_document_is_refused_with_every_problem(
    dataset: Dataset, tmp_path: Path, change: Change, reasons: list[str]
) -> None:
    content = dataset.to_dict()
    change(content)
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(DocumentError) as raised:
        Dataset.load(tmp_path)
    assert len(raised.value.problems) == len(reasons)
    for problem, reason in zip(raised.value.problems, reasons, strict=True):
        assert reason in problem
        assert str(tmp_path / "dataset.json") in problem
        assert "prepare the data set again" in problem


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"seed": NaN}', b"[" * 100_000])
def test_what_is_no_document_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "dataset.json").write_bytes(content)
    with pytest.raises(DocumentError, match=re.escape(str(tmp_path / "dataset.json"))):
        Dataset.load(tmp_path)


def test_verification_names_every_difference_at_once(dataset: Dataset, tmp_path: Path) -> None:
    record = tmp_path / "train/train.rec"
    record.write_bytes(record.read_bytes()[:-4])
    record = tmp_path / "validation/validation.rec"
    record.write_bytes(record.read_bytes()[:-1] + b"\x01")
    (tmp_path / "test/test.lst").unlink()
    (tmp_path / "test/test.idx").write_text("0\t4\n")
    with pytest.raises(DatasetError) as raised:
        dataset.verify()
    problems = raised.value.problems
    assert len(problems) == 3
    assert re.search(r"train\.rec: has \d+ bytes instead of \d+", problems[0])
    assert "validation.rec: has the checksum" in problems[1]
    assert "test.lst: is missing" in problems[2]


def test_verification_finds_an_index_that_points_elsewhere(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "test/test.idx").write_text("0\t4\n")
    with pytest.raises(DatasetError, match=r"test\.idx: does not point at the records of test\.rec"):
        dataset.verify()


def test_the_fingerprint_changes_with_what_training_sees(dataset: Dataset, tmp_path: Path) -> None:
    def changed(change: Change) -> str:
        content = copy.deepcopy(dataset.to_dict())
        change(content)
        return Dataset.from_dict(content, tmp_path).fingerprint

    def swap_classes(content: dict[str, Any]) -> None:
        content["classes"].reverse()

    assert changed(lambda d: None) == dataset.fingerprint
    assert changed(lambda d: d.update(seed=8, source=d["source"] | {"uri": "elsewhere"})) == dataset.fingerprint
    different = [
        swap_classes,
        lambda d: d.update(image_shape=[1, 28, 28]),
        lambda d: d["splits"]["train"]["shards"][0].update(sha256="0" * 64),
        lambda d: d["splits"].pop("test"),
    ]
    fingerprints = {changed(change) for change in different}
    assert len(fingerprints | {dataset.fingerprint}) == len(different) + 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 300) | st.floats(-1, 2) | st.sampled_from(["", "a", "../a", "jpeg"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["train", "images", "a"]), inner),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def sound_document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return make_dataset(tmp_path_factory.mktemp("sound")).to_dict()


@settings(max_examples=200, deadline=None)
@given(data=st.data(), value=json_values)
def test_our_schema_check_agrees_with_the_jsonschema_package(
    sound_document: dict[str, Any], data: st.DataObject, value: object
) -> None:
    """Replace something anywhere in a sound document: both must find it sound, or both must not."""
    content: Any = copy.deepcopy(sound_document)
    place = content
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return
        key = data.draw(st.sampled_from(keys))
        if isinstance(place[key], dict | list) and place[key] and data.draw(st.integers(0, 4)):
            place = place[key]
        else:
            place[key] = value
            break
    # JSON Schema takes 1.0 for an integer, we do not.
    ours = not find_violations(content, SCHEMA)
    theirs = jsonschema.Draft202012Validator(SCHEMA).is_valid(content)
    assert ours == theirs or "1.0" in json.dumps(value) or "0.0" in json.dumps(value)


@pytest.mark.parametrize(
    ("rule", "sound", "broken", "violation"),
    [
        ({"exclusiveMinimum": 0}, 0.5, 0, "must be above 0, got 0"),
        ({"maximum": 3}, 3, 4, "must be at most 3, got 4"),
        ({"type": ["integer", "null"]}, None, "x", "must be an integer or null, got 'x'"),
        ({"type": "number"}, 1, True, "must be a number, got True"),
        ({"items": {"type": "string"}}, ["a"], ["a", 1], "must be a text, got 1"),
        ({"minItems": 2}, [1, 2], [1], "must have at least 2 elements, has 1"),
        ({"maxItems": 1}, [1], [1, 2], "must have at most 1 elements, has 2"),
        ({"const": [1]}, [1], [2], r"must be \[1\], got \[2\]"),
    ],
)
def test_each_rule_of_a_schema_is_checked(rule: dict[str, Any], sound: object, broken: object, violation: str) -> None:
    assert find_violations(sound, rule) == []
    assert re.search(violation, find_violations(broken, rule)[0])


def test_a_schema_with_an_unknown_rule_is_not_half_checked() -> None:
    with pytest.raises(ValueError, match="uses multipleOf"):
        find_violations({"a": 3}, {"properties": {"a": {"multipleOf": 2}}})
