"""Results, data sets and evaluations of many kinds, as the other packages write them."""

import base64
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kfp_image_tuning.dataset.document import (
    Dataset,
    Duplicates,
    LabelConflict,
    ResizePolicy,
    Shard,
    SkippedImage,
    Source,
    Split,
)
from kfp_image_tuning.dataset.image_codec import encode_image
from kfp_image_tuning.evaluation.evaluation import (
    Evaluation,
    ModelSummary,
    Selection,
    Throughput,
    pack_answers,
)
from kfp_image_tuning.evaluation.mistakes import Mistake
from kfp_image_tuning.evaluation.scoring import find_answers, score
from kfp_image_tuning.search.budget import Budget
from kfp_image_tuning.search.hyperparameter_table import is_active
from kfp_image_tuning.search.ranges import CategoricalRange
from kfp_image_tuning.search.result import Epoch, Trial, TrialStatus, TuningResult
from kfp_image_tuning.search.search import DatasetSummary, Search
from kfp_image_tuning.search.search_space import DOCUMENTED_RANGES, SearchSpace

STARTED_AT = 1_790_000_000.0
Objective = Callable[[dict[str, float], str, np.random.Generator], float]
"""A trial's accuracy out of its hyperparameters' places in their ranges (0 to 1) and its optimizer."""


def realistic(units: dict[str, float], optimizer: str, random: np.random.Generator) -> float:
    best = 0.85 if optimizer in ("sgd", "nag") else 0.5
    distance = abs(units["learning_rate"] - best) + 0.3 * max(0.0, units.get("weight_decay", 0) - 0.5)
    return float(np.clip(0.985 - 1.6 * distance**2 - abs(random.normal()) * 0.01, 0.1, 0.992))


def make_trials(
    count: int,
    objective: Objective = realistic,
    seed: int = 0,
    statuses: Sequence[TrialStatus] = ("completed",),
    epochs: int = 5,
) -> tuple[Trial, ...]:
    random = np.random.default_rng(seed)
    optimizers = DOCUMENTED_RANGES["optimizer"]
    assert isinstance(optimizers, CategoricalRange)
    numbers = {n: found for n, found in DOCUMENTED_RANGES.items() if not isinstance(found, CategoricalRange)}
    trials = []
    for number in range(count):
        optimizer = str(optimizers.values[random.integers(len(optimizers.values))])
        units = {n: float(random.random()) for n in numbers if is_active(n, optimizer)}
        values = {name: numbers[name].from_unit(unit) for name, unit in units.items()}
        status = statuses[number % len(statuses)]
        reached = objective(units, optimizer, random)
        length = 2 if status in ("early_stopped", "stopped") else epochs
        history = tuple(
            Epoch(
                epoch=epoch,
                validation_accuracy=max(0.05, reached * (1 - 0.5 ** (epoch + 1.5))) if epoch < epochs - 1 else reached,
                train_accuracy=min(1.0, reached * (1 - 0.4 ** (epoch + 1.5)) + 0.01),
                seconds=3.0,
            )
            for epoch in range(length)
        )
        failed = status == "failed"
        trials.append(
            Trial(
                name=f"trial-{number:03}",
                status=status,
                hyperparameters={**values, "optimizer": optimizer},
                objective=None if failed else history[-1].validation_accuracy,
                best_epoch=None if failed else length - 1,
                history=() if failed else history,
                started_at=STARTED_AT + 9.0 * number,
                finished_at=STARTED_AT + 9.0 * number + 3.0 * length + 1,
                failure_reason="the worker ended with signal 9, probably out of memory" if failed else None,
            )
        )
    return tuple(trials)


def make_result(trials: Sequence[Trial], **changes: Any) -> TuningResult:
    search = Search.for_dataset(
        SearchSpace(),
        DatasetSummary(
            fingerprint="sha256:0",
            num_classes=10,
            num_training_samples=3000,
            num_validation_samples=1000,
            image_shape=(3, 28, 28),
        ),
        epochs=5,
        budget=Budget(max_trials=max(1, len(trials)), max_seconds=300),
    )
    values: dict[str, Any] = {
        "engine": "local",
        "status": "completed",
        "stop_reason": f"all {len(trials)} trials are done",
        "search": search.to_dict(),
        "trials": tuple(trials),
        "started_at": STARTED_AT,
        "seconds": 9.0 * len(trials) + 7,
        "reproduction_command": "kfp-image-tuning run --data photos --max-trials 20 --seed 0 --output runs/photos",
    }
    return TuningResult(**{**values, **changes})


def make_dataset(classes: Sequence[str], **changes: Any) -> Dataset:
    splits = {}
    for name, each in (("train", 300), ("validation", 100), ("test", 100)):
        counts = {label: each + (7 * position) % 23 for position, label in enumerate(classes)}
        total = sum(counts.values())
        shard = Shard(f"{name}/{name}.rec", f"{name}/{name}.idx", f"{name}/{name}.lst", total, total * 700, "0" * 64)
        splits[name] = Split(name, total, counts, (28, 28), (shard,))
    values: dict[str, Any] = {
        "classes": tuple(classes),
        "multi_label": False,
        "image_shape": (3, 28, 28),
        "splits": splits,
        "resize": ResizePolicy("area down, linear up", 1.143, "jpeg", 95),
        "seed": 0,
        "fractions": {"train": 0.6, "validation": 0.2, "test": 0.2},
        "source": Source("/home/ada/photos", "folder", "sha256:1"),
        "skipped": (
            SkippedImage("cat/broken.jpg", "is damaged or cut off (truncated); copy it again or leave it out"),
        ),
        "duplicates": (Duplicates(("cat/1.jpg", "cat/copy of 1.jpg"), "train"),),
        "label_conflicts": (LabelConflict(("cat/9.jpg", "dog/9.jpg"), (("cat",), ("dog",))),),
    }
    return Dataset(**{**values, **changes})


def make_evaluation(
    classes: Sequence[str],
    *,
    images: int = 1000,
    skill: float = 4.0,
    seed: int = 0,
    thumbnails: int = 24,
    size: int = 28,
) -> Evaluation:
    """An evaluation of random answers that are right the more often, the larger ``skill`` is."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, len(classes), images)
    logits = 2.2 * random.normal(size=(images, len(classes)))
    logits[np.arange(images), labels] += skill
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    answers = find_answers(labels, probabilities)
    wrong = np.flatnonzero(~answers[:, 0])
    wrong = wrong[np.argsort(-probabilities[wrong].max(axis=1))][:thumbnails]
    accuracy = float(answers.mean())
    return Evaluation(
        split="test",
        images=images,
        images_in_split=images,
        skipped=(),
        classes=tuple(classes),
        multi_label=False,
        dataset_fingerprint="sha256:0",
        split_fingerprint="sha256:1",
        model=ModelSummary(
            num_layers=20, image_shape=(3, 28, 28), epoch=4, validation_accuracy=0.98, weights_sha256="0" * 64
        ),
        scores=score(labels, probabilities, classes),
        mistakes=tuple(
            Mistake(
                identifier=int(row),
                path=f"{classes[labels[row]]}/{row}.png",
                true=(classes[labels[row]],),
                predicted=(classes[int(probabilities[row].argmax())],),
                confidence=float(probabilities[row].max()),
                true_probability=float(probabilities[row, labels[row]]),
                record="test/test.rec",
                offset=int(row) * 800,
                thumbnail=make_thumbnail(int(row), size),
            )
            for row in wrong
        ),
        throughput=Throughput(images_per_second=2113.4, seconds=0.473, device="cpu"),
        right_answers=pack_answers(answers),
        selection=Selection(trial="trial-003", objective=min(1.0, accuracy + 0.006), difference=0.006),
    )


def make_thumbnail(seed: int, size: int = 28) -> str:
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 255, (7, 7, 3), dtype=np.uint8)
    pixels = np.kron(coarse, np.ones((size // 7, size // 7, 1), dtype=np.uint8))
    return "data:image/jpeg;base64," + base64.b64encode(encode_image(pixels, "jpeg", 85)).decode()
