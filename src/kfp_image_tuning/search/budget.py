"""What a search may cost, and when it is over.

The limits carry the names of Amazon SageMaker's ResourceLimits and TuningJobCompletionCriteria in plain words; every
engine stops for the same reasons, decided here.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from kfp_image_tuning.core.errors import BudgetError
from kfp_image_tuning.core.wording import duration
from kfp_image_tuning.search.result import Trial


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The limits of a search; whichever is reached first ends it.

    Attributes:
        max_trials: Trials in all, whatever becomes of them; at least 1.
        parallel_trials: Trials at a time; None: as many as the engine has room for.
        max_failed_trials: Failed trials that are tolerated; one more ends the search. None: a quarter of
            ``max_trials``, at least 3.
        max_seconds: Wall time of the search in seconds; None: no limit. Trials that run when it is over keep their
            best epoch.
        target_objective: Objective at which the search is good enough, 0 to 1; None: never.
        patience: Finished trials in a row without a better one; at least 3 (SageMaker's own
            minimum).
            None: no limit.

    Raises:
        BudgetError: With every limit that is out of its range.
    """

    max_trials: int = 20
    parallel_trials: int | None = None
    max_failed_trials: int | None = None
    max_seconds: float | None = None
    target_objective: float | None = None
    patience: int | None = None

    def __post_init__(self) -> None:
        problems = []
        if self.max_trials < 1:
            problems.append(f"max_trials: at least 1, got {self.max_trials}")
        if self.parallel_trials is not None and self.parallel_trials < 1:
            problems.append(f"parallel_trials: at least 1, got {self.parallel_trials}")
        if self.max_failed_trials is not None and self.max_failed_trials < 0:
            problems.append(f"max_failed_trials: at least 0, got {self.max_failed_trials}")
        if self.max_seconds is not None and self.max_seconds <= 0:
            problems.append(f"max_seconds: more than 0 seconds, got {self.max_seconds}")
        if self.target_objective is not None and not 0 < self.target_objective <= 1:
            problems.append(f"target_accuracy: above 0 and at most 1 (0.97 is 97 %), got {self.target_objective}")
        if self.patience is not None and self.patience < 3:
            problems.append(f"patience: at least 3, got {self.patience}")
        if problems:
            raise BudgetError.from_problems(problems)

    @property
    def failures_tolerated(self) -> int:
        """Failed trials that do not end the search."""
        return max(3, self.max_trials // 4) if self.max_failed_trials is None else self.max_failed_trials

    def reason_to_stop(self, trials: Sequence[Trial], seconds: float) -> str | None:
        """Why the search is over, or None while it may continue.

        Args:
            trials: All trials so far, in the order of their start.
            seconds: Wall time that the search has used.
        """
        finished = [trial for trial in trials if trial.is_finished]
        failed = [trial for trial in finished if trial.status == "failed"]
        if self.max_seconds is not None and seconds >= self.max_seconds:
            return f"the time limit of {duration(self.max_seconds)} is reached"
        if len(failed) > self.failures_tolerated:
            count = f"{len(failed)} trials failed, {self.failures_tolerated} are tolerated"
            return f"{count}; the last: {failed[-1].failure_reason}"
        best = max((t.objective for t in finished if t.objective is not None), default=None)
        if self.target_objective is not None and best is not None and best >= self.target_objective:
            return f"the target {self.target_objective:g} is reached"
        patience = self.patience
        if patience is not None and best is not None and _trials_since_best(finished) >= patience:
            return f"{patience} trials in a row brought no improvement"
        if len(finished) >= self.max_trials:
            return f"all {self.max_trials} trials are done"
        return None

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Self:
        """Read the JSON form."""
        return cls(**document)


def _trials_since_best(finished: Sequence[Trial]) -> int:
    """Finished trials after the best one, in the order of their end."""
    in_order = sorted(finished, key=lambda trial: trial.finished_at or 0.0)
    best, since = float("-inf"), 0
    for trial in in_order:
        if trial.objective is not None and trial.objective > best:
            best, since = trial.objective, 0
        else:
            since += 1
    return since
