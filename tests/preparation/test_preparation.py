import io
import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from kfp_image_tuning.core.errors import DatasetError
from kfp_image_tuning.dataset.document import Dataset, PreparationSettings
from kfp_image_tuning.dataset.image_codec import decode_image, resize_image
from kfp_image_tuning.dataset.recordio import read_list
from kfp_image_tuning.preparation.preparation import prepare_dataset
from kfp_image_tuning.preparation.sources.reading import Reading
from tests.preparation.corpus import CLASSES, encode, make_folder, records_of, silent, snapshot


def prepare(data: Path, output: Path, **options: object) -> Dataset:
    return prepare_dataset(str(data), output, **{"workers": 1, "progress": silent, **options})  # type: ignore[arg-type]


def names_of(dataset: Dataset, split: str) -> list[str]:
    return [entry.path for shard in dataset.split(split).shards for entry in read_list(dataset.directory / shard.list)]


def test_every_image_arrives_with_its_own_pixels_and_label(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data", count=40)
    dataset = prepare(folder, tmp_path / "out", image_shape=(3, 32, 32), encoding="png")
    dataset.verify()
    assert dataset.classes == CLASSES
    assert {name: split.images for name, split in dataset.splits.items()} == {"train": 96, "validation": 12, "test": 12}
    seen = set()
    for split in dataset.splits:
        names = names_of(dataset, split)
        for number, (name, record) in enumerate(zip(names, records_of(dataset, split), strict=True)):
            expected = resize_image(decode_image((folder / name).read_bytes()), *dataset.split(split).stored_size)
            assert np.array_equal(decode_image(record.image), expected)
            assert record.labels == (float(CLASSES.index(name.split("/")[0])),)
            assert record.identifier == number
            seen.add(name)
    assert len(seen) == 120


def test_training_images_are_shuffled(tmp_path: Path) -> None:
    dataset = prepare(make_folder(tmp_path / "data", count=20), tmp_path / "out")
    labels = [record.labels for record in records_of(dataset, "train")]
    assert labels != sorted(labels)
    assert len(set(labels[:16])) == 3


@pytest.mark.parametrize("workers", [1, 2])
def test_same_images_give_the_same_bytes(tmp_path: Path, workers: int) -> None:
    folder = make_folder(tmp_path / "data", count=30, height=90, width=120)
    shutil.copy(folder / "cat/000.jpg", folder / "cat/copy.jpg")
    prepare(folder, tmp_path / "first", image_shape=(3, 64, 64))
    # The same images in files that were written in another order.
    other = tmp_path / "elsewhere" / "data"
    for path in sorted(folder.rglob("*.jpg"), reverse=True):
        (other / path.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, other / path.relative_to(folder))
    prepare(other, tmp_path / "second", image_shape=(3, 64, 64), workers=workers)
    first, second = snapshot(tmp_path / "first"), snapshot(tmp_path / "second")
    documents = [json.loads((tmp_path / name / "dataset.json").read_text()) for name in ("first", "second")]
    assert [document["source"].pop("uri") for document in documents] == [str(folder), str(other)]
    assert documents[0] == documents[1]
    del first["dataset.json"], second["dataset.json"]
    assert first == second


def test_the_document_says_what_was_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_folder(tmp_path / "data", count=20)
    monkeypatch.chdir(tmp_path)
    usual = prepare(Path("data"), tmp_path / "usual")
    assert usual.source.uri == str(tmp_path / "data")
    assert usual.settings == PreparationSettings()
    asked = {"encoding": "jpeg", "quality": 80, "training_margin": 0.25}
    reading = Reading(classes=("dog", "owl"), merge=(("cat", "dog"),))
    dataset = prepare(Path("data"), tmp_path / "other", **asked, max_invalid_images=3, reading=reading)
    recorded = {"classes": "dog,owl", "merge": "cat=dog"}
    assert dataset.settings == PreparationSettings(max_invalid_images="3", reading=recorded, **asked)  # type: ignore[arg-type]
    assert Reading.from_options(dataset.settings.reading) == reading
    assert Dataset.load(tmp_path / "other") == dataset


def test_another_seed_is_another_split(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data", count=20)
    tests = [set(names_of(prepare(folder, tmp_path / f"out{seed}", seed=seed), "test")) for seed in (0, 1)]
    assert tests[0] != tests[1]


def test_copies_in_any_lossless_form_stay_together(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data", count=20, height=240, width=320)
    for number in range(8):
        original = folder / f"cat/{number:03d}.jpg"
        Image.open(original).save(folder / f"cat/png {number}.png")
        data = original.read_bytes()
        (folder / f"cat/with a comment {number}.jpg").write_bytes(data[:2] + b"\xff\xfe\0\x07hello" + data[2:])
    dataset = prepare(folder, tmp_path / "out", image_shape=(3, 64, 64), seed=5)
    split_of = {name: split for split in dataset.splits for name in names_of(dataset, split)}
    assert len(dataset.duplicates) == 8
    for group in dataset.duplicates:
        assert len(group.images) == 3
        assert {split_of[name] for name in group.images} == {group.split}


def test_images_that_differ_in_one_pixel_are_no_copies(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data")
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (300, 300, 3), dtype=np.uint8)
    for row in (3, 150, 299):
        image[row, 7] ^= 1
        Image.fromarray(image).save(folder / f"cat/{row}.png")
    assert prepare(folder, tmp_path / "out").duplicates == ()


def test_conflicting_labels_are_reported_and_left_out(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data")
    shutil.copy(folder / "cat/000.jpg", folder / "dog/same.jpg")
    lines: list[str] = []
    dataset = prepare(folder, tmp_path / "out", progress=lines.append)
    [conflict] = dataset.label_conflicts
    assert (conflict.images, conflict.classes) == (("cat/000.jpg", "dog/same.jpg"), (("cat",), ("dog",)))
    assert sum(split.images for split in dataset.splits.values()) == 29
    assert any("Skipped, groups of equal images with different labels: 1" in line for line in lines)


@pytest.mark.parametrize(
    ("size", "options", "image_shape", "training", "encoding"),
    [
        ((28, 28), {}, (3, 28, 28), (28, 28), "png"),
        ((28, 28), {"image_shape": (1, 28, 28)}, (1, 28, 28), (28, 28), "png"),
        ((28, 28), {"image_shape": (3, 32, 32), "encoding": "jpeg"}, (3, 32, 32), (32, 32), "jpeg"),
        ((28, 28), {"training_margin": 0.25}, (3, 28, 28), (35, 35), "png"),
        ((300, 400), {}, (3, 224, 224), (256, 256), "jpeg"),
        ((230, 400), {}, (3, 224, 224), (224, 224), "jpeg"),
        ((65, 65), {}, (3, 224, 224), (224, 224), "jpeg"),
        ((300, 400), {"image_shape": (3, 96, 128)}, (3, 96, 128), (110, 146), "jpeg"),
        ((300, 400), {"image_shape": (3, 96, 128), "training_margin": 0.0}, (3, 96, 128), (96, 128), "jpeg"),
    ],
)
def test_stored_sizes(
    tmp_path: Path,
    size: tuple[int, int],
    options: dict[str, object],
    image_shape: tuple[int, int, int],
    training: tuple[int, int],
    encoding: str,
) -> None:
    folder = make_folder(tmp_path / "data", ["a", "b"], 5, *size)
    lines: list[str] = []
    dataset = prepare(folder, tmp_path / "out", progress=lines.append, **options)
    assert dataset.image_shape == image_shape
    assert dataset.resize.encoding == encoding
    for name, split in dataset.splits.items():
        assert split.stored_size == (training if name == "train" else image_shape[1:])
        for record in records_of(dataset, name):
            image = Image.open(io.BytesIO(record.image))
            assert (image.size[::-1], len(image.getbands())) == (split.stored_size, image_shape[0])
            assert image.format == encoding.upper()
    assert any(f"image_shape {','.join(map(str, image_shape))}" in line for line in lines)


def test_jpeg_of_the_right_size_is_copied(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data", ["a", "b"], 6, 100, 120)
    sources = {path.read_bytes() for path in folder.rglob("*.jpg")}
    options = {"image_shape": (3, 100, 120), "training_margin": 0.0}
    dataset = prepare(folder, tmp_path / "out", **options)
    assert {record.image for split in dataset.splits for record in records_of(dataset, split)} == sources


def test_jpeg_that_must_be_turned_or_coloured_is_not_copied(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data", ["a", "b"], 6, 100, 120)
    exif = Image.Exif()
    exif[0x0112] = 3
    turned, gray = encode(90, 100, 120, exif=exif), io.BytesIO()
    Image.open(io.BytesIO(encode(91, 100, 120))).convert("L").save(gray, "JPEG")
    (folder / "a/turned.jpg").write_bytes(turned)
    (folder / "b/gray.jpg").write_bytes(gray.getvalue())
    dataset = prepare(folder, tmp_path / "out", image_shape=(3, 100, 120), training_margin=0.0)
    images = {
        name: record.image
        for split in dataset.splits
        for name, record in zip(names_of(dataset, split), records_of(dataset, split), strict=True)
    }
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(turned))))
    stored = np.asarray(Image.open(io.BytesIO(images["a/turned.jpg"])))
    assert np.abs(stored.astype(int) - upright).mean() < 3
    assert Image.open(io.BytesIO(images["b/gray.jpg"])).mode == "RGB"


def test_shards_hold_the_training_images_in_order(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data", count=20)
    whole = prepare(folder, tmp_path / "one")
    split = prepare(folder, tmp_path / "four", shards=4)
    assert [shard.record for shard in split.split("train").shards] == [
        f"train/train-{number:05d}-of-00004.rec" for number in range(4)
    ]
    assert [shard.images for shard in split.split("train").shards] == [12] * 4
    assert records_of(whole, "train") == records_of(split, "train")
    assert [shard.record for shard in split.split("test").shards] == ["test/test.rec"]
    split.verify()


def test_several_labels_an_image(tmp_path: Path) -> None:
    lines = ["path,label"]
    for number in range(40):
        (tmp_path / f"{number}.jpg").write_bytes(encode(number))
        lines.append(f"{number}.jpg,{'|'.join(name for bit, name in enumerate('abc') if (number % 7 + 1) >> bit & 1)}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    dataset = prepare(tmp_path / "labels.csv", tmp_path / "out")
    assert dataset.multi_label
    for split in dataset.splits:
        for name, record in zip(names_of(dataset, split), records_of(dataset, split), strict=True):
            number = int(name.split(".")[0])
            assert record.labels == tuple(float((number % 7 + 1) >> bit & 1) for bit in range(3))


def test_splits_of_the_source_are_kept(tmp_path: Path) -> None:
    for split, count in (("train", 6), ("val", 2), ("test", 2)):
        make_folder(tmp_path / "data" / split, ["a", "b"], 1)
        for number in range(count):
            for label in "ab":
                data = encode(hash((split, number, label)) % 10**9)
                (tmp_path / "data" / split / label / f"{number}.jpg").write_bytes(data)
        for label in "ab":
            (tmp_path / "data" / split / label / "000.jpg").unlink()
    dataset = prepare(tmp_path / "data", tmp_path / "out")
    assert {name: split.images for name, split in dataset.splits.items()} == {"train": 12, "validation": 4, "test": 4}
    assert all(name.startswith("val/") for name in names_of(dataset, "validation"))
    assert dataset.fractions is None


def test_prepared_data_set_is_a_source_too(tmp_path: Path) -> None:
    first = prepare(make_folder(tmp_path / "data", count=20), tmp_path / "first")
    again = prepare(tmp_path / "first", tmp_path / "again")
    assert again.classes == first.classes
    for split in first.splits:
        assert Counter(record.image for record in records_of(again, split)) == Counter(
            record.image for record in records_of(first, split)
        )


def test_finished_data_set_is_used_again(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data")
    prepare(folder, tmp_path / "out", seed=3)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    lines: list[str] = []
    # Another path and another time stamp, the same contents.
    folder.rename(tmp_path / "moved")
    for path in (tmp_path / "moved").rglob("*.jpg"):
        path.touch()
    dataset = prepare(tmp_path / "moved", tmp_path / "out", seed=3, progress=lines.append)
    assert dataset.split("train").images == 24
    assert lines == [
        f"{tmp_path / 'out'}: is prepared already from the same images with the same settings; its checksums are right"
    ]
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}


@pytest.mark.parametrize("change", ["seed", "image", "damage", "leftover"])
def test_other_settings_images_or_damage_prepare_again(tmp_path: Path, change: str) -> None:
    folder = make_folder(tmp_path / "data")
    output = tmp_path / "out"
    prepare(folder, output)
    first = snapshot(output)
    if change == "image":
        (folder / "cat/000.jpg").write_bytes(encode(4321))
    if change == "damage":
        with (output / "train/train.rec").open("r+b") as file:
            file.seek(500)
            file.write(b"damage")
    if change == "leftover":
        (output / "dataset.json").unlink()
        with pytest.raises(DatasetError, match="is not a data set, so it is not replaced"):
            prepare(folder, output)
        return
    prepare(folder, output, seed=1 if change == "seed" else 0).verify()
    assert (snapshot(output) == first) == (change == "damage")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "out"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_shape": (4, 32, 32)}, "image_shape: .* is not channels, height, width"),
        ({"fractions": (0.5, 0.1, 0.1)}, "fractions: .*adding up to 1"),
        ({"shards": 0, "quality": 0, "encoding": "gif"}, "3 problems"),
        ({"max_invalid_images": 1.5}, "max_invalid_images"),
        ({"training_margin": -0.1}, "training_margin"),
    ],
)
def test_impossible_settings(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        prepare(make_folder(tmp_path / "data"), tmp_path / "out", **options)


def test_small_classes_are_listed(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data")
    for number, name in enumerate(("rare/1", "rare/2", "rarer/1", "rarer/2")):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / f"{name}.jpg").write_bytes(encode(9000 + number))
    with pytest.raises(DatasetError, match=r"rare \(2\), rarer \(2\)"):
        prepare(folder, tmp_path / "out")


def test_long_work_says_how_far_it_is(tmp_path: Path) -> None:
    """The progress line itself, on a clock that runs fast."""
    program = (
        "import time; clock = iter(range(0, 1000)); time.monotonic = lambda: next(clock)\n"
        "from kfp_image_tuning.core.progress_lines import Progress\n"
        "meter = Progress(print, 'prepared', 1000)\n"
        "[meter.add(100) for _ in range(10)]\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "prepared 200 of 1,000 images, 100 a second, 8 s left",
        "prepared 700 of 1,000 images, 100 a second, 3 s left",
        "prepared 1,000 of 1,000 images, 100 a second, in 10 s",
    ]
