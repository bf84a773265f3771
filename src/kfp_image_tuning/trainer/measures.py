"""Loss and accuracies, summed on the device so that no step waits for its numbers."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Measures:
    """Averages over the images seen.

    Attributes:
        loss: Mean cross-entropy; for several labels, binary and averaged over the classes.
        accuracy: Share of right answers; for several labels, averaged over the classes.
        top_k_accuracy: Fraction of images whose class is among the k most probable; None if not asked for.
    """

    loss: float
    accuracy: float
    top_k_accuracy: float | None


class RunningMeasures:
    """Sums over batches.

    Args:
        device: Where the sums live.
        top_k: Count the images whose class is among this many most probable.
    """

    def __init__(self, device: torch.device, top_k: int | None) -> None:
        self._top_k = top_k
        self._sums = torch.zeros(4, dtype=torch.float64, device=device)

    @torch.no_grad()
    def add(self, logits: Tensor, labels: Tensor, loss: Tensor) -> None:
        """Count a batch, ``loss`` being its sum over images. An answer that is not a finite number is wrong."""
        self._sums[0] += loss
        self._sums[1] += count_right(logits, labels)
        if self._top_k is not None:
            self._sums[2] += count_top_k(logits, labels, self._top_k)
        self._sums[3] += len(labels)

    def read(self) -> Measures:
        """Give the averages so far, over all processes where there are several; waits for the device."""
        sums = self._sums
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            sums = sums.clone()
            torch.distributed.all_reduce(sums)
        loss, right, top_k, count = sums.tolist()
        return Measures(loss / count, right / count, top_k / count if self._top_k is not None else None)


def sum_loss(logits: Tensor, labels: Tensor, weights: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Cross-entropy summed over the images.

    Args:
        logits: ``[N, classes]``.
        labels: Class numbers ``[N]``, or multi-hot ``[N, classes]``: then binary, averaged over the classes.
        weights: What presence and absence of each class count, for several labels (`class_weights`).
    """
    logits = logits.float()
    if labels.ndim == 1:
        return F.cross_entropy(logits, labels, reduction="sum")
    losses = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    if weights is not None:
        presence, absence = weights
        losses = losses * torch.where(labels > 0.5, presence, absence)
    return losses.mean(dim=1).sum()


def class_weights(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Weights N / 2n for the n of N images that have (lack) a class: in all, both sides weigh the same."""
    count, present = len(labels), (labels > 0.5).sum(dim=0)
    absent = count - present
    return count / (2.0 * present.clamp(min=1)), count / (2.0 * absent.clamp(min=1))


def count_right(logits: Tensor, labels: Tensor) -> Tensor:
    """Number of right answers; for several labels, each image counts by its share of right classes."""
    if labels.ndim == 1:
        right = (logits.argmax(dim=1) == labels) & logits.isfinite().all(dim=1)
        return right.sum()
    right = ((logits > 0) == (labels > 0.5)) & logits.isfinite()
    return right.float().mean(dim=1).sum()


def count_top_k(logits: Tensor, labels: Tensor, top_k: int) -> Tensor:
    """Number of images of which a true class is among the k most probable."""
    best = logits.topk(top_k, dim=1).indices
    hits = best == labels[:, None] if labels.ndim == 1 else labels.gather(1, best) > 0.5
    return (hits.any(dim=1) & logits.isfinite().all(dim=1)).sum()
