"""What every tuning component puts out, whatever engine ran the search: the same names, the same types."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from kfp_image_tuning.core.errors import EngineError
from kfp_image_tuning.search.result import TuningResult


@dataclass(frozen=True)
class TuningOutcome:
    """A search's outcome in the form in which KFP passes it on.

    Attributes:
        best_objective: Validation accuracy of the best trial.
        best_hyperparameters: Its hyperparameters.
        best_trial: Its name.
        metrics: Numbers by which runs are compared; all finite.
        model_metadata: What the console shows beside the model: text and numbers alone, because of anything else KFP's
            backend makes another form on the way to the next step; hyperparameters are JSON text.
    """

    best_objective: float
    best_hyperparameters: dict[str, Any]
    best_trial: str
    metrics: Mapping[str, float]
    model_metadata: Mapping[str, str | float]

    @classmethod
    def of(cls, result: TuningResult) -> Self:
        """The outcome of a search that has a best trial.

        Raises:
            EngineError: If it has none.
        """
        best = result.best_trial
        if best is None or best.objective is None:
            raise EngineError(f"the search has no best trial: {result.stop_reason}")
        counts = dict.fromkeys(("completed", "early_stopped", "failed", "stopped"), 0)
        for trial in result.trials:
            if trial.status in counts:
                counts[trial.status] += 1
        return cls(
            best_objective=best.objective,
            best_hyperparameters=dict(best.hyperparameters),
            best_trial=best.name,
            metrics={
                "validation_accuracy": best.objective,
                "trials": float(len(result.trials)),
                **{f"trials_{status}": float(count) for status, count in counts.items()},
                "seconds": result.seconds,
            },
            model_metadata={
                "framework": "pytorch",
                "hyperparameters": json.dumps(dict(best.hyperparameters), sort_keys=True),
                "objective_metric": "validation:accuracy",
                "objective_value": best.objective,
                "engine": result.engine,
            },
        )
