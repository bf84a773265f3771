"""Which hyperparameters mattered: what a model of the search loses when it no longer knows one of them.

A forest of small regression trees learns each trial's rank by accuracy from its hyperparameters, each at its place in
its range (0 to 1 by the range's scaling). Ranks, since a few trials that diverged would drown every other difference.
Then, among the trials that a tree has not seen, one hyperparameter's values are dealt out again: the error that this
adds is its importance (permutation importance, Breiman 2001).

Conditional hyperparameters need care: that momentum is missing tells a tree that the optimizer is adam. Where one is
inactive, each tree therefore sees a value drawn from the trials in which it is active, and its values are dealt out
again among those trials only.

The forest also says when to believe nothing: if it cannot predict trials that it has not seen, importances mean
nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kfp_image_tuning.search.ranges import CategoricalRange, Range
from kfp_image_tuning.search.result import Trial

LEAST_TRIALS = 10
LEAST_EXPLAINED = 0.1
TREES = 80
DEPTH = 6
LEAF = 2
PERMUTATIONS = 2

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Importance:
    """What the trials tell of the hyperparameters.

    Attributes:
        shares: Hyperparameter to fraction of the importance, 0 to 1, largest first; empty where nothing can be said.
        explained: Fraction of the differences between unseen trials that the forest predicts; None if it was not grown.
        trials: Trials with an accuracy.
    """

    shares: Mapping[str, float]
    explained: float | None
    trials: int


def find_importance(trials: Sequence[Trial], ranges: Mapping[str, Range]) -> Importance:
    """Find what mattered in a search.

    Args:
        trials: Its trials; those without an objective are passed over.
        ranges: The range of each tuned hyperparameter.
    """
    scored = [trial for trial in trials if trial.objective is not None]
    columns = {name: _column(scored, name, values) for name, values in ranges.items()}
    columns = {name: column for name, column in columns.items() if len(np.unique(column[~np.isnan(column)])) > 1}
    target = _ranks(np.array([trial.objective for trial in scored], dtype=np.float64))
    if len(scored) < LEAST_TRIALS or not columns or target.std() == 0:
        return Importance({}, None, len(scored))
    categorical = np.array([isinstance(ranges[name], CategoricalRange) for name in columns])
    explained, losses = _permutation_losses(np.stack(list(columns.values()), axis=1), target, categorical)
    if explained < LEAST_EXPLAINED or losses.sum() <= 0:
        return Importance({}, explained, len(scored))
    order = np.argsort(-losses, kind="stable")
    names = list(columns)
    shares = {names[position]: float(losses[position] / losses.sum()) for position in order}
    return Importance(shares, explained, len(scored))


def _column(trials: Sequence[Trial], name: str, values: Range) -> Numbers:
    """Each trial's place in the range, or its choice's number; NaN where it is inactive."""
    return np.array([unit_position(values, trial.hyperparameters.get(name)) for trial in trials], dtype=np.float64)


def unit_position(values: Range, value: object) -> float:
    """Where a value is in its range, 0 to 1, choices by their number; NaN for what is not in it."""
    if isinstance(values, CategoricalRange):
        if value not in values.values:
            return float("nan")
        return values.values.index(value) / max(1, len(values.values) - 1)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return float("nan")
    return values.to_unit(value)


def _ranks(values: Numbers) -> Numbers:
    """Ranks from 0 to 1; equals share theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts + 1) / 2)[inverse] / max(1, len(values) - 1))


def _permutation_losses(features: Numbers, target: Numbers, categorical: NDArray[np.bool_]) -> tuple[float, Numbers]:
    """Fraction of the variance of unseen trials that is explained, and the error that each feature's loss adds."""
    random = np.random.default_rng(0)
    count, width = features.shape
    active = ~np.isnan(features)
    sums, seen = np.zeros(count), np.zeros(count)
    added, weight = np.zeros(width), 0
    for _ in range(TREES):
        filled = _fill(features, active, random)
        bag = random.integers(0, count, count)
        rest = np.setdiff1d(np.arange(count), bag)
        if not len(rest):
            continue
        tree = _grow(filled[bag], target[bag], categorical, DEPTH, random)
        guesses = _predict(tree, filled[rest])
        sums[rest] += guesses
        seen[rest] += 1
        error = ((guesses - target[rest]) ** 2).sum()
        weight += len(rest)
        for feature in range(width):
            places = np.flatnonzero(active[rest, feature])
            for _ in range(PERMUTATIONS):
                shuffled = filled[rest].copy()
                shuffled[places, feature] = shuffled[random.permutation(places), feature]
                worse = ((_predict(tree, shuffled) - target[rest]) ** 2).sum()
                added[feature] += (worse - error) / PERMUTATIONS
    known = seen > 0
    residual = target[known] - sums[known] / seen[known]
    explained = 1 - float((residual**2).mean() / target[known].var())
    return explained, np.maximum(added / max(1, weight), 0.0)


def _fill(features: Numbers, active: NDArray[np.bool_], random: np.random.Generator) -> Numbers:
    """Put values of other trials where a hyperparameter is inactive."""
    filled = features.copy()
    for feature in range(features.shape[1]):
        missing = ~active[:, feature]
        if missing.any():
            filled[missing, feature] = random.choice(features[active[:, feature], feature], missing.sum())
    return filled


@dataclass(frozen=True)
class _Node:
    """A split, or a leaf where ``left`` is None."""

    value: float
    feature: int = 0
    threshold: float = 0.0
    is_choice: bool = False
    left: "_Node | None" = None
    right: "_Node | None" = None


def _grow(
    features: Numbers, target: Numbers, categorical: NDArray[np.bool_], depth: int, random: np.random.Generator
) -> _Node:
    """A regression tree that looks at two thirds of the features for each split."""
    mean = float(target.mean())
    if depth == 0 or len(target) < 2 * LEAF or target.std() == 0:
        return _Node(mean)
    width = features.shape[1]
    best: tuple[float, int, float] | None = None
    for feature in random.permutation(width)[: max(1, -(-2 * width // 3))].tolist():
        find = _best_choice if categorical[feature] else _best_threshold
        found = find(features[:, feature], target)
        if found and (best is None or found[0] > best[0]):
            best = (found[0], feature, found[1])
    if best is None:
        return _Node(mean)
    _, feature, threshold = best
    is_choice = bool(categorical[feature])
    goes_left = _goes_left(features[:, feature], threshold, is_choice)
    left = _grow(features[goes_left], target[goes_left], categorical, depth - 1, random)
    right = _grow(features[~goes_left], target[~goes_left], categorical, depth - 1, random)
    return _Node(mean, feature, threshold, is_choice, left, right)


def _goes_left(column: Numbers, threshold: float, is_choice: bool) -> NDArray[np.bool_]:
    return np.asarray(column == threshold if is_choice else column <= threshold)


def _best_threshold(column: Numbers, target: Numbers) -> tuple[float, float] | None:
    """The reduction of the squared error and the threshold that brings the most."""
    order = np.argsort(column, kind="stable")
    values, sums = column[order], np.cumsum(target[order])
    count = len(values)
    left = np.arange(1, count)
    gain = sums[:-1] ** 2 / left + (sums[-1] - sums[:-1]) ** 2 / (count - left) - sums[-1] ** 2 / count
    gain[(values[1:] == values[:-1]) | (left < LEAF) | (count - left < LEAF)] = -1.0
    place = int(gain.argmax())
    if gain[place] <= 1e-12:
        return None
    return float(gain[place]), float((values[place] + values[place + 1]) / 2)


def _best_choice(column: Numbers, target: Numbers) -> tuple[float, float] | None:
    """The same for one choice against all others."""
    best: tuple[float, float] | None = None
    count, total = len(target), target.sum()
    for choice in np.unique(column).tolist():
        inside = column == choice
        held = int(inside.sum())
        if held < LEAF or count - held < LEAF:
            continue
        part = target[inside].sum()
        gain = part**2 / held + (total - part) ** 2 / (count - held) - total**2 / count
        if gain > 1e-12 and (best is None or gain > best[0]):
            best = (float(gain), choice)
    return best


def _predict(node: _Node, features: Numbers) -> Numbers:
    if node.left is None or node.right is None:
        return np.full(len(features), node.value)
    goes_left = _goes_left(features[:, node.feature], node.threshold, node.is_choice)
    values = np.empty(len(features))
    values[goes_left] = _predict(node.left, features[goes_left])
    values[~goes_left] = _predict(node.right, features[~goes_left])
    return values
