"""Which trials are ended early, since others did better at the same point of their training.

Compared are always trials that have seen the same number of images. Two points are looked at:

* *within the first epoch*, the accuracy on the images trained on so far. It says little about good trials, and much about hopeless ones:
  a trial ends when it has learned less than `HOPELESS` of what the median of its peers had learned above chance.
* *after an epoch* the best validation accuracy so far. A trial goes on if it is among the better half (``hyperband``: the best third, after
  1, 3, 9, … epochs: asynchronous successive halving, Li et al., 2020) of the trials that got so far.

The first trials to reach a point have nobody to be compared with and pass, so never all are ended.
"""

from collections.abc import Sequence
from statistics import median

from kfp_image_tuning.components.local_tuning.records import Point, Record
from kfp_image_tuning.tuning.search import Search

HOPELESS = 0.5
PEERS = 3
"""Trials that must have passed a point before anyone is ended there."""


def find_reason_to_stop(search: Search, record: Record, records: Sequence[Record]) -> str | None:
    """Why a trial that has just told of a point or an epoch should end; None: it goes on.

    Args:
        search: What is searched.
        record: The trial, the news included.
        records: All trials.
    """
    if not (search.stop_bad_trials or search.strategy == "hyperband"):
        return None
    others = [other for other in records if other is not record]
    if record.trial.history:
        return _compare_epochs(search, record, others)
    return _compare_points(search, record.points[-1], others)


def _compare_points(search: Search, point: Point, others: Sequence[Record]) -> str | None:
    chance = 1 / search.dataset.num_classes
    peers = [found for other in others if (found := _accuracy_at(other, point.images)) is not None]
    if len(peers) < PEERS:
        return None
    usual = median(peers)
    if point.accuracy - chance < HOPELESS * (usual - chance):
        return f"right on {point.accuracy:.0%} of the first {point.images} images, others on {usual:.0%}"
    return None


def _accuracy_at(record: Record, images: int) -> float | None:
    """The accuracy that a trial had over its first so many images, between the points that it told of."""
    known = [Point(0, 0.0, 0.0), *record.points]
    for before, after in zip(known, known[1:], strict=False):
        if before.images < images <= after.images:
            way = (images - before.images) / (after.images - before.images)
            right = (1 - way) * before.accuracy * before.images + way * after.accuracy * after.images
            return right / images
    return None


def _compare_epochs(search: Search, record: Record, others: Sequence[Record]) -> str | None:
    epochs = len(record.trial.history)
    if search.strategy == "hyperband" and epochs not in (1, 3, 9, 27, 81, 243):
        return None
    reached = sorted(
        (_best_until(other, epochs) for other in others if len(other.trial.history) >= epochs), reverse=True
    )
    if len(reached) < PEERS:
        return None
    passing = (len(reached) + 1) // (3 if search.strategy == "hyperband" else 2)
    own = _best_until(record, epochs)
    if own < reached[passing - 1]:
        return f"validation:accuracy {own:.4f} after epoch {epochs - 1}, {passing} others had {reached[passing - 1]:.4f} or more"
    return None


def _best_until(record: Record, epochs: int) -> float:
    return max(epoch.validation_accuracy for epoch in record.trial.history[:epochs])
