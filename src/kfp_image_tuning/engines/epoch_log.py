"""The epochs that a training writes into its log: ``Epoch[3] Validation-accuracy=0.9312``.

The built-in algorithm of SageMaker and our trainer write the same lines.
"""

import re
from contextlib import suppress

from kfp_image_tuning.search.result import Epoch

VALIDATION_ACCURACY, TRAIN_ACCURACY, SECONDS = "Validation-accuracy", "Train-accuracy", "Time cost"
_LINE = re.compile(rf"Epoch\[(\d+)\] ({VALIDATION_ACCURACY}|{TRAIN_ACCURACY}|{SECONDS})=([0-9.eE+-]+)")


class EpochLog:
    """What a log has told so far."""

    def __init__(self) -> None:
        self._numbers: dict[int, dict[str, float]] = {}

    def read(self, text: str) -> bool:
        """Take in more of the log, whole lines in any order and as often as they come; whether an epoch is new."""
        before = len(self.history)
        for number, name, value in _LINE.findall(text):
            with suppress(ValueError):
                self._numbers.setdefault(int(number), {})[name] = float(value)
        return len(self.history) > before

    @property
    def history(self) -> tuple[Epoch, ...]:
        """The epochs that came to their end, in order."""
        return tuple(
            Epoch(
                epoch=epoch,
                validation_accuracy=values[VALIDATION_ACCURACY],
                train_accuracy=values.get(TRAIN_ACCURACY),
                seconds=values.get(SECONDS),
            )
            for epoch, values in sorted(self._numbers.items())
            if VALIDATION_ACCURACY in values
        )
