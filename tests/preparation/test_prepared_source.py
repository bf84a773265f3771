"""A data set that is prepared already, as the source of another preparation."""

import json
from pathlib import Path

import pytest

from kfp_image_tuning.core.errors import DatasetError, DocumentError
from kfp_image_tuning.dataset.document import Dataset
from kfp_image_tuning.preparation.preparation import prepare_dataset
from tests.preparation.corpus import make_folder, silent, snapshot


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    make_folder(tmp_path / "photos")
    prepare_dataset(str(tmp_path / "photos"), tmp_path / "prepared", image_shape=(3, 32, 32), progress=silent)
    return tmp_path / "prepared"


def files_of(folder: Path) -> dict[str, str]:
    return {name: content for name, content in snapshot(folder).items() if not name.startswith(".preparation")}


def test_prepared_data_set_is_taken_over_byte_for_byte(prepared: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    dataset = prepare_dataset(str(prepared), tmp_path / "again", progress=lines.append)
    assert files_of(tmp_path / "again") == files_of(prepared)
    assert dataset.fingerprint == Dataset.load(prepared).fingerprint
    assert any("used as they are" in line for line in lines)


def test_data_set_that_was_taken_over_is_recognised_the_next_time(prepared: Path, tmp_path: Path) -> None:
    prepare_dataset(str(prepared), tmp_path / "again", progress=silent)
    lines: list[str] = []
    prepare_dataset(str(prepared), tmp_path / "again", progress=lines.append)
    assert any("is prepared already" in line for line in lines)


def test_another_image_shape_prepares_the_images_anew(prepared: Path, tmp_path: Path) -> None:
    dataset = prepare_dataset(str(prepared), tmp_path / "small", image_shape=(3, 24, 24), progress=silent)
    assert dataset.image_shape == (3, 24, 24)
    assert dataset.classes == Dataset.load(prepared).classes


def test_data_set_that_is_not_whole_is_refused_by_name(prepared: Path, tmp_path: Path) -> None:
    (prepared / "test" / "test.idx").unlink()
    with pytest.raises(DatasetError, match=r"not whole, test/test\.idx is missing; copy it again"):
        prepare_dataset(str(prepared), tmp_path / "again", progress=silent)
    assert not (tmp_path / "again").exists()


def test_data_set_with_changed_bytes_is_refused(prepared: Path, tmp_path: Path) -> None:
    record = prepared / "train" / "train.rec"
    content = bytearray(record.read_bytes())
    content[100] ^= 1
    record.write_bytes(content)
    with pytest.raises(DatasetError, match="checksum"):
        prepare_dataset(str(prepared), tmp_path / "again", progress=silent)
    assert not (tmp_path / "again").exists()


def test_description_that_names_files_elsewhere_is_refused(prepared: Path, tmp_path: Path) -> None:
    document = json.loads((prepared / "dataset.json").read_text())
    document["splits"]["train"]["shards"][0]["list"] = "../photos/list"
    (prepared / "dataset.json").write_text(json.dumps(document))
    with pytest.raises(DocumentError, match="list"):
        prepare_dataset(str(prepared), tmp_path / "again", progress=silent)
    assert not (tmp_path / "again").exists()
