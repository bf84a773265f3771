"""A trained model on disk, and what it predicts.

``model.safetensors`` holds the weights under MXNet's names, ``model.json`` all else;
``model.schema.json`` describes the document. Both files say which epoch they are from, so that a pair torn by a crash
between the two writes is refused instead of believed.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize
from torch import Tensor

from kfp_image_tuning.core.document_schema import find_violations
from kfp_image_tuning.core.durable_file import write_durably
from kfp_image_tuning.core.errors import DocumentError, TrainingError
from kfp_image_tuning.model.network import ResNetV2, load_mxnet_arrays, mxnet_arrays
from kfp_image_tuning.model.preprocessing import Preprocessing
from kfp_image_tuning.search.hyperparameters import Hyperparameters

SCHEMA_VERSION = 1
DOCUMENT_NAME = "model.json"
WEIGHTS_NAME = "model.safetensors"
PREDICTION_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class ModelDocument:
    """What ``model.json`` says.

    Attributes:
        num_layers: Depth of the ResNet.
        image_shape: Channels, height, width.
        multi_label: Whether the classes' probabilities are independent of each other.
        classes: Names; the position is the class number.
        preprocessing: What the network expects of its pixels.
        hyperparameters: The trial's, as SageMaker passes them.
        epoch: The epoch that the weights are from, from 0.
        validation_accuracy: In that epoch.
    """

    num_layers: int
    image_shape: tuple[int, ...]
    multi_label: bool
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    hyperparameters: Mapping[str, str]
    epoch: int
    validation_accuracy: float

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "schema_version": SCHEMA_VERSION,
            "architecture": {
                "num_layers": self.num_layers,
                "image_shape": list(self.image_shape),
                "num_classes": len(self.classes),
                "multi_label": self.multi_label,
            },
            "classes": list(self.classes),
            "preprocessing": {
                "mean": list(self.preprocessing.mean),
                "std": list(self.preprocessing.std),
                "resize": "squeeze",
                "channel_order": "RGB",
            },
            "hyperparameters": dict(self.hyperparameters),
            "epoch": self.epoch,
            "validation_accuracy": self.validation_accuracy,
        }

    @classmethod
    def from_dict(cls, document: object, source: object = DOCUMENT_NAME) -> Self:
        """Read the JSON form.

        Args:
            document: Parsed JSON.
            source: Where it comes from, for the message.

        Raises:
            DocumentError: With every place that is not as the schema says.
        """
        version = document.get("schema_version") if isinstance(document, dict) else None
        if version != SCHEMA_VERSION:
            raise DocumentError(
                f"{source}: schema_version is {version!r}, this version of kfp-image-tuning reads {SCHEMA_VERSION}; "
                "use the version that wrote it or train again"
            )
        schema = json.loads(Path(__file__).with_name("model.schema.json").read_bytes())
        if problems := find_violations(document, schema):
            raise DocumentError(*(f"{source}: {problem}" for problem in problems))
        assert isinstance(document, dict)
        architecture, preprocessing = document["architecture"], document["preprocessing"]
        model = cls(
            num_layers=architecture["num_layers"],
            image_shape=tuple(architecture["image_shape"]),
            multi_label=architecture["multi_label"],
            classes=tuple(document["classes"]),
            preprocessing=Preprocessing(tuple(preprocessing["mean"]), tuple(preprocessing["std"])),
            hyperparameters=document["hyperparameters"],
            epoch=document["epoch"],
            validation_accuracy=document["validation_accuracy"],
        )
        if problems := model._contradictions(architecture["num_classes"]):
            raise DocumentError(*(f"{source}: {problem}" for problem in problems))
        return model

    def _contradictions(self, num_classes: int) -> list[str]:
        channels = self.image_shape[0]
        problems = []
        if num_classes != len(self.classes):
            problems.append(f"architecture.num_classes is {num_classes}, but {len(self.classes)} classes are named")
        for name, values in (("mean", self.preprocessing.mean), ("std", self.preprocessing.std)):
            if len(values) != channels:
                problems.append(f"preprocessing.{name} has {len(values)} numbers for {channels} channels")
        return problems


class ImageClassifier:
    """A trained network that takes images as they are stored.

    Attributes:
        document: What ``model.json`` says.
        network: In evaluation mode.
    """

    def __init__(self, document: ModelDocument, network: ResNetV2, device: torch.device) -> None:
        self.document = document
        self.network = network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self._device = device
        self._normalize = document.preprocessing.on(device)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names; the position is the class number."""
        return self.document.classes

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Channels, height, width that `predict` takes."""
        return self.document.image_shape

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Give each class's probability for each image.

        Args:
            images: uint8 ``[N, H, W, C]`` of exactly `image_shape`; may be memory-mapped.

        Returns:
            float32 ``[N, classes]``; rows add up to 1 unless the model is multi-label.

        Raises:
            TrainingError: If the images have another shape.
        """
        channels, height, width = self.image_shape
        if images.ndim != 4 or images.shape[1:] != (height, width, channels) or images.dtype != np.uint8:
            raise TrainingError(
                f"images: {images.dtype} {images.shape}; the model takes uint8 (N, {height}, {width}, {channels}); "
                "resize them to the model's image_shape"
            )
        parts = [images[start : start + PREDICTION_BATCH] for start in range(0, len(images), PREDICTION_BATCH)]
        probabilities = np.empty((len(images), len(self.classes)), np.float32)
        with torch.inference_mode():
            for number, part in enumerate(parts):
                pixels = torch.from_numpy(np.array(part)).to(self._device)
                logits = self.network(self._normalize(pixels)).float()
                batch = logits.sigmoid() if self.document.multi_label else logits.softmax(dim=1)
                start = number * PREDICTION_BATCH
                probabilities[start : start + len(part)] = batch.cpu().numpy()
        return probabilities


def describe_model(
    hyperparameters: Hyperparameters,
    classes: tuple[str, ...],
    preprocessing: Preprocessing,
    epoch: int,
    validation_accuracy: float,
) -> ModelDocument:
    """What ``model.json`` will say of a trial's model."""
    return ModelDocument(
        num_layers=hyperparameters.num_layers,
        image_shape=hyperparameters.image_shape,
        multi_label=hyperparameters.multi_label,
        classes=classes,
        preprocessing=preprocessing,
        hyperparameters=hyperparameters.to_strings(),
        epoch=epoch,
        validation_accuracy=validation_accuracy,
    )


def save_model(directory: Path, document: ModelDocument, network: ResNetV2) -> Path:
    """Write both files; a model that is already there is replaced.

    Returns:
        The path of the weights.
    """
    directory.mkdir(parents=True, exist_ok=True)
    weights = directory / WEIGHTS_NAME
    write_durably(weights, serialize(mxnet_arrays(network), metadata={"epoch": str(document.epoch)}))
    text = json.dumps(document.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
    write_durably(directory / DOCUMENT_NAME, (text + "\n").encode())
    return weights


def load_model(directory: Path, device: torch.device | None = None) -> ImageClassifier:
    """Read a model that `save_model` wrote.

    Args:
        directory: The folder of both files.
        device: Where it shall predict; the CPU if not given.

    Raises:
        TrainingError: If a file is missing or damaged, or the weights are not those of the described network.
        DocumentError: If ``model.json`` has an unknown version or form.
    """
    document = read_document(directory / DOCUMENT_NAME)
    arrays = _read_weights(directory / WEIGHTS_NAME, document.epoch)
    network = ResNetV2(document.num_layers, len(document.classes), document.image_shape)
    load_mxnet_arrays(network, arrays, source=directory / WEIGHTS_NAME)
    return ImageClassifier(document, network, device or torch.device("cpu"))


def read_document(path: Path) -> ModelDocument:
    """Read ``model.json`` alone."""
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise TrainingError(f"{path}: cannot be read ({error.strerror}); give the folder of a trained model") from None
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"{path}: is not valid JSON ({error}); train again") from None
    return ModelDocument.from_dict(document, path)


def _read_weights(path: Path, epoch: int) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            stored = (file.metadata() or {}).get("epoch", str(epoch))
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"{path}: cannot be read ({error}); give the folder of a trained model") from None
    if stored != str(epoch):
        raise TrainingError(
            f"{path}: is from epoch {stored}, {DOCUMENT_NAME} beside it from epoch {epoch}: writing was interrupted; "
            "resume or repeat the training"
        )
    return arrays
