"""What every tuning step does with the plan of its engine."""

from collections.abc import Callable
from pathlib import Path

from kfp_image_tuning.core.console import say
from kfp_image_tuning.core.errors import EngineError
from kfp_image_tuning.core.wording import count
from kfp_image_tuning.engines.protocol import Engine, EnginePlan
from kfp_image_tuning.engines.run import run_search
from kfp_image_tuning.search.result import TuningResult


def run_plan(
    engine: Engine[EnginePlan],
    plan: EnginePlan,
    command: str,
    result: str,
    *,
    after_stop: Callable[[TuningResult], str],
    keep: Callable[[TuningResult], TuningResult] = lambda found: found,
) -> TuningResult:
    """Run a planned search to its result document.

    Args:
        engine: Where trials run.
        plan: What it planned.
        command: What to type to run the same search again.
        result: File that gets the result document.
        after_stop: What a search that was stopped leaves behind, and how it continues.
        keep: Makes of the result what stays of it.

    Raises:
        EngineError: If the search was stopped from outside, or ended without a model.
    """
    found = keep(run_search(engine, plan, Path(result), reproduction_command=command, show=say))
    if found.status == "stopped":
        trials = count(len(found.trials), "trial")
        raise EngineError(f"the search was {found.stop_reason} after {trials}; {after_stop(found)}")
    return found
