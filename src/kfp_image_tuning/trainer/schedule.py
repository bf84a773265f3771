"""When the learning rate drops and when a training that no longer improves ends."""

from collections.abc import Sequence

from kfp_image_tuning.search.hyperparameters import Hyperparameters


class LearningRateSchedule:
    """``lr_scheduler_step`` and ``lr_scheduler_factor``, counted in updates as MXNet's scheduler counts them.

    An epoch has ``num_training_samples // mini_batch_size`` updates here, whatever the data set holds: as in the
    algorithm, a wrong ``num_training_samples`` moves the drops.
    """

    def __init__(self, hyperparameters: Hyperparameters) -> None:
        updates_per_epoch = max(1, hyperparameters.num_training_samples // hyperparameters.mini_batch_size)
        self._drops = [updates_per_epoch * epoch for epoch in hyperparameters.lr_scheduler_step or ()]
        self._first = hyperparameters.learning_rate
        self._factor = hyperparameters.lr_scheduler_factor

    def at(self, update: int) -> float:
        """The learning rate of an update, from 1."""
        rate = self._first
        for drop in self._drops:
            if update > drop:
                rate *= self._factor
        return rate


def should_stop_early(hyperparameters: Hyperparameters, accuracies: Sequence[float]) -> bool:
    """Whether ``early_stopping`` and its three parameters end a training here.

    An epoch improves if its accuracy is above the best before it, by at least ``early_stopping_tolerance`` of that
    best. Training ends when ``early_stopping_patience`` epochs in a row did not, but never before
    ``early_stopping_min_epochs`` epochs.

    Args:
        hyperparameters: The trial's.
        accuracies: On validation, of every epoch so far.
    """
    if not hyperparameters.early_stopping or len(accuracies) < hyperparameters.early_stopping_min_epochs:
        return False
    best, waited = 0.0, 0
    for accuracy in accuracies:
        improved = accuracy > best and accuracy - best >= hyperparameters.early_stopping_tolerance * best
        waited = 0 if improved else waited + 1
        best = max(best, accuracy)
    return waited >= hyperparameters.early_stopping_patience
