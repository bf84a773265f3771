"""When a search is over."""

import re

import pytest

from kfp_image_tuning.core.errors import BudgetError
from kfp_image_tuning.search.budget import Budget
from kfp_image_tuning.search.result import Trial


def trials(*objectives: float | None) -> tuple[Trial, ...]:
    """Finished trials in order; None is a failed one."""
    return tuple(
        Trial(
            name=f"trial-{number}",
            status="failed" if objective is None else "completed",
            hyperparameters={},
            objective=objective,
            started_at=float(number),
            finished_at=number + 0.5,
            failure_reason="out of memory" if objective is None else None,
        )
        for number, objective in enumerate(objectives)
    )


ENDINGS = [
    ("nothing yet", Budget(), (), 0, None),
    ("continues", Budget(max_trials=3), trials(0.5, 0.6), 10, None),
    ("trials done", Budget(max_trials=2), trials(0.5, 0.6), 10, "all 2 trials are done"),
    ("time", Budget(max_seconds=60), trials(0.5), 61, "time limit of 1 min"),
    ("target", Budget(target_objective=0.6), trials(0.5, 0.6), 1, "target 0.6 is reached"),
    ("failures tolerated", Budget(max_failed_trials=1), trials(None, 0.5), 1, None),
    (
        "too many failures",
        Budget(max_failed_trials=1),
        trials(None, None),
        1,
        "2 trials failed, 1 are tolerated.*out of memory",
    ),
    ("default failures", Budget(max_trials=20), trials(*[None] * 6), 1, "6 trials failed, 5 are tolerated"),
    ("no improvement", Budget(patience=3), trials(0.5, 0.4, 0.5, 0.3), 1, "3 trials in a row"),
    ("improvement late", Budget(patience=3), trials(0.5, 0.4, 0.4, 0.6), 1, None),
]


@pytest.mark.parametrize(("name", "budget", "so_far", "seconds", "reason"), ENDINGS, ids=[case[0] for case in ENDINGS])
def test_a_search_ends_when_a_limit_is_reached(
    name: str, budget: Budget, so_far: tuple[Trial, ...], seconds: float, reason: str | None
) -> None:
    found = budget.reason_to_stop(so_far, seconds)
    assert found is None if reason is None else re.search(reason, found or "")


def test_every_limit_out_of_range_is_reported() -> None:
    with pytest.raises(BudgetError) as caught:
        Budget(
            max_trials=0,
            parallel_trials=0,
            max_failed_trials=-1,
            max_seconds=0,
            target_objective=97,
            patience=1,
        )
    assert len(caught.value.problems) == 6
    assert "0.97 is 97 %" in str(caught.value)


def test_json_round_trip() -> None:
    budget = Budget(max_trials=7, target_objective=0.9)
    assert Budget.from_dict(budget.to_dict()) == budget
