"""Which hyperparameters the next trial gets.

Every suggestion is a function of the search, the trials so far and the trial's number: nothing is kept between two
suggestions, so that a resumed search continues exactly as it would have, and the same seed gives the same trials.

* All strategies but ``grid`` begin with the algorithm's own defaults, once for each optimizer.
* ``random`` and ``hyperband`` draw evenly along the axes of `axes.py`: ``random``, which has no prior, evenly over each
  range by its scaling.
* ``bayesian`` draws until there are `RANDOM_STARTS` trials, then asks TPE, Optuna's tree-structured Parzen estimator
  (Bergstra et al., 2011): one model over all hyperparameters of an optimizer together, one for the choice of it.
* ``grid`` goes over every combination, in an order that the seed shuffles, so that a part of it is a fair sample.
"""

import random
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kfp_image_tuning.engines.local.axes import Axis, make_axis
from kfp_image_tuning.engines.local.trial_records import Record
from kfp_image_tuning.search.grid import make_grid
from kfp_image_tuning.search.ranges import CategoricalRange
from kfp_image_tuning.search.search import Search

if TYPE_CHECKING:
    import optuna

RANDOM_STARTS = 8
"""Trials, defaults included, before a model of them says anything."""


@dataclass(frozen=True)
class Suggestion:
    """The tuned values of one trial, its optimizer among them, and who suggested them."""

    values: dict[str, Any]
    source: str


def suggest(search: Search, records: Sequence[Record]) -> Suggestion | None:
    """Suggest the next trial; None when every combination of a grid has been tried.

    Args:
        search: What is searched.
        records: All trials so far, by number, running ones too.
    """
    number, optimizers = len(records), search.space.optimizers
    if search.strategy == "grid":
        tried = [record.values for record in records]
        left = (values for values in shuffle_grid(search) if values not in tried)
        return next((Suggestion(values, "grid") for values in left), None)
    if number < len(optimizers):
        optimizer = optimizers[number]
        return Suggestion({**search.space.default_values(optimizer), "optimizer": optimizer}, "defaults")
    if search.strategy == "bayesian" and number >= max(RANDOM_STARTS, 2 * len(optimizers)):
        return Suggestion(_ask_model(search, records), "model")
    return Suggestion(_draw(search, number), "random")


def seed_of(search: Search, number: int) -> int:
    """The seed of a trial's suggestion and training."""
    return random.Random(f"{search.seed} {number}").getrandbits(31)


def shuffle_grid(search: Search) -> list[dict[str, Any]]:
    """Every combination of the grid, in the order of the trials: shuffled, so that a part of it is a fair sample.

    Raises:
        SearchSpaceError: If not even two steps of each range fit the budget.
    """
    grid = make_grid(search)
    random.Random(search.seed).shuffle(grid)
    return grid


def _dimensions(search: Search, optimizer: str) -> dict[str, Axis | CategoricalRange]:
    """What a strategy sees of what a trial with ``optimizer`` is given."""
    return {
        name: values if isinstance(values, CategoricalRange) else make_axis(search, optimizer, name, values)
        for name, values in search.trial_ranges(optimizer).items()
    }


def _draw(search: Search, number: int) -> dict[str, Any]:
    """Draw evenly along each axis; the optimizers take turns, so that none is left out of a short search."""
    lot = random.Random(seed_of(search, number))
    optimizer = search.space.optimizers[number % len(search.space.optimizers)]
    drawn: dict[str, Any] = {"optimizer": optimizer}
    for name, dimension in _dimensions(search, optimizer).items():
        if isinstance(dimension, CategoricalRange):
            drawn[name] = lot.choice(dimension.values)
        else:
            drawn[name] = dimension.to_value(lot.random())
    return drawn


def _ask_model(search: Search, records: Sequence[Record]) -> dict[str, Any]:
    """Let TPE suggest, out of what all trials have reached."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        # Grouping has been in Optuna for years and is still declared experimental.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(
            multivariate=True,
            group=True,
            constant_liar=True,
            n_startup_trials=0,
            seed=seed_of(search, len(records)),
        )
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.add_trials([_as_optuna_trial(search, record) for record in records])
    trial = study.ask()
    optimizer = trial.suggest_categorical("optimizer", search.space.optimizers)
    suggested: dict[str, Any] = {"optimizer": optimizer}
    for name, dimension in _dimensions(search, optimizer).items():
        parameter = _parameter_name(search, optimizer, name)
        if isinstance(dimension, CategoricalRange):
            suggested[name] = trial.suggest_categorical(parameter, dimension.values)
        else:
            suggested[name] = dimension.to_value(trial.suggest_float(parameter, 0.0, 1.0))
    return suggested


def _as_optuna_trial(search: Search, record: Record) -> "optuna.trial.FrozenTrial":
    """A trial in Optuna's terms. Optuna sees choices and coordinates from 0 to 1, nothing else."""
    import optuna

    optimizer = record.values["optimizer"]
    distributions: dict[str, optuna.distributions.BaseDistribution] = {
        "optimizer": optuna.distributions.CategoricalDistribution(search.space.optimizers)
    }
    parameters: dict[str, Any] = {"optimizer": optimizer}
    for name, dimension in _dimensions(search, optimizer).items():
        if name not in record.values:
            # The defaults of a flat search say nothing of what their optimizer does not use.
            continue
        parameter, value = _parameter_name(search, optimizer, name), record.values[name]
        if isinstance(dimension, CategoricalRange):
            distributions[parameter] = optuna.distributions.CategoricalDistribution(dimension.values)
            parameters[parameter] = value
        else:
            distributions[parameter] = optuna.distributions.FloatDistribution(0.0, 1.0)
            parameters[parameter] = dimension.to_coordinate(value)
    finished = record.trial.is_finished
    return optuna.trial.create_trial(
        state=optuna.trial.TrialState.COMPLETE if finished else optuna.trial.TrialState.RUNNING,
        value=record.score if finished else None,
        params=parameters,
        distributions=distributions,
    )


def _parameter_name(search: Search, optimizer: str, name: str) -> str:
    """Under which name a model knows a hyperparameter: each optimizer has its own, unless the search is flat."""
    return name if search.search_mode == "flat" else f"{optimizer}.{name}"
