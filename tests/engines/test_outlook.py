"""How long a search will take: the arithmetic."""

import pytest

from kfp_image_tuning.engines.outlook import Outlook
from kfp_image_tuning.search.budget import Budget
from kfp_image_tuning.search.result import Epoch, Trial, TrialStatus

NOW = 10_000.0


def trial(status: TrialStatus, began: float, *epochs: float, ended: float | None = None) -> Trial:
    """A trial that began so many seconds ago, with the times of its epochs."""
    history = tuple(Epoch(epoch=n, validation_accuracy=0.5, seconds=seconds) for n, seconds in enumerate(epochs))
    return Trial(
        name=f"trial-{began}",
        status=status,
        hyperparameters={},
        history=history,
        started_at=NOW - began,
        finished_at=None if ended is None else NOW - ended,
    )


def outlook(trials: int = 12, parallel: int = 2, epochs: int = 10, *, ends: bool = False, limit: float = 0) -> Outlook:
    return Outlook(
        budget=Budget(max_trials=trials, max_seconds=limit or None),
        max_epochs=epochs,
        max_trials=trials,
        parallel_trials=parallel,
        ends_bad_trials=ends,
    )


ONE_EPOCH = [trial("running", 3.1, 3.1), trial("running", 2.0)]


@pytest.mark.parametrize(
    ("seen", "trials", "used", "words"),
    [
        # 6 rounds of 31 s.
        (outlook(), ONE_EPOCH, 5.0, ["3.1 s", "12 trials of 10 epochs, 2 at a time", "take about 3 min 6 s."]),
        (outlook(ends=True), ONE_EPOCH, 5.0, ["about 3 min 6 s; early stopping makes it shorter."]),
        (outlook(parallel=1), ONE_EPOCH, 5.0, ["1 at a time", "about 6 min 12 s"]),
        # More places than trials: one round.
        (outlook(trials=3, parallel=8), ONE_EPOCH, 5.0, ["3 trials of 10 epochs, 3 at a time", "about 31 s"]),
        # A machine that took 100 s to come: 6 rounds of 131 s.
        (outlook(), [trial("running", 103.1, 3.1)], 110.0, ["about 13 min"]),
        # The time limit is the smaller one; what is used of it counts.
        (outlook(limit=65), ONE_EPOCH, 5.0, ["would take about 3 min 6 s; the time limit ends the search in 1 min."]),
        (outlook(limit=600, ends=True), ONE_EPOCH, 5.0, ["take about 3 min 6 s; early stopping"]),
        # A search that is continued with has four trials fewer to go.
        (
            outlook(),
            [*(trial("completed", 99, 3.1, ended=95.9) for _ in range(4)), *ONE_EPOCH],
            99.0,
            ["8 trials of 10 epochs", "about 2 min 4 s"],
        ),
        (
            outlook(1000, 1, 30),
            ONE_EPOCH,
            5.0,
            ["1,000 trials of 30 epochs", "about 25 h 50 min"],
        ),
    ],
)
def test_the_whole_search_is_told_in_advance(seen: Outlook, trials: list[Trial], used: float, words: list[str]) -> None:
    sentence = seen.describe(trials, used, NOW)
    assert sentence is not None
    for part in words:
        assert part in sentence


@pytest.mark.parametrize("trials", [[], [trial("running", 5.0)], [trial("failed", 9.0, ended=1.0)]])
def test_without_an_epoch_nothing_is_told(trials: list[Trial]) -> None:
    assert outlook().describe(trials, 5.0, NOW) is None
    assert outlook().seconds_left(trials, 5.0, NOW, 1) is None
    assert outlook(limit=60).seconds_left(trials, 5.0, NOW, 1) == 55.0


def test_time_left_goes_by_whole_trials_as_soon_as_one_is_known() -> None:
    # Ten trials to come, two that have 27.9 s and 29 s to go; two at a time.
    assert outlook().seconds_left(ONE_EPOCH, 5.0, NOW, 1) == pytest.approx((310 + 27.9 + 29.0) / 2)
    # One whole trial of 20 s and one that was ended after 10 s: 15 s each. Nine to come, one that has just begun.
    ended = [trial("completed", 40, 2.0, ended=20), trial("early_stopped", 20, 2.0, ended=10), trial("running", 0)]
    assert outlook().seconds_left(ended, 40.0, NOW, 2) == pytest.approx((9 * 15 + 15) / 2)
    assert outlook(limit=50).seconds_left(ended, 40.0, NOW, 2) == 10.0


def test_done_is_the_larger_part_of_trials_and_time() -> None:
    trials = [trial("completed", 40, 1.0, ended=20), trial("running", 20, 1.0, 1.0)]
    assert outlook().done(trials, 40.0) == pytest.approx(1.2 / 12)
    assert outlook(limit=80).done(trials, 40.0) == 0.5
    assert outlook(limit=30).done(trials, 40.0) == 1.0
