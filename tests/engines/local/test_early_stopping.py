"""Which trials are ended early."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from kfp_image_tuning.engines.local.early_stopping import find_reason_to_stop, find_rungs
from kfp_image_tuning.engines.local.trial_records import Point, Record
from kfp_image_tuning.search.result import Epoch
from kfp_image_tuning.search.search import Search
from tests.engines.local.searching import make_trial
from tests.search.searches import make_search

CURVES = Path(__file__).parents[2] / "data" / "local_tuning_curves.json"


def at(*points: tuple[int, float]) -> Record:
    """A trial in its first epoch, right on shares of its first images."""
    return Record(0, {}, "random", make_trial(0), [Point(images, 1.0, accuracy) for images, accuracy in points])


def after(*epochs: tuple[float, float]) -> Record:
    """A trial after epochs with (training, validation) accuracies."""
    history = tuple(
        Epoch(epoch=number, train_accuracy=trained, validation_accuracy=validated)
        for number, (trained, validated) in enumerate(epochs)
    )
    return Record(0, {}, "random", make_trial(0, history=history))


# 4,000 images and 3 epochs: rungs at 6,000 (after epoch 2), 3,000, 1,500, 750 images; hyperband 4,000, 1,333, 444.
GOOD = [at((640, 0.3), (1280, 0.5), (3200, 0.7)), at((640, 0.28), (1280, 0.45), (3200, 0.65))]


@pytest.mark.parametrize(
    ("trial", "others", "ends"),
    [
        pytest.param(at((640, 0.1)), [], False, id="the first to get anywhere passes"),
        pytest.param(at((640, 0.1)), [at((320, 0.2))], False, id="nobody got as far yet"),
        pytest.param(at((640, 0.11)), GOOD[:1], True, id="hopeless beside a single other"),
        pytest.param(at((640, 0.22)), GOOD, False, id="slow, but no rung here"),
        pytest.param(at((640, 0.25), (1280, 0.4)), GOOD, True, id="worse than half at a rung"),
        pytest.param(at((640, 0.25), (1280, 0.46)), GOOD, False, id="in the better half at a rung"),
        pytest.param(at((640, 0.25), (1280, 0.48), (1480, 0.49)), GOOD, False, id="past the rung"),
        pytest.param(at((1200, 0.1)), [at((1280, 0.13)), at((1280, 0.14))], True, id="rungs know no mercy"),
        pytest.param(at((160, 0.10)), [at((160, 0.16)), at((160, 0.16))], False, id="so few images may be an accident"),
        pytest.param(after((0.7, 0.3)), [after((0.6, 0.8)), after((0.5, 0.8))], False, id="lag of validation"),
        pytest.param(
            after((0.9, 0.3), (0.95, 0.5)),
            [after((0.8, 0.9), (0.9, 0.9))] * 2,
            False,
            id="training is better, validation lags",
        ),
        pytest.param(
            after((0.9, 0.3), (0.85, 0.91)),
            [after((0.8, 0.9), (0.9, 0.9))] * 2,
            False,
            id="validation is better, training worse",
        ),
        pytest.param(
            after((0.9, 0.3), (0.85, 0.5)), [after((0.8, 0.9), (0.9, 0.9))] * 2, True, id="neither is among the best"
        ),
        pytest.param(
            after((0.9, 0.9), (0.9, 0.9)), [after((0.9, 0.9), (0.9, 0.9))] * 5, False, id="equals pass together"
        ),
    ],
)
def test_a_trial_ends_when_others_did_better_at_the_same_point(trial: Record, others: list[Record], ends: bool) -> None:
    search = make_search(epochs=3)
    reason = find_reason_to_stop(search, trial, [*others, trial])
    assert (reason is not None) == ends, reason


@pytest.mark.parametrize(
    ("strategy", "epochs", "expected"),
    [
        ("bayesian", 3, [1.5, 0.75, 0.375, 0.1875]),
        ("hyperband", 3, [1.0, 1 / 3, 1 / 9]),
        ("hyperband", 27, [9, 3, 1]),
        ("random", 32, [16, 8, 4, 2]),
    ],
)
def test_rungs_follow_the_length_of_a_training(strategy: str, epochs: int, expected: list[float]) -> None:
    assert find_rungs(make_search(strategy=strategy, epochs=epochs)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("settings", "ends"),
    [
        ({"strategy": "random"}, True),
        ({"strategy": "random", "stop_bad_trials": False}, False),
        ({"strategy": "hyperband", "stop_bad_trials": False}, True),
    ],
)
def test_only_hyperband_ends_trials_against_the_users_wish(settings: dict[str, Any], ends: bool) -> None:
    trial = at((1280, 0.1))
    assert (find_reason_to_stop(make_search(epochs=3, **settings), trial, [*GOOD, trial]) is not None) == ends


def follow(search: Search, curves: list[list[float]]) -> list[bool]:
    """Whether each trial was ended early. A curve is the accuracy at 1,000, 2,000, 3,000 images, then after epochs."""
    records: list[Record] = []
    ended = []
    for curve in curves:
        record = at()
        records.append(record)
        reason = None
        for number, accuracy in enumerate(curve):
            if number < 3:
                record.points.append(Point((number + 1) * 1000, 1.0, accuracy))
            else:
                epoch = Epoch(epoch=number - 3, validation_accuracy=accuracy, train_accuracy=accuracy)
                record.trial = make_trial(0, history=(*record.trial.history, epoch))
            reason = find_reason_to_stop(search, record, records)
            if reason:
                break
        ended.append(reason is not None)
    return ended


@pytest.mark.parametrize("strategy", ["bayesian", "hyperband"])
def test_never_all_are_ended_and_the_best_goes_on(strategy: str) -> None:
    search = make_search(strategy=strategy, epochs=3)
    lot = random.Random(1)
    for _ in range(20):
        final = [lot.uniform(0.1, 0.98) for _ in range(12)]
        curves = [[share * accuracy for share in (0.3, 0.5, 0.6, 0.8, 0.9, 1.0)] for accuracy in final]
        ended = follow(search, curves)
        assert not all(ended)
        assert not ended[final.index(max(final))]
        assert sum(ended) >= 4


def run_recorded(search: Search, curves: list[dict[str, Any]]) -> tuple[float, list[float]]:
    """Epochs trained in all, and what the trials that were not ended early reached."""
    records: list[Record] = []
    epochs, reached = 0.0, []
    for curve in curves:
        record = at()
        records.append(record)
        steps: list[Point | Epoch] = [Point(images, 1.0, accuracy) for images, accuracy in curve["points"]]
        steps += [
            Epoch(epoch=number, train_accuracy=trained, validation_accuracy=validated)
            for number, (trained, validated) in enumerate(curve["epochs"])
        ]
        spent, reason = 0.0, None
        for step in steps:
            if isinstance(step, Point):
                record.points.append(step)
                spent = step.images / search.dataset.num_training_samples
            else:
                record.trial = make_trial(0, history=(*record.trial.history, step))
                spent = step.epoch + 1
            reason = find_reason_to_stop(search, record, records)
            if reason:
                break
        epochs += spent
        if not reason:
            reached.append(max(validated for _, validated in curve["epochs"]))
    return epochs, reached


@pytest.mark.parametrize("strategy", ["random", "hyperband"])
def test_real_trainings_are_told_apart_for_a_third_of_their_cost(strategy: str) -> None:
    curves = json.loads(CURVES.read_text())["curves"]
    best = max(validated for curve in curves for _, validated in curve["epochs"])
    search = make_search(strategy=strategy, epochs=3)
    for seed in range(20):
        order = [*curves[:4], *random.Random(seed).sample(curves[4:], len(curves) - 4)]
        epochs, reached = run_recorded(search, order)
        assert epochs < 3 * len(curves) / 3
        assert max(reached) > best - 0.002
