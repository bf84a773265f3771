"""The description of one search: what an engine needs to plan it, and nothing of any engine.

`Search.for_dataset` completes a user's wishes with what the data set and the algorithm's rules say: number of classes
and training images, image shape, a network depth that suits the images, a learning rate schedule that suits the epochs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self, get_args

from kfp_image_tuning.core.errors import HyperparameterError, SearchSpaceError
from kfp_image_tuning.core.json_files import sha256_of
from kfp_image_tuning.search.budget import Budget
from kfp_image_tuning.search.hyperparameter_table import Value, is_active
from kfp_image_tuning.search.hyperparameters import Hyperparameters
from kfp_image_tuning.search.prior import STRATEGIES_WITH_PRIOR, Prior, make_prior
from kfp_image_tuning.search.ranges import CategoricalRange, Range
from kfp_image_tuning.search.search_space import SearchSpace

Strategy = Literal["bayesian", "random", "grid", "hyperband"]
"""Amazon SageMaker's names: a model of what worked (TPE on the local engine), chance, every combination, or many cheap
starts of which the best continue (successive halving)."""

PriorChoice = Literal["auto", "none"]
"""``auto``: what is known, where the strategy has a use for it and the user gave no range; ``none``: every range is
searched evenly."""

SearchMode = Literal["conditional", "flat"]
"""``conditional``: a hyperparameter exists only with the optimizers that use it. ``flat``: every trial gets every
hyperparameter and ignores what its optimizer does not use."""

DATA_FACTS = ("num_classes", "num_training_samples", "image_shape", "multi_label")
"""Hyperparameters that the data set decides."""

OBJECTIVE_METRIC = "validation:accuracy"
"""The metric that AWS documents for the algorithm; it is maximized."""


@dataclass(frozen=True, kw_only=True)
class DatasetSummary:
    """What a search needs to know of its data set.

    Attributes:
        fingerprint: Identity of the prepared images and labels.
        num_classes: Number of classes.
        num_training_samples: Number of training images.
        num_validation_samples: Number of validation images.
        image_shape: Channels, height, width in pixels.
        multi_label: Whether images may have several labels.
    """

    fingerprint: str
    num_classes: int
    num_training_samples: int
    num_validation_samples: int
    image_shape: tuple[int, int, int]
    multi_label: bool = False


@dataclass(frozen=True, kw_only=True)
class Search:
    """One search, complete.

    Attributes:
        space: Tuned ranges and fixed values, completed for the data set.
        budget: Its limits.
        dataset: The data it is for.
        strategy: How the next trial is chosen.
        search_mode: How hyperparameters of single optimizers are treated.
        stop_bad_trials: Whether trials that do worse than others at the same point are ended early.
        seed: Seed of the strategy and of every trial's training.
        prior: Where an engine that can looks first; empty: it searches every range evenly.
    """

    space: SearchSpace
    budget: Budget
    dataset: DatasetSummary
    strategy: Strategy = "bayesian"
    search_mode: SearchMode = "conditional"
    stop_bad_trials: bool = True
    seed: int = 0
    prior: Prior = field(default_factory=dict)

    def __post_init__(self) -> None:
        problems = []
        if self.strategy not in get_args(Strategy):
            problems.append(f"strategy: is one of {', '.join(get_args(Strategy))}, got {self.strategy!r}")
        if self.search_mode not in get_args(SearchMode):
            problems.append(f"search_mode: is one of {', '.join(get_args(SearchMode))}, got {self.search_mode!r}")
        if self.seed < 0:
            problems.append(f"seed: is 0 or more, got {self.seed}")
        if not self.space.ranges:
            problems.append("search_space: everything is fixed, nothing is left to tune; give at least one range")
        if problems:
            raise SearchSpaceError.from_problems(problems)
        for optimizer in self.space.optimizers:
            self.complete({**self.space.default_values(optimizer), "optimizer": optimizer})

    @classmethod
    def for_dataset(
        cls, space: SearchSpace, dataset: DatasetSummary, *, epochs: int | None = None, **wishes: Any
    ) -> Self:
        """Complete a search space for a data set.

        Args:
            space: The user's space; what it fixes or tunes is never changed, but for mini-batches larger than the
                training set.
            dataset: The data set.
            epochs: Epochs of every trial; None: the space's own, else the algorithm's default.
            **wishes: The other attributes of this class.

        Raises:
            SearchSpaceError: If the space does not fit the data set.
            HyperparameterError: If a fixed value breaks one of the algorithm's rules.
        """
        facts: dict[str, Value] = {name: getattr(dataset, name) for name in DATA_FACTS}
        contradictions = [
            f"{name}: is {space.fixed[name]!r} in the search space but {value!r} in the data set; leave it out"
            for name, value in facts.items()
            if name in space.fixed and space.fixed[name] != value
        ]
        contradictions += [
            f"{name}: is given by the data set and cannot be tuned" for name in facts if name in space.ranges
        ]
        if contradictions:
            raise SearchSpaceError.from_problems(contradictions)
        choices: dict[str, Value] = {"num_layers": suggest_num_layers(dataset.image_shape)}
        if epochs is not None:
            choices["epochs"] = epochs
        space = space.narrow_to_training_images(dataset.num_training_samples).fix(facts).fix(choices)
        fixed_epochs = space.fixed.get("epochs")
        if isinstance(fixed_epochs, int) and (steps := suggest_lr_scheduler_step(fixed_epochs)):
            space = space.fix({"lr_scheduler_step": steps})
        return cls(space=space, dataset=dataset, **wishes)

    def with_prior(self, choice: str = "auto") -> Self:
        """The same search with its prior, for an engine that has a use for one.

        Args:
            choice: One of `PriorChoice`.

        Raises:
            SearchSpaceError: If it is another word.
        """
        if choice not in get_args(PriorChoice):
            raise SearchSpaceError(f"prior: is one of {', '.join(get_args(PriorChoice))}, got {choice!r}")
        used = choice == "auto" and self.strategy in STRATEGIES_WITH_PRIOR
        images = self.dataset.num_training_samples * self.max_epochs
        return replace(self, prior=make_prior(self.space, images) if used else {})

    @property
    def max_epochs(self) -> int:
        """The most epochs that a trial can have."""
        tuned = self.space.ranges.get("epochs")
        if tuned is None:
            return int(self.space.fixed.get("epochs", 30))  # type: ignore[arg-type]
        return int(max(tuned.values) if isinstance(tuned, CategoricalRange) else tuned.maximum)

    def trial_ranges(self, optimizer: str) -> dict[str, Range]:
        """What a trial with ``optimizer`` is given besides it: what it uses, or, in a flat search, everything."""
        if self.search_mode == "flat":
            return {name: values for name, values in self.space.ranges.items() if name != "optimizer"}
        return self.space.active_ranges(optimizer)

    def complete(self, tuned: Mapping[str, Value]) -> Hyperparameters:
        """The full configuration of a trial.

        Args:
            tuned: The values that the strategy chose, with ``optimizer`` among them where it is tuned.

        Raises:
            HyperparameterError: If they break one of the algorithm's rules.
        """
        values: dict[str, Any] = {**self.space.fixed, **tuned}
        unknown = set(tuned) - set(self.space.ranges) - {"optimizer"}
        if unknown:
            raise HyperparameterError(f"{', '.join(sorted(unknown))}: not part of this search space")
        return Hyperparameters(**values)

    def tuned_values(self, hyperparameters: Hyperparameters) -> dict[str, Any]:
        """What a trial's record shows: the tuned hyperparameters that its optimizer uses, and the optimizer."""
        names = [name for name in self.space.ranges if is_active(name, hyperparameters.optimizer)]
        return {name: getattr(hyperparameters, name) for name in sorted({*names, "optimizer"})}

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "space": self.space.to_dict(),
            "budget": self.budget.to_dict(),
            "dataset": {
                "fingerprint": self.dataset.fingerprint,
                "num_classes": self.dataset.num_classes,
                "num_training_samples": self.dataset.num_training_samples,
                "num_validation_samples": self.dataset.num_validation_samples,
                "image_shape": list(self.dataset.image_shape),
                "multi_label": self.dataset.multi_label,
            },
            "strategy": self.strategy,
            "search_mode": self.search_mode,
            "stop_bad_trials": self.stop_bad_trials,
            "seed": self.seed,
            "prior": {
                optimizer: {name: list(interval) for name, interval in intervals.items()}
                for optimizer, intervals in self.prior.items()
            },
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read the JSON form that `to_dict` wrote."""
        dataset = {**document["dataset"], "image_shape": tuple(document["dataset"]["image_shape"])}
        return cls(
            space=SearchSpace.from_dict(document["space"]),
            budget=Budget.from_dict(document["budget"]),
            dataset=DatasetSummary(**dataset),
            strategy=document["strategy"],
            search_mode=document["search_mode"],
            stop_bad_trials=document["stop_bad_trials"],
            seed=document["seed"],
            prior={
                optimizer: {name: tuple(interval) for name, interval in intervals.items()}
                for optimizer, intervals in document["prior"].items()
            },
        )

    def branches(self) -> tuple[SearchSpace, ...]:
        """The spaces of a search without conditions: one for each optimizer, or in a flat search a single one."""
        is_whole = self.search_mode == "flat" or len(self.space.optimizers) == 1
        return (self.space,) if is_whole and "optimizer" in self.space.ranges else tuple(self.space.branches())

    @property
    def fingerprint(self) -> str:
        """Identity of the search without its budget: a search may continue with more trials or more time."""
        document = {name: part for name, part in self.to_dict().items() if name != "budget"}
        return sha256_of(document)


def suggest_num_layers(image_shape: tuple[int, int, int]) -> int:
    """A depth that suits the images: AWS suggests 20 to 110 for images of about 28x28 and 18 to 200 for larger ones.

    The smallest of each set, since many short trials find more than few long ones.
    """
    return 20 if image_shape[1] <= 32 else 18


def suggest_lr_scheduler_step(epochs: int) -> tuple[int, ...]:
    """Epochs after which to lower the learning rate, so that the last epochs settle.

    The algorithm's own default is never, which leaves validation accuracy jumping from epoch to epoch. After two thirds
    of the epochs, and of ten or more after five sixths again.
    """
    first, second = -(-2 * epochs // 3), -(-5 * epochs // 6)
    if epochs < 3:
        return ()
    return (first, second) if epochs >= 10 else (first,)
