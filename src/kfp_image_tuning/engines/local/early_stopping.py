"""Which trials are ended early, since others did better at the same point of their training.

Compared are only trials that have seen the same number of images.

* At *rungs*, a half, a quarter, an eighth, … of a whole training (``hyperband``: a third, a ninth, …), a trial goes
  on if it is among the best half (third) of all that got there: asynchronous successive halving (Li et al., 2020).
* At every other point of the first epoch a trial ends if it is *hopeless*: if it has learned less than half of what
  the median of the others had learned, above chance.

In the first epoch the measure is accuracy on the images trained on so far. Each of them is new to the network, so this
is an honest estimate; it costs nothing, and it knows no lag of running statistics, which makes validation jump about in
the first epochs of a training. After later epochs a trial continues if either its training or its best validation
accuracy is among the best.

The first trials to reach a point have nobody to be compared with and pass, so never all are ended.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from kfp_image_tuning.engines.local.trial_records import Point, Record
from kfp_image_tuning.search.search import Search

HOPELESS = 0.5
"""Share of what others have learned."""
DEVIATIONS = 3
"""Standard deviations of the number of right answers that are no accident."""
SMALLEST_RUNG = 1 / 27
"""Share of a training before which nothing is compared but the hopeless."""
PEERS = 2
"""Trials that must have passed a rung before one is ended there."""


def find_reason_to_stop(search: Search, record: Record, records: Sequence[Record]) -> str | None:
    """Why a trial that has just told of a point or an epoch should end; None: it continues.

    Args:
        search: What is searched.
        record: The trial, the news included.
        records: All trials.
    """
    if not (search.stop_bad_trials or search.strategy == "hyperband"):
        return None
    others = [other for other in records if other is not record]
    if len(record.trial.history) > 1:
        return _compare_epochs(search, record, others)
    return _compare_points(search, record, others)


def reduction(search: Search) -> int:
    """Of how many trials one passes a rung."""
    return 3 if search.strategy == "hyperband" else 2


def find_rungs(search: Search) -> list[float]:
    """The rungs in epochs, the last first."""
    rungs = []
    share = 1 / reduction(search)
    while share >= SMALLEST_RUNG:
        rungs.append(share * search.max_epochs)
        share /= reduction(search)
    return rungs


def _compare_points(search: Search, record: Record, others: Sequence[Record]) -> str | None:
    """Compare within, or at the end of, the first epoch."""
    points = _points(search, record)
    *_, before, now = [Point(0, 0.0, 0.0), *points]
    peers = sorted(
        (found for other in others if (found := _accuracy_at(search, other, now.images)) is not None), reverse=True
    )
    if not peers:
        return None
    told = f"right on {now.accuracy:.0%} of the first {now.images} images"
    usual = median(peers)
    if _is_hopeless(search, now, usual):
        return f"{told}, others on {usual:.0%}"
    size = search.dataset.num_training_samples
    at_rung = any(before.images < rung * size <= now.images for rung in find_rungs(search) if rung <= 1)
    if at_rung and not _passes(search, now.accuracy, peers):
        return f"{told}, the best of {len(peers)} others on {peers[0]:.0%}"
    return None


def _is_hopeless(search: Search, point: Point, usual: float) -> bool:
    """Whether a trial has learned so much less than usual that it is no accident of so few images."""
    chance = 0.0 if search.dataset.multi_label else 1 / search.dataset.num_classes
    deviation = math.sqrt(usual * (1 - usual) / point.images)
    limit = min(chance + HOPELESS * (usual - chance), usual - DEVIATIONS * deviation)
    return point.accuracy < limit


def _compare_epochs(search: Search, record: Record, others: Sequence[Record]) -> str | None:
    """Compare after a later epoch."""
    epochs = len(record.trial.history)
    if epochs not in {math.ceil(rung) for rung in find_rungs(search)}:
        return None
    peers = [other for other in others if len(other.trial.history) >= epochs]
    reached = sorted((_best_validation(peer, epochs) for peer in peers), reverse=True)
    trained = sorted((_training(peer, epochs) for peer in peers), reverse=True)
    own = _best_validation(record, epochs)
    if _passes(search, own, reached) or _passes(search, _training(record, epochs), trained):
        return None
    return f"validation:accuracy {own:.4f} after epoch {epochs - 1}, the best of {len(peers)} others {reached[0]:.4f}"


def _passes(search: Search, own: float, peers: Sequence[float]) -> bool:
    """Whether a trial is among the best half or third of itself and its peers, best first. Equals pass together."""
    if len(peers) < PEERS:
        return True
    passing = math.ceil((len(peers) + 1) / reduction(search))
    return own >= peers[passing - 1]


def _points(search: Search, record: Record) -> list[Point]:
    """How a trial went through its first epoch, the end included if it got there."""
    points = list(record.points)
    if record.trial.history:
        first = record.trial.history[0]
        points.append(Point(search.dataset.num_training_samples, first.train_loss or 0.0, first.train_accuracy or 0.0))
    return points


def _accuracy_at(search: Search, record: Record, images: int) -> float | None:
    """The accuracy that a trial had over its first so many images, between the points that it told of."""
    for before, after in pairwise([Point(0, 0.0, 0.0), *_points(search, record)]):
        if before.images < images <= after.images:
            way = (images - before.images) / (after.images - before.images)
            right = (1 - way) * before.accuracy * before.images + way * after.accuracy * after.images
            return right / images
    return None


def _best_validation(record: Record, epochs: int) -> float:
    return max(epoch.validation_accuracy for epoch in record.trial.history[:epochs])


def _training(record: Record, epochs: int) -> float:
    return record.trial.history[epochs - 1].train_accuracy or 0.0
