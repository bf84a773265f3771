"""Katib's search algorithms: what each can and cannot take of our search space, and the settings that it knows.

    random, tpe             hyperopt     uniform and logUniform
    multivariate-tpe        Optuna       uniform and logUniform
    grid                    Optuna       lists of values; no more trials than combinations
    bayesianoptimization    skopt        real numbers always logarithmically, so none may be 0; whole numbers uniformly
    cmaes, sobol            goptuna      uniform only; cmaes needs two numbers at least
    hyperband               Katib        uniform only; sets the epochs; starts a whole bracket at once

As found by running the suggestion services of Katib 0.19 on the documented ranges.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from kfp_image_tuning.core.errors import BudgetError
from kfp_image_tuning.search.search import Strategy

Prior = Literal["uniform", "log_uniform", "list"]
"""How an algorithm treats a number: as its distribution says where it knows both, otherwise always in this way."""


@dataclass(frozen=True)
class SettingRule:
    """What a suggestion service accepts for one setting.

    Attributes:
        kind: Of the number or word.
        minimum: Smallest number.
        above: The number must be above the minimum.
        below: The number must be below this.
        choices: The accepted words.
    """

    kind: Literal["integer", "float", "choice"]
    minimum: float = -math.inf
    above: bool = False
    below: float = math.inf
    choices: tuple[str, ...] = ()

    def accepts(self, text: str) -> bool:
        """Whether the service would take ``text``."""
        if self.kind == "choice":
            return text in self.choices
        try:
            number = int(text) if self.kind == "integer" else float(text)
        except ValueError:
            return False
        return (number > self.minimum if self.above else number >= self.minimum) and number < self.below

    def describe(self) -> str:
        """The rule in words."""
        if self.kind == "choice":
            return "one of " + ", ".join(self.choices)
        noun = "a whole number" if self.kind == "integer" else "a number"
        lower = "" if self.minimum == -math.inf else f" {'above' if self.above else 'of at least'} {self.minimum:g}"
        return noun + lower + ("" if self.below == math.inf else f" and below {self.below:g}")


_SEED = SettingRule("integer", 0)
_COUNT = SettingRule("integer", 0, above=True)


@dataclass(frozen=True)
class Algorithm:
    """One algorithm.

    Attributes:
        real_priors: How it can treat real numbers.
        integer_priors: How it can treat whole numbers.
        settings: The settings that its service knows.
        least_numbers: Numeric parameters that it needs.
        allows_early_stopping: Whether ended trials do not confuse it.
        can_go_on: Whether a new Experiment can add trials to those of one that is gone: one that follows a list from
            its beginning would make the same again.
    """

    real_priors: tuple[Prior, ...] = ("uniform",)
    integer_priors: tuple[Prior, ...] = ("uniform",)
    settings: Mapping[str, SettingRule] = field(default_factory=dict)
    least_numbers: int = 0
    allows_early_stopping: bool = True
    can_go_on: bool = True

    @property
    def takes_seed(self) -> bool:
        """Whether the search can be repeated."""
        return "random_state" in self.settings


_BOTH: tuple[Prior, ...] = ("uniform", "log_uniform")

ALGORITHMS: Mapping[str, Algorithm] = {
    "random": Algorithm(_BOTH, _BOTH, {"random_state": _SEED}),
    "grid": Algorithm(("list",), ("list",), {"random_state": _SEED}, can_go_on=False),
    "tpe": Algorithm(
        _BOTH,
        _BOTH,
        {
            "gamma": SettingRule("float", 0, above=True, below=1),
            "prior_weight": SettingRule("float", 0, above=True),
            "n_EI_candidates": _COUNT,
            "random_state": _SEED,
        },
    ),
    "multivariate-tpe": Algorithm(
        _BOTH, _BOTH, {"n_startup_trials": _COUNT, "n_ei_candidates": _COUNT, "random_state": _SEED}
    ),
    "bayesianoptimization": Algorithm(
        ("log_uniform",),
        ("uniform",),
        {
            "base_estimator": SettingRule("choice", choices=("GP", "RF", "ET", "GBRT")),
            "n_initial_points": SettingRule("integer", 0),
            "acq_func": SettingRule("choice", choices=("gp_hedge", "LCB", "EI", "PI", "EIps", "PIps")),
            "acq_optimizer": SettingRule("choice", choices=("auto", "sampling", "lbfgs")),
            "random_state": _SEED,
        },
    ),
    "cmaes": Algorithm(
        settings={
            "sigma": SettingRule("float", 0, above=True),
            "restart_strategy": SettingRule("choice", choices=("none", "ipop", "bipop")),
            "random_state": _SEED,
        },
        least_numbers=2,
    ),
    "sobol": Algorithm(can_go_on=False),
    "hyperband": Algorithm(
        settings={
            "resource_name": SettingRule("choice", choices=("epochs",)),
            "r_l": SettingRule("float", 0, above=True),
            "eta": SettingRule("integer", 1, above=True),
        },
        allows_early_stopping=False,
        can_go_on=False,
    ),
}

STRATEGY_ALGORITHMS: Mapping[Strategy, str] = {
    "bayesian": "multivariate-tpe",
    "random": "random",
    "grid": "grid",
    "hyperband": "hyperband",
}
"""What a search's strategy becomes on Katib. Of the Bayesian ones the multivariate TPE learns how hyperparameters act
together, and takes every range as it is."""


def smallest_bracket(epochs: float, eta: int) -> int:
    """Trials that Hyperband starts at once: Katib refuses an Experiment with a smaller ``parallelTrialCount``."""
    halvings = _halvings(epochs, eta)
    return int(eta**halvings)


def count_hyperband_trials(epochs: float, eta: int) -> int:
    """Trials of all of Hyperband's brackets; those that continue are trained again with more epochs and count again."""
    most = _halvings(epochs, eta)
    total = 0
    for halvings in range(most, -1, -1):
        trials = math.ceil((most + 1) * eta**halvings / (halvings + 1))
        for _ in range(halvings + 1):
            total += trials
            trials = math.ceil(trials / eta)
    return total


def choose_eta(epochs: int, limit: int) -> int:
    """The share of trials (one of eta) that Hyperband lets continue: 3 as in its paper, or the next that fits.

    Args:
        epochs: Of a whole trial.
        limit: Trials at a time, at most.

    Raises:
        BudgetError: If no bracket fits.
    """
    etas: list[int] = [*range(3, epochs + 1), 2] if epochs >= 2 else []
    for eta in etas:
        if smallest_bracket(epochs, eta) <= limit:
            return eta
    if not etas:
        raise BudgetError(f"hyperband: needs at least 2 epochs to stop trials early, got {epochs}; allow more epochs")
    least = min(smallest_bracket(epochs, eta) for eta in etas)
    raise BudgetError(
        f"hyperband: on Katib it starts at least {least} trials at once for {epochs} epochs, the budget has room for "
        f'{limit}; raise parallel_trials (and max_trials) to {least}, allow fewer epochs, or use strategy "bayesian"'
    )


def _halvings(epochs: float, eta: int) -> int:
    # Computed as Katib's service does, rounding errors included.
    return int(math.log(epochs) / math.log(eta))
