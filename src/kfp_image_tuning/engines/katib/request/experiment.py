"""A search as Katib Experiments (``kubeflow.org/v1beta1``), as plain data.

A flat search is one Experiment. Katib knows no conditional hyperparameters, so a conditional search is one Experiment
for each optimizer, with just what that optimizer uses. They are started together, end in one result, and share the
budget by one rule: evenly, and what cannot be split goes to the optimizers that stand first.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from kfp_image_tuning.core.errors import BudgetError, SearchSpaceError
from kfp_image_tuning.engines.epoch_log import TRAIN_ACCURACY, VALIDATION_ACCURACY
from kfp_image_tuning.engines.katib.request.algorithms import (
    ALGORITHMS,
    STRATEGY_ALGORITHMS,
    choose_eta,
    smallest_bracket,
)
from kfp_image_tuning.engines.katib.request.names import (
    COUNTS,
    FINGERPRINT_ANNOTATION,
    base_name,
    digest_of,
    fingerprint_of,
    labels_of,
)
from kfp_image_tuning.engines.katib.request.options import KatibOptions
from kfp_image_tuning.engines.katib.request.parameters import (
    TunedParameter,
    choose_parameters,
    count_combinations,
    encode_trial,
)
from kfp_image_tuning.engines.katib.request.trial_pod import build_environment
from kfp_image_tuning.engines.katib.request.trial_template import build_trial_template
from kfp_image_tuning.search.grid import choose_steps
from kfp_image_tuning.search.hyperparameter_table import Value
from kfp_image_tuning.search.ranges import IntegerRange
from kfp_image_tuning.search.search import DATA_FACTS, Search
from kfp_image_tuning.search.search_space import SearchSpace

API_VERSION = "kubeflow.org/v1beta1"
METRICS_FILTER = r"([\w|-]+)\s*=\s*([+-]?\d+(\.\d+)?([Ee][+-]?\d+)?)"
"""Katib's own filter, but with a digit at least: the collector dies of what is not a number, such as ``nan``."""
USUAL_PARALLEL_TRIALS = 3
"""Katib's own default."""
MEDIAN_STOP_TRIALS = 3
"""Finished trials that the median is taken of, at least (``min_trials_required``; Katib's default)."""
MEDIAN_STOP_EPOCH = 4
"""Epoch after which it acts (``start_step``; Katib's default)."""


@dataclass(frozen=True)
class PlannedExperiment:
    """One Experiment, and what reads its trials.

    Attributes:
        space: What it searches: all optimizers, or one.
        parameters: What Katib tunes.
        document: The Experiment.
    """

    space: SearchSpace
    parameters: tuple[TunedParameter, ...]
    document: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.document["metadata"]["name"])

    @property
    def max_trials(self) -> int:
        """Trials that it is to have."""
        return int(self.document["spec"]["maxTrialCount"])

    def after(self, trials: int) -> Self:
        """What is left of it when Experiments that are gone have made some of its trials.

        Its seed moves on, or the same suggestions would come again; it is the same search by its fingerprint.

        Args:
            trials: How many; fewer than all.
        """
        document = json.loads(json.dumps(self.document))
        spec = document["spec"]
        for name in COUNTS:
            spec[name] = min(spec[name], self.max_trials - trials)
        for setting in spec["algorithm"].get("algorithmSettings", ()):
            if setting["name"] == "random_state":
                setting["value"] = str(int(setting["value"]) + trials)
        return replace(self, document=document)

    def decode(self, assignments: Mapping[str, str]) -> dict[str, Value]:
        """The tuned hyperparameters of a trial from Katib's assignments, by their own names."""
        known = {parameter.parameter_name: parameter for parameter in self.parameters}
        return {
            parameter.name: parameter.decode(assignments[name])
            for name, parameter in known.items()
            if name in assignments
        }


def algorithm_of(search: Search, options: KatibOptions) -> str:
    """Katib's algorithm for a search.

    Raises:
        SearchSpaceError: If the user asks for one that does not exist.
    """
    name = options.algorithm or STRATEGY_ALGORITHMS[search.strategy]
    if name not in ALGORITHMS:
        raise SearchSpaceError(f"algorithm: {name!r} is none of Katib's; choose one of {', '.join(ALGORITHMS)}")
    return name


def stops_bad_trials(search: Search, options: KatibOptions) -> bool:
    """Whether Katib's median stopping is on: Hyperband fails when one of its trials was ended by somebody else."""
    return search.stop_bad_trials and ALGORITHMS[algorithm_of(search, options)].allows_early_stopping


def run_digest(search: Search, options: KatibOptions) -> str:
    """The identity of the run; without one, that of everything that is asked for."""
    return digest_of(options.run or [search.to_dict(), options.to_dict()])


def build_experiments(search: Search, options: KatibOptions) -> tuple[PlannedExperiment, ...]:
    """Make the Experiments of a search; the same search always gives the same ones.

    Raises:
        SearchSpaceError: If Katib cannot search the space.
        BudgetError: If it cannot keep the budget.
        EngineError: If data or models are where pods cannot reach.
    """
    algorithm = algorithm_of(search, options)
    spaces = search_branches(search)
    if algorithm == "hyperband" and "epochs" in search.space.ranges:
        raise SearchSpaceError("epochs: are set by hyperband itself and cannot be tuned; fix them to the most wanted")
    trials = share(search.budget.max_trials, len(spaces))
    if min(trials) < 1:
        raise BudgetError(
            f"trials: {search.budget.max_trials} cannot be shared by {len(spaces)} Experiments, one for each "
            f'optimizer; allow at least {len(spaces)}, or use search_mode "flat"'
        )
    steps = choose_steps(search) if algorithm == "grid" else 0
    parallel = _share_parallel(search, algorithm, trials)
    built = []
    for number, space in enumerate(spaces):
        parameters = choose_parameters(algorithm, space.ranges, steps)
        counts = _Counts(trials[number], parallel[number])
        if algorithm == "grid":
            combinations = count_combinations(parameters)
            counts = _Counts(combinations, min(parallel[number], combinations))
        elif algorithm == "hyperband":
            eta = _eta(options, search.max_epochs, counts.parallel)
            counts = _Counts(counts.trials, smallest_bracket(search.max_epochs, eta), eta)
            parameters = (*parameters, TunedParameter("epochs", IntegerRange(1, search.max_epochs)))
        built.append(_build(search, options, space, parameters, counts))
    return tuple(built)


@dataclass(frozen=True)
class _Counts:
    trials: int
    parallel: int
    eta: int = 0


def search_branches(search: Search) -> tuple[SearchSpace, ...]:
    """The space of each Experiment."""
    branches = search.branches()
    empty = [str(branch.fixed["optimizer"]) for branch in branches if not branch.ranges]
    if empty and len(branches) > 1:
        raise SearchSpaceError(
            f'{", ".join(empty)}: nothing is tuned with it, and Katib needs a parameter; use search_mode "flat"'
        )
    return branches


def share(total: int, parts: int) -> list[int]:
    """Split evenly; what is left over goes to the first."""
    return [total // parts + (number < total % parts) for number in range(parts)]


def _share_parallel(search: Search, algorithm: str, trials: Sequence[int]) -> list[int]:
    """How many trials each Experiment may run at a time."""
    total = search.budget.parallel_trials
    if total is None:
        # Hyperband starts a whole bracket at once, so it may use all there is.
        total = sum(trials) if algorithm == "hyperband" else max(USUAL_PARALLEL_TRIALS, len(trials))
    shares = share(total, len(trials))
    if min(shares) < 1:
        raise BudgetError(
            f"parallel trials: {total} at a time cannot be shared by {len(trials)} Experiments, one for each "
            f'optimizer, that run side by side; allow {len(trials)}, or use search_mode "flat"'
        )
    return [min(wanted, most) for wanted, most in zip(shares, trials, strict=True)]


def _eta(options: KatibOptions, epochs: int, limit: int) -> int:
    given = options.algorithm_settings.get("eta", "")
    if not given.isdigit() or int(given) < 2:
        return choose_eta(epochs, limit)
    least = smallest_bracket(epochs, int(given))
    if least > limit:
        raise BudgetError(
            f"eta: with {given}, Hyperband starts {least} trials at once for {epochs} epochs, the budget has room for "
            f"{limit}; leave eta to us, or raise parallel_trials"
        )
    return int(given)


def _build(
    search: Search,
    options: KatibOptions,
    space: SearchSpace,
    parameters: tuple[TunedParameter, ...],
    counts: _Counts,
) -> PlannedExperiment:
    digest = run_digest(search, options)
    base = search_name(search, options)
    name = base if "optimizer" in space.ranges else f"{base}-{space.optimizers[0]}"
    tuned = {parameter.name for parameter in parameters}
    # What the data set decides, each trial reads from the data set itself.
    fixed = {key: value for key, value in space.fixed.items() if key not in tuned and key not in DATA_FACTS}
    environment = build_environment(options, encode_trial(parameters, fixed), base, name, search.seed)
    budget = search.budget
    objective: dict[str, Any] = {
        "type": "maximize",
        # ``validation:accuracy`` as the log has it: the names that Katib's filter reads hold no colon.
        "objectiveMetricName": VALIDATION_ACCURACY,
        "additionalMetricNames": [TRAIN_ACCURACY],
        # The best epoch, because that is the model which a trial leaves behind.
        "metricStrategies": [
            {"name": VALIDATION_ACCURACY, "value": "max"},
            {"name": TRAIN_ACCURACY, "value": "latest"},
        ],
    }
    if budget.target_objective is not None:
        objective["goal"] = budget.target_objective
    spec: dict[str, Any] = {
        "maxTrialCount": counts.trials,
        "parallelTrialCount": counts.parallel,
        # Katib gives up at this number, we at one more than are tolerated.
        "maxFailedTrialCount": min(budget.failures_tolerated + 1, counts.trials),
        "resumePolicy": options.resume_policy,
        "objective": objective,
        "algorithm": {"algorithmName": algorithm_of(search, options), **_settings(search, options, counts)},
        "parameters": [parameter.to_katib() for parameter in parameters],
        "metricsCollectorSpec": {
            "collector": {"kind": "StdOut"},
            "source": {"filter": {"metricsFormat": [METRICS_FILTER]}},
        },
        "trialTemplate": build_trial_template(options, parameters, environment, budget.max_seconds),
    }
    if stops_bad_trials(search, options):
        spec["earlyStopping"] = {
            "algorithmName": "medianstop",
            "algorithmSettings": [
                {"name": "min_trials_required", "value": str(MEDIAN_STOP_TRIALS)},
                {"name": "start_step", "value": str(MEDIAN_STOP_EPOCH)},
            ],
        }
    metadata: dict[str, Any] = {"name": name}
    if options.namespace:
        metadata["namespace"] = options.namespace
    metadata |= {"labels": labels_of(digest), "annotations": {FINGERPRINT_ANNOTATION: fingerprint_of(spec)}}
    document = {"apiVersion": API_VERSION, "kind": "Experiment", "metadata": metadata, "spec": spec}
    return PlannedExperiment(space, parameters, document)


def _settings(search: Search, options: KatibOptions, counts: _Counts) -> dict[str, Any]:
    values = dict(options.algorithm_settings)
    if ALGORITHMS[algorithm_of(search, options)].takes_seed:
        values.setdefault("random_state", str(search.seed))
    if counts.eta:
        values |= {"resource_name": "epochs", "r_l": str(search.max_epochs), "eta": str(counts.eta)}
    settings = [{"name": name, "value": str(value)} for name, value in sorted(values.items())]
    return {"algorithmSettings": settings} if settings else {}


def search_name(search: Search, options: KatibOptions) -> str:
    """What the names of all that belongs to a search start with."""
    return base_name(options.name_prefix, run_digest(search, options))
