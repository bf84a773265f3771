"""SageMaker's documented limits, and the limits that are chosen where the user leaves them open.

Source: "Resource limits for automatic model tuning" and the API reference of CreateHyperParameterTuningJob. The
service model holds others (lengths, patterns, sizes); `validation` reads those from botocore itself.
"""

import math
from collections.abc import Mapping

from kfp_image_tuning.engines.sagemaker.request.options import SageMakerOptions
from kfp_image_tuning.search.ranges import CategoricalRange, Range
from kfp_image_tuning.search.search import Search

MAX_TUNED_HYPERPARAMETERS = 30
MAX_HYPERPARAMETERS = 100
MAX_TRIALS = 750
MAX_TRIALS_RANDOM = 10_000
MAX_PARALLEL_TRIALS = 100
USUAL_PARALLEL_TRIALS = 10
"""The quota of an account that never asked for more."""
MAX_HYPERBAND_RESOURCE = 20_000
MAX_TUNING_SECONDS = 30 * 24 * 3600
MAX_TRAINING_SECONDS = 28 * 24 * 3600
MIN_HARD_TIMEOUT_SECONDS = 120
STOP_GRACE_SECONDS = 120
"""How long SageMaker lets a training job save its model after it was told to stop."""
START_SECONDS = 600
"""Room in the hard timeout for each trial's start (machines, image, download) and end (upload)."""


def count_trials(search: Search) -> int:
    """How many trials there will be at most: the budget's number, or every combination of a grid."""
    if search.strategy != "grid":
        return search.budget.max_trials
    return sum(count_combinations(space.ranges) for space in search.branches())


def count_combinations(ranges: Mapping[str, Range]) -> int:
    """How many trials a grid over these choices has; ranges that are not choices count as one."""
    return math.prod(len(values.values) for values in ranges.values() if isinstance(values, CategoricalRange))


def choose_parallel_trials(search: Search) -> int:
    """Trials at a time: the budget's word, else what the usual quota allows and the strategy still learns from."""
    if search.budget.parallel_trials is not None:
        return search.budget.parallel_trials
    most = min(USUAL_PARALLEL_TRIALS, count_trials(search))
    if search.strategy == "bayesian":
        # A trial learns only from those that ended before it starts: with all at once it would be random search.
        return min(most, math.ceil(search.budget.max_trials / 4))
    return most


def choose_hard_timeout(search: Search, options: SageMakerOptions) -> int:
    """After how many seconds SageMaker ends the tuning job whatever happens to us; always set.

    The budget's time limit where there is one, else time for every trial to run as long as it may.
    """
    chosen = options.max_seconds if options.max_seconds is not None else search.budget.max_seconds
    if chosen is not None:
        return math.ceil(chosen)
    rounds = math.ceil(count_trials(search) / choose_parallel_trials(search))
    longest = options.max_trial_seconds
    if options.spot:
        longest = max(longest, options.max_wait_seconds or 2 * longest)
    return max(MIN_HARD_TIMEOUT_SECONDS, min(rounds * (longest + START_SECONDS), MAX_TUNING_SECONDS))
