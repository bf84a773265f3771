"""How the emulator chooses hyperparameters: within the ranges, by their scaling, always the same for the same seed.

Not SageMaker's own search, but of its kind: random, a grid, near what worked (Bayesian), and ended early (Hyperband,
early stopping).
"""

import itertools
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from tests.emulators.training_jobs import TrainingJob

Document = Mapping[str, Any]


def choose(config: Document, ranges: Document, seed: str, finished: Sequence[TrainingJob]) -> dict[str, str]:
    """Values for one training job."""
    chance = random.Random(seed)
    best = max((job for job in finished if job.objective is not None), key=lambda job: job.objective or 0, default=None)
    near = config["Strategy"] == "Bayesian" and best is not None and len(finished) >= 3 and chance.random() < 0.5
    chosen: dict[str, str] = {}
    for kind in ("ContinuousParameterRanges", "IntegerParameterRanges"):
        for entry in ranges.get(kind, ()):
            unit = chance.random()
            if near and best is not None and entry["Name"] in best.tuned:
                unit = min(1.0, max(0.0, _to_unit(entry, float(best.tuned[entry["Name"]])) + chance.gauss(0, 0.1)))
            value = _from_unit(entry, unit)
            chosen[entry["Name"]] = str(round(value)) if kind.startswith("Integer") else repr(value)
    for entry in ranges.get("CategoricalParameterRanges", ()):
        chosen[entry["Name"]] = chance.choice(entry["Values"])
    for entry in ranges.get("AutoParameters", ()):
        chosen[entry["Name"]] = entry["ValueHint"]
    return chosen


def grid(ranges: Document) -> list[dict[str, str]]:
    """Every combination of choices."""
    entries = ranges.get("CategoricalParameterRanges", ())
    names = [entry["Name"] for entry in entries]
    return [dict(zip(names, values, strict=True)) for values in itertools.product(*(e["Values"] for e in entries))]


def is_hopeless(config: Document, job: TrainingJob, others: Sequence[TrainingJob]) -> bool:
    """Whether a running training job is to be ended, after its newest epoch."""
    epoch = len(job.accuracies)
    if config["Strategy"] == "Hyperband":
        least = config.get("StrategyConfig", {}).get("HyperbandStrategyConfig", {}).get("MinResource", 1)
        if epoch < least or not math.log(epoch / least, 3).is_integer():
            return False
        share, needed = 1 / 3, 3
    elif config.get("TrainingJobEarlyStoppingType") == "Auto":
        share, needed = 0.5, 4
        if epoch < 3:
            return False
    else:
        return False
    reached = sorted((max(o.accuracies[:epoch]) for o in others if len(o.accuracies) >= epoch), reverse=True)
    return len(reached) >= needed and max(job.accuracies) < reached[int(len(reached) * share)]


def _bounds(entry: Document) -> tuple[float, float]:
    return float(entry["MinValue"]), float(entry["MaxValue"])


def _from_unit(entry: Document, unit: float) -> float:
    low, high = _bounds(entry)
    scaling = entry.get("ScalingType", "Auto")
    if scaling == "Logarithmic":
        value = math.exp(math.log(low) + unit * (math.log(high) - math.log(low)))
    elif scaling == "ReverseLogarithmic":
        value = 1 - math.exp(math.log(1 - low) + unit * (math.log(1 - high) - math.log(1 - low)))
    else:
        value = low + unit * (high - low)
    return min(high, max(low, value))


def _to_unit(entry: Document, value: float) -> float:
    low, high = _bounds(entry)
    scaling = entry.get("ScalingType", "Auto")
    if scaling == "Logarithmic":
        return math.log(value / low) / math.log(high / low)
    if scaling == "ReverseLogarithmic":
        return math.log((1 - value) / (1 - low)) / math.log((1 - high) / (1 - low))
    return (value - low) / (high - low)
