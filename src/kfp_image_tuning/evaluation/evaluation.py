"""``evaluation.json``: how good a model is on images that no trial saw.

`evaluate_model` makes an `Evaluation`; its form is written down in ``evaluation.schema.json`` beside this module. The
document also holds, in one bit an answer, which answers were right: two evaluations on the same images can be compared
image by image, which tells smaller improvements from noise than two accuracies can.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from kfp_image_tuning.core.document_schema import find_violations
from kfp_image_tuning.core.errors import DatasetError, DocumentError
from kfp_image_tuning.core.json_files import read_json, write_json
from kfp_image_tuning.dataset.document import Dataset, Split
from kfp_image_tuning.evaluation.mistakes import Mistake, find_mistakes
from kfp_image_tuning.evaluation.prediction import Predictions, Progress, Skipped, predict_split
from kfp_image_tuning.evaluation.scoring import (
    CalibrationBin,
    ClassScore,
    RocCurve,
    RocPoint,
    Scores,
    find_answers,
    score,
)
from kfp_image_tuning.evaluation.significance import Interval
from kfp_image_tuning.evaluation.verdict import Check, Verdict
from kfp_image_tuning.search.result import TuningResult

SCHEMA_VERSION = 1
BATCH_SIZE = 256


@dataclass(frozen=True, kw_only=True)
class ModelSummary:
    """Which model was evaluated.

    Attributes:
        num_layers: Depth of its ResNet.
        image_shape: Channels, height and width that it takes.
        epoch: The epoch that its weights are from, from 0.
        validation_accuracy: In that epoch.
        weights_sha256: Checksum of its weights, or of the archive that holds them, in hexadecimal.
    """

    num_layers: int
    image_shape: tuple[int, ...]
    epoch: int
    validation_accuracy: float
    weights_sha256: str


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """How fast images were decoded and answered for.

    Attributes:
        images_per_second: From stored record to probabilities, whole split.
        seconds: Wall time.
        device: What it ran on, such as ``cpu``, ``cuda`` or ``ml.m5.xlarge``.
    """

    images_per_second: float
    seconds: float
    device: str


@dataclass(frozen=True, kw_only=True)
class Selection:
    """How far the search's objective can be believed.

    The best of many trials is chosen by its validation accuracy, which is therefore flattering.

    Attributes:
        trial: The search's best trial.
        objective: Its ``validation:accuracy``.
        difference: Objective less accuracy on the images that no trial saw.
    """

    trial: str
    objective: float
    difference: float


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A model's scores on one split.

    Attributes:
        split: Name of the split.
        images: Images that were scored.
        images_in_split: Images that the split holds.
        skipped: Images that could not be scored.
        classes: The data set's classes.
        multi_label: Whether an image may have several labels.
        dataset_fingerprint: Identity of the data set.
        split_fingerprint: Identity of the split's images, labels and their order.
        model: Which model.
        scores: All scores.
        mistakes: The most confidently wrong images, worst first.
        throughput: How fast.
        right_answers: One bit an answer, as `pack_answers` writes them.
        selection: How far the search's objective can be believed; None without a search.
        verdict: The gate's verdict; None where no gate was asked.
        reproduction_command: What to type to prepare, search and evaluate again; empty without a search.
    """

    split: str
    images: int
    images_in_split: int
    skipped: tuple[Skipped, ...]
    classes: tuple[str, ...]
    multi_label: bool
    dataset_fingerprint: str
    split_fingerprint: str
    model: ModelSummary
    scores: Scores
    mistakes: tuple[Mistake, ...]
    throughput: Throughput
    right_answers: str
    selection: Selection | None = None
    verdict: Verdict | None = None
    reproduction_command: str = ""

    @property
    def accuracy(self) -> float:
        """Fraction of right answers, 0 to 1."""
        return self.scores.accuracy

    @property
    def coverage(self) -> float:
        """Fraction of the split's images that were scored."""
        return self.images / self.images_in_split

    @property
    def answers(self) -> NDArray[np.bool_]:
        """Which answers are right: ``[N, 1]``, or ``[N, C]`` where an image may have several labels."""
        return unpack_answers(self.right_answers, self.images, len(self.classes) if self.multi_label else 1)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form, ``evaluation.json``."""
        fields = asdict(self)
        scores = fields.pop("scores")
        return {
            "schema_version": SCHEMA_VERSION,
            "accuracy": scores.pop("accuracy"),
            "accuracy_interval": scores.pop("accuracy_interval"),
            "verdict": fields.pop("verdict"),
            "coverage": self.coverage,
            **{name: fields.pop(name) for name in ("split", "images", "images_in_split")},
            **scores,
            **fields,
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read the JSON form.

        Raises:
            DocumentError: If it is of an unknown version, with every place where it has another form.
        """
        version = document.get("schema_version")
        if version != SCHEMA_VERSION:
            raise DocumentError(
                f"evaluation document: schema_version is {version!r}, this release reads {SCHEMA_VERSION}; "
                "use the release that wrote it, or evaluate the model again"
            )
        # Through JSON, so that a document straight from to_dict, with tuples in it, is read as one from a file.
        plain = json.loads(json.dumps(document))
        if problems := find_violations(plain, _schema()):
            raise DocumentError.from_problems(f"evaluation document: {problem}" for problem in problems)
        return cls._from_sound_document(plain)

    @classmethod
    def _from_sound_document(cls, document: dict[str, Any]) -> Self:
        selection, verdict, model = document["selection"], document["verdict"], document["model"]
        return cls(
            **{name: document[name] for name in _PLAIN_FIELDS},
            classes=tuple(document["classes"]),
            skipped=tuple(Skipped(**item) for item in document["skipped"]),
            model=ModelSummary(**{**model, "image_shape": tuple(model["image_shape"])}),
            scores=_read_scores(document),
            mistakes=tuple(
                Mistake(**{**item, "true": tuple(item["true"]), "predicted": tuple(item["predicted"])})
                for item in document["mistakes"]
            ),
            throughput=Throughput(**document["throughput"]),
            selection=Selection(**selection) if selection else None,
            verdict=Verdict(verdict["passed"], tuple(Check(**item) for item in verdict["checks"])) if verdict else None,
        )

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read ``evaluation.json``.

        Raises:
            DocumentError: If the file is missing, no JSON, or no evaluation of a known version and form.
        """
        return cls.from_dict(read_json(path))

    def save(self, path: Path) -> None:
        """Write ``evaluation.json`` atomically."""
        write_json(path, self.to_dict())


_PLAIN_FIELDS = (
    "split",
    "images",
    "images_in_split",
    "multi_label",
    "dataset_fingerprint",
    "split_fingerprint",
    "right_answers",
    "reproduction_command",
)
_PLAIN_SCORES = (
    "accuracy",
    "exact_match",
    "top_k",
    "top_k_accuracy",
    "macro_precision",
    "macro_recall",
    "macro_f1",
    "mean_average_precision",
    "log_loss",
    "expected_calibration_error",
    "confusion",
)


def _read_scores(document: Mapping[str, Any]) -> Scores:
    roc = document["roc"]
    return Scores(
        **{name: document[name] for name in _PLAIN_SCORES},
        accuracy_interval=Interval(**document["accuracy_interval"]),
        calibration=tuple(CalibrationBin(**item) for item in document["calibration"]),
        per_class=tuple(ClassScore(**item) for item in document["per_class"]),
        roc=RocCurve(roc["kind"], roc["area"], tuple(RocPoint(**item) for item in roc["points"])),
    )


def evaluate_model(
    model_directory: str | Path,
    dataset_directory: str | Path,
    *,
    split: str = "test",
    batch_size: int = BATCH_SIZE,
    result: TuningResult | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Score a trained model on a split of a data set.

    Args:
        model_directory: The folder of ``model.safetensors`` and ``model.json``.
        dataset_directory: The folder of ``dataset.json``.
        split: ``test`` for an honest answer: no trial has seen it.
        batch_size: Images that are decoded and predicted at a time.
        result: The search that the model comes from, to compare its objective with.
        progress: Takes images done and images in all, after every batch.

    Raises:
        DatasetError: If the model does not belong to the data set, or its images cannot be read.
        TrainingError: If the model cannot be read, or has diverged.
        DocumentError: If a document has an unknown version or form.
    """
    # Imported here: reading and judging evaluations must not wait for torch.
    from kfp_image_tuning.model.model_files import WEIGHTS_NAME, load_model
    from kfp_image_tuning.trainer.devices import default_device

    dataset = Dataset.load(dataset_directory)
    images = dataset.split(split)
    device = default_device()
    model = load_model(Path(model_directory), device)
    document = model.document
    if document.multi_label != dataset.multi_label:
        kinds = {False: "one label an image", True: "several labels an image"}
        raise DatasetError(
            f"{dataset_directory}: has {kinds[dataset.multi_label]}, the model was trained for "
            f"{kinds[document.multi_label]}; evaluate it on a data set of its own kind"
        )
    predictions = predict_split(model, dataset, images, batch_size=batch_size, progress=progress)
    with (Path(model_directory) / WEIGHTS_NAME).open("rb") as weights:
        checksum = hashlib.file_digest(weights, "sha256").hexdigest()
    summary = ModelSummary(
        num_layers=document.num_layers,
        image_shape=tuple(document.image_shape),
        epoch=document.epoch,
        validation_accuracy=document.validation_accuracy,
        weights_sha256=checksum,
    )
    return evaluate_predictions(predictions, dataset, images, summary, device=device.type, result=result)


def evaluate_predictions(
    predictions: Predictions,
    dataset: Dataset,
    split: Split,
    model: ModelSummary,
    *,
    device: str,
    result: TuningResult | None = None,
) -> Evaluation:
    """Score a model's answers, wherever they were given.

    Args:
        predictions: The answers for the images of the split.
        dataset: The data set.
        split: Which of its images.
        model: Whose answers they are.
        device: What it ran on.
        result: The search that the model comes from, to compare its objective with.

    Raises:
        DatasetError: If there are no answers, or they do not belong to the data set.
        TrainingError: If the model has diverged.
    """
    scores = score(predictions.labels, predictions.probabilities, dataset.classes)
    answers = find_answers(predictions.labels, predictions.probabilities)
    count = len(predictions.locations)
    return Evaluation(
        split=split.name,
        images=count,
        images_in_split=split.images,
        skipped=predictions.skipped,
        classes=dataset.classes,
        multi_label=dataset.multi_label,
        dataset_fingerprint=dataset.fingerprint,
        split_fingerprint=fingerprint_split(dataset, split),
        model=model,
        scores=scores,
        mistakes=find_mistakes(predictions, answers, dataset, split),
        throughput=Throughput(
            images_per_second=round(count / max(predictions.seconds, 1e-9), 1),
            seconds=round(predictions.seconds, 3),
            device=device,
        ),
        right_answers=pack_answers(answers),
        selection=_compare_with_search(result, scores.accuracy),
    )


def fingerprint_split(dataset: Dataset, split: Split) -> str:
    """Identity of a split's images, labels and their order, whatever the other splits hold."""
    content = {
        "classes": dataset.classes,
        "image_shape": dataset.image_shape,
        "shards": [shard.sha256 for shard in split.shards],
    }
    return "sha256:" + hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def pack_answers(answers: NDArray[np.bool_]) -> str:
    """Write truth values, row by row and most significant bit first, as base64."""
    return base64.b64encode(np.packbits(answers).tobytes()).decode("ascii")


def unpack_answers(text: str, images: int, answers_per_image: int) -> NDArray[np.bool_]:
    """Read what `pack_answers` wrote.

    Raises:
        DocumentError: If the text does not hold that many answers.
    """
    count = images * answers_per_image
    try:
        packed = np.frombuffer(base64.b64decode(text, validate=True), dtype=np.uint8)
    except ValueError as error:
        raise DocumentError(f"evaluation document: right_answers is not base64 ({error}); evaluate again") from None
    if len(packed) != (count + 7) // 8:
        raise DocumentError(
            f"evaluation document: right_answers holds {len(packed)} bytes, {count} answers need {(count + 7) // 8}; "
            "evaluate the model again"
        )
    return np.unpackbits(packed, count=count).astype(bool).reshape(images, answers_per_image)


def _compare_with_search(result: TuningResult | None, accuracy: float) -> Selection | None:
    best = result.best_trial if result else None
    if best is None or best.objective is None:
        return None
    return Selection(trial=best.name, objective=best.objective, difference=best.objective - accuracy)


@cache
def _schema() -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(Path(__file__).with_name("evaluation.schema.json").read_bytes())
    return schema
