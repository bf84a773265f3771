"""Data as people have it: each case is an input that was once misread, and what its owner expects of it."""

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kfp_image_tuning.core.errors import ImageTuningError
from kfp_image_tuning.dataset.document import Dataset
from kfp_image_tuning.preparation.preparation import prepare_dataset
from kfp_image_tuning.preparation.sources.reading import Reading

CASES = Path(__file__).parents[1] / "cases" / "data"


@dataclass(frozen=True)
class Case:
    """What one input gives, read with some options.

    Attributes:
        data: The source, relative to the case's folder.
        classes: All classes, in order, with their images in all splits.
        splits: Images in each split that the source names.
        says: Texts that the lines before the work hold.
        skipped: Texts that the reasons in the document hold.
        error: Code of the error; and texts that it holds: what was found, the option that helps.
        asked: Options as on the command line.
    """

    data: str = "input"
    classes: dict[str, int] = field(default_factory=dict)
    splits: dict[str, int] = field(default_factory=dict)
    says: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    error: tuple[str, ...] = ()
    asked: dict[str, Any] = field(default_factory=dict)


CAT_DOG = {"cat": 12, "dog": 12}
EXPECTED = {
    # Splits.
    "split_train_test1": [
        Case(classes={"cat": 20, "dog": 20}, says=("test1: 10 images", "validation and test cut from train")),
    ],
    "split_training_set": [Case(classes={"cats": 28, "dogs": 28}, splits={"test": 16}, says=("test (test_set)",))],
    "split_intel_seg": [
        Case(classes={"forest": 21, "sea": 21, "street": 21}, splits={"test": 18}, says=("seg_pred: 12 images",)),
    ],
    "split_train_data_words": [Case(classes={"cat": 21, "dog": 21}, splits={"test": 10}, says=("train (Train_Data)",))],
    "split_unlabeled": [Case(classes={"cat": 21, "dog": 21}, splits={"test": 10}, says=("unlabeled: 6 images",))],
    "split_with_stray_folder": [
        Case(
            classes={"cat": 26, "dog": 26},
            splits={"train": 32, "validation": 8, "test": 12},
            says=("samples: 1 images", "class  train  validation  test"),
        ),
    ],
    "split_below_class": [
        Case(classes={"cat": 22, "dog": 22}, splits={"test": 12}, says=("the splits are below the classes",)),
        Case(asked={"classes_from": "top"}, classes={"cat": 22, "dog": 22}),
    ],
    "split_val_extra_class": [
        Case(error=("dataset", "class dogs", "--merge dogs=dog", "--allow-empty-classes")),
        Case(
            asked={"merge": "dogs=dog"},
            classes={"cat": 26, "dog": 26},
            splits={"train": 32, "validation": 10, "test": 10},
        ),
        Case(asked={"allow_empty_classes": True}, classes={"cat": 26, "dog": 21, "dogs": 5}, splits={"train": 32}),
    ],
    "split_val_test_only": [
        Case(error=("dataset", "no training images", "--splits")),
        Case(asked={"splits": "train=val,test=test"}, classes={"cat": 16, "dog": 16}, splits={"test": 16}),
    ],
    # Tables.
    "csv_automl": [Case("input/import.csv", CAT_DOG, {"test": 6}, ("test (the table)",))],
    "csv_blanks": [Case("input/data.csv", CAT_DOG)],
    "csv_class_name": [Case("input/data.csv", CAT_DOG)],
    "csv_dataset_column": [Case("input/data.csv", CAT_DOG, {"test": 6}, ("test (column dataset)",))],
    "csv_dog_breed": [
        Case("input/labels.csv", CAT_DOG, says=("is the file train/000bec180eb18c7604dcecc8fe0dba00.jpg",))
    ],
    "csv_fastai_is_valid": [
        Case("input/train.csv", CAT_DOG, {"validation": 8}, ("true in the column is_valid means validation",)),
    ],
    "csv_fastai_pascal": [
        Case("input/train.csv", {"cat": 12, "dog": 12, "person": 12}, says=("a blank in the column labels stands",)),
    ],
    "csv_nan_label": [
        Case("input/data.csv", error=("dataset", "has no label in the table", "max_invalid_images")),
        Case("input/data.csv", {"cat": 10, "dog": 10}, skipped=("has no label",), asked={"max_invalid_images": 0.5}),
    ],
    "csv_number_labels": [Case("input/data.csv", {str(number): 5 for number in range(12)})],
    "csv_one_hot": [
        Case("input/train/_classes.csv", CAT_DOG, says=("is a class (0 or 1)", "there is no image of bird"))
    ],
    "csv_row_per_label": [
        Case("input/data.csv", {"cat": 12, "dog": 12, "young": 8}, says=("8 images have several rows",)),
    ],
    "csv_semicolon": [Case("input/data.csv", CAT_DOG, says=("separated by semicolons",))],
    "csv_windows_backslash": [Case("input/data.csv", CAT_DOG)],
    "pq_float_label": [
        Case("input/d.parquet", {"0": 12, "1": 12}),
    ],
    "pq_no_bytes": [Case(error=("dataset", "not embedded", "CSV"))],
    "pq_two_configs": [
        Case(error=("dataset", "several data sets", "config_a, config_b", "--data")),
        Case("input/config_b", {"cat": 10, "dog": 10}),
    ],
    # AWS's own forms.
    "sm_lst_file": [Case("input/images/train.lst", CAT_DOG, says=("train (train.lst)",))],
    "sm_lst_pair": [Case(classes=CAT_DOG, splits={"validation": 6}, says=("data_train.lst, data_val.lst",))],
    "sm_manifest": [Case("input/output.manifest", CAT_DOG)],
    "sm_manifest_folder": [Case(classes={"0": 12, "1": 12}, says=("is the file images/0.jpg",))],
    "sm_labels_from_one": [
        Case(error=("dataset", "class 0", "--allow-empty-classes")),
        Case(asked={"allow_empty_classes": True}, classes={"0": 0, "cat": 16, "dog": 16}, splits={"validation": 8}),
    ],
    # Files.
    "f_class_all_broken": [Case(error=("dataset", "class bird", "no usable"), asked={"max_invalid_images": 0.2})],
    "f_gtsrb_ppm": [Case(error=("dataset", "30 PPM images", "convert"))],
    "f_half_heic": [
        Case(error=("dataset", "HEIC", "max_invalid_images")),
        Case(classes=CAT_DOG, asked={"max_invalid_images": 0.5}, says=("24 is a HEIC image",)),
    ],
    "f_hierarchy": [
        Case(
            error=("dataset", "animals, plants", "cat, dog, rose, tulip", "--classes-from top", "--classes-from leaf")
        ),
        Case(asked={"classes_from": "leaf"}, classes={"cat": 10, "dog": 10, "rose": 10, "tulip": 10}),
        Case(asked={"classes_from": "top"}, classes={"animals": 20, "plants": 20}),
        Case(asked={"classes_from": "animals"}, classes={"cat": 10, "dog": 10}, says=("plants/rose",)),
    ],
    "f_letter_folders": [
        Case(
            classes={"abbey": 8, "airfield": 8, "beach": 8, "bridge": 8, "canyon": 8},
            says=("the outer folders are initials",),
        ),
    ],
    "f_symlink_alias": [Case(classes=CAT_DOG, says=("kitten: the folder was already visited", "cat"))],
    "folder_synology": [Case(classes={"cat": 16, "dog": 16}, says=("photos/cat/@eaDir: thumbnails",))],
    "zip_deflate64": [Case("input/d64.zip", error=("dataset", "Deflate64", "make the archive again"))],
    "zip_repo_with_docs": [
        Case("input/repo.zip", {"cat": 16, "dog": 16}, says=("repo-main/docs: 3 images", "beside the class folders")),
    ],
    "zip_with_csv": [Case("input/d.zip", CAT_DOG, says=("the table labels.csv in it labels the images",))],
    # Names of classes.
    "names_latin1_class_only": [Case(error=("encoding", r"K\xe4tzchen", "not UTF-8"))],
    "names_nfd_nfc": [
        Case(
            classes={"caf\u00e9": 22, "dog": 22},
            splits={"train": 24, "validation": 10, "test": 10},
            says=("2 spellings of 'caf\u00e9'",),
        ),
    ],
    "names_numbers": [Case(classes={str(number): 5 for number in range(12)})],
    "names_trailing_blank": [
        Case(classes={"cat": 20, "dog": 20}, splits={"train": 20, "test": 10}, says=("2 spellings of 'cat'",)),
    ],
}
ROWS = [(name, number) for name, cases in EXPECTED.items() for number in range(len(cases))]
NOT_ABOUT_LAYOUT = {"jpeg_pixels_depend_on_a_png"}


def input_of(name: str, folder: Path) -> Path:
    """A case's input in a folder where links and odd names can be made that a repository does not keep."""
    if name == "names_latin1_class_only":
        shutil.copytree(CASES / "names_numbers" / "input" / "0", folder / "input" / "dog")
        odd = folder / "input" / os.fsdecode(b"K\xe4tzchen")
        shutil.copytree(CASES / "names_numbers" / "input" / "1", odd)
    else:
        shutil.copytree(CASES / name, folder, dirs_exist_ok=True)
    if name == "f_symlink_alias":
        (folder / "input" / "kitten").unlink()
        (folder / "input" / "kitten").symlink_to("cat")
    return folder


def test_every_case_has_its_row() -> None:
    assert {path.name for path in CASES.iterdir()} == EXPECTED.keys() | NOT_ABOUT_LAYOUT


@pytest.mark.parametrize(("name", "number"), ROWS, ids=[f"{name}-{number}" for name, number in ROWS])
def test_case(tmp_path: Path, name: str, number: int) -> None:
    case = EXPECTED[name][number]
    folder = input_of(name, tmp_path)
    lines: list[str] = []
    if case.error:
        with pytest.raises(ImageTuningError) as caught:
            prepare(folder, case, lines)
        code, *texts = case.error
        assert caught.value.code == code
        assert not [text for text in texts if text not in str(caught.value)], str(caught.value)
        assert not (folder / "out").exists()
        return
    dataset = prepare(folder, case, lines)
    counts = [split.images_per_class for split in dataset.splits.values()]
    assert {cls: sum(count[cls] for count in counts) for cls in dataset.classes} == case.classes
    assert list(dataset.classes) == list(case.classes)
    for split, images in case.splits.items():
        assert dataset.split(split).images == images
    told = "\n".join(lines)
    assert not [text for text in case.says if text not in told], told
    reasons = "\n".join(item.reason for item in dataset.skipped)
    assert all(text in reasons for text in case.skipped)


def prepare(folder: Path, case: Case, lines: list[str]) -> Dataset:
    asked = dict(case.asked)
    bad = asked.pop("max_invalid_images", 0.01)
    return prepare_dataset(
        str(folder / case.data),
        folder / "out",
        image_shape=(3, 16, 16),
        max_invalid_images=bad,
        reading=Reading.from_options(asked),
        workers=1,
        progress=lines.append,
    )
