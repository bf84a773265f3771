"""The settings that tuning components share."""

import numpy as np
import pytest
from PIL import Image

from kfp_image_tuning.core.errors import DatasetError, ImageTuningError
from kfp_image_tuning.dataset.document import Dataset
from kfp_image_tuning.preparation.preparation import prepare_dataset
from kfp_image_tuning.preparation.settings import (
    read_image_shape,
    read_max_invalid_images,
    write_max_invalid_images,
)
from kfp_image_tuning.search.search_space import SearchSpace
from kfp_image_tuning.steps.tuning_settings import TuningSettings


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Forty noisy images of two classes."""
    folder = tmp_path_factory.mktemp("noise")
    random = np.random.default_rng(1)
    for name in ("a", "b"):
        (folder / "images" / name).mkdir(parents=True)
        for number in range(20):
            noise = random.integers(0, 255, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(noise).save(folder / "images" / name / f"{number}.png")
    return prepare_dataset(
        str(folder / "images"), folder / "dataset", fractions=(0.6, 0.1, 0.3), shards=2, progress=lambda _line: None
    )


def test_numbers_that_kfp_made_floats_of_are_read_right() -> None:
    through_kfp = TuningSettings(
        search_space={
            "mini_batch_size": {"min": 16.0, "max": 64.0},
            "lr_scheduler_step": [2.0, 4.0],
            "num_layers": 20.0,
        }
    )
    typed = {"mini_batch_size": {"min": 16, "max": 64}, "lr_scheduler_step": [2, 4], "num_layers": 20}
    assert through_kfp.to_space() == SearchSpace.customized(typed)


def test_no_limit_is_passed_as_zero() -> None:
    budget = TuningSettings().to_budget()
    assert (budget.parallel_trials, budget.max_seconds, budget.target_objective) == (None, None, None)
    assert TuningSettings(max_failed_trials=0).to_budget().failures_tolerated == 0


def test_all_problems_are_told_at_once(dataset: Dataset) -> None:
    settings = TuningSettings(search_space={"momentum": 7}, max_trials=0, target_accuracy=2)
    with pytest.raises(ImageTuningError) as caught:
        settings.to_search(dataset)
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize(
    ("text", "shape"), [("auto", None), ("3,224,224", (3, 224, 224)), (" 1, 28 ,28 ", (1, 28, 28))]
)
def test_image_shape_is_read(text: str, shape: tuple[int, int, int] | None) -> None:
    assert read_image_shape(text) == shape


@pytest.mark.parametrize(("text", "number"), [("1%", 0.01), ("12.5 %", 0.125), ("20", 20), ("0", 0)])
def test_bad_images_are_counted_or_shared(text: str, number: int | float) -> None:
    read = read_max_invalid_images(text)
    assert read == number
    assert type(read) is type(number)
    assert write_max_invalid_images(read) == text.replace(" ", "")


@pytest.mark.parametrize(
    ("read", "text"), [(read_image_shape, "224"), (read_max_invalid_images, "few"), (read_max_invalid_images, "-1")]
)
def test_unreadable_text_is_refused_with_its_form(read: object, text: str) -> None:
    with pytest.raises(DatasetError, match="such as"):
        read(text)  # type: ignore[operator]
