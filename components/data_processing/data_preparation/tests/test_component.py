"""Images become a data set."""

from pathlib import Path

from kfp import dsl

from ..component import data_preparation


def test_images_become_a_data_set(digits: Path, tmp_path: Path) -> None:
    dataset = dsl.Dataset(uri=str(tmp_path / "dataset"))
    classes, training = data_preparation.python_func(images=str(digits), dataset=dataset)
    assert (classes, training) == (4, 192)
    assert (tmp_path / "dataset" / "dataset.json").is_file()
