"""Order and content of batches, measures and schedules: small, exact tables."""

from typing import Any

import numpy as np
import pytest
import torch

from kfp_image_tuning.model.preprocessing import Preprocessing
from kfp_image_tuning.trainer.batches import BatchReader, training_batches
from kfp_image_tuning.trainer.measures import RunningMeasures, class_weights, count_right, count_top_k, sum_loss
from kfp_image_tuning.trainer.schedule import LearningRateSchedule, should_stop_early
from tests.trainer.digits import Images, make_hyperparameters, training_digits

CPU = torch.device("cpu")


def test_an_epoch_has_full_batches_of_different_images() -> None:
    batches = list(training_batches(103, 10, seed=1, epoch=0))
    assert [len(batch) for batch in batches] == [10] * 10
    seen = np.concatenate(batches)
    assert len(set(seen.tolist())) == 100
    assert set(seen.tolist()) <= set(range(103))


def test_order_depends_on_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return np.concatenate(list(training_batches(64, 8, seed, epoch))).tolist()  # type: ignore[no-any-return]

    assert order(1, 0) == order(1, 0)
    assert len({tuple(order(seed, epoch)) for seed in (1, 2) for epoch in (0, 1)}) == 4


def test_processes_share_each_batch() -> None:
    whole = list(training_batches(40, 10, seed=3, epoch=2))
    shares = [list(training_batches(40, 10, seed=3, epoch=2, share=(number, 3))) for number in range(3)]
    for step, batch in enumerate(whole):
        assert np.concatenate([share[step] for share in shares]).tolist() == batch.tolist()


def test_a_reader_gives_images_and_labels_at_the_indices(tmp_path: Any) -> None:
    data = training_digits()
    np.save(tmp_path / "images.npy", data.images)
    mapped = Images(np.load(tmp_path / "images.npy", mmap_mode="r"), data.labels)
    reader = BatchReader(mapped, 8, CPU)
    for indices in (np.array([5, 3, 9]), np.arange(8), np.array([0])):
        images, labels = reader.read(indices)
        assert (images.numpy() == data.images[indices]).all()
        assert labels.tolist() == data.labels[indices].tolist()


def test_pixels_are_normalized_by_channel_and_lie_channels_last() -> None:
    pixels = torch.arange(2 * 4 * 5 * 3, dtype=torch.uint8).reshape(2, 4, 5, 3)
    normalized = Preprocessing((1.0, 2.0, 3.0), (2.0, 4.0, 8.0)).on(CPU)(pixels)
    expected = (pixels.float() - torch.tensor([1.0, 2.0, 3.0])) / torch.tensor([2.0, 4.0, 8.0])
    assert torch.equal(normalized, expected.permute(0, 3, 1, 2))
    assert normalized.is_contiguous(memory_format=torch.channels_last)


LOGITS = torch.tensor([[3.0, 1.0, 2.0], [0.0, 5.0, 1.0], [float("nan"), 0.0, 0.0], [1.0, 2.0, 3.0]])


def test_right_answers_are_counted_and_what_is_no_number_is_wrong() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    assert count_right(LOGITS, labels) == 1
    assert count_top_k(LOGITS, labels, 2) == 2
    several = torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0], [1.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    assert count_right(LOGITS, several).item() == pytest.approx(2 / 3 + 1 + 2 / 3 + 1)


def test_measures_are_averages_over_all_images() -> None:
    measures = RunningMeasures(CPU, top_k=None)
    labels = torch.tensor([0, 0, 1, 1])
    for part in (slice(0, 2), slice(3, 4)):
        measures.add(LOGITS[part], labels[part], sum_loss(LOGITS[part], labels[part]))
    read = measures.read()
    assert read.accuracy == pytest.approx(1 / 3)
    expected = torch.nn.functional.cross_entropy(LOGITS[[0, 1, 3]], labels[[0, 1, 3]]).item()
    assert read.loss == pytest.approx(expected)
    assert read.top_k_accuracy is None


def test_class_weights_give_presence_and_absence_the_same_weight() -> None:
    labels = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    presence, absence = class_weights(labels)
    total = torch.where(labels > 0.5, presence, absence)
    assert torch.allclose((total * (labels > 0.5)).sum(0), (total * (labels < 0.5)).sum(0))
    assert total.sum(0).tolist() == [4.0, 4.0]


@pytest.mark.parametrize(
    ("samples", "batch", "steps", "expected"),
    [
        (100, 10, None, {1: 1.0, 1000: 1.0}),
        (100, 10, (2, 3), {20: 1.0, 21: 0.5, 30: 0.5, 31: 0.25}),
        (105, 10, (2,), {20: 1.0, 21: 0.5}),
    ],
)
def test_the_rate_drops_at_updates(
    samples: int, batch: int, steps: tuple[int, ...] | None, expected: dict[int, float]
) -> None:
    settings: dict[str, Any] = {"num_training_samples": samples, "mini_batch_size": batch, "lr_scheduler_step": steps}
    schedule = LearningRateSchedule(make_hyperparameters(learning_rate=1.0, lr_scheduler_factor=0.5, **settings))
    assert {update: schedule.at(update) for update in expected} == expected


@pytest.mark.parametrize(
    ("accuracies", "minimum", "patience", "tolerance", "stops"),
    [
        ([0.5, 0.5, 0.5], 1, 2, 0.0, True),
        ([0.5, 0.5, 0.5], 4, 2, 0.0, False),
        ([0.5, 0.6, 0.5], 1, 2, 0.0, False),
        ([0.5, 0.4, 0.6, 0.5, 0.55], 1, 2, 0.0, True),
        ([0.5, 0.51, 0.52], 1, 2, 0.1, True),
        ([0.5, 0.56, 0.62], 1, 2, 0.1, False),
        ([0.0, 0.0, 0.0], 1, 3, 0.0, True),
        ([], 1, 1, 0.0, False),
    ],
)
def test_early_stopping(accuracies: list[float], minimum: int, patience: int, tolerance: float, stops: bool) -> None:
    settings = {"early_stopping_min_epochs": minimum, "early_stopping_patience": patience}
    hyperparameters = make_hyperparameters(early_stopping=True, early_stopping_tolerance=tolerance, **settings)
    assert should_stop_early(hyperparameters, accuracies) is stops
    assert should_stop_early(make_hyperparameters(), accuracies) is False
