"""A trained model in Python."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from kfp_image_tuning.core.errors import DatasetError, ParameterError
from kfp_image_tuning.dataset.image_codec import Pixels, encode_image
from kfp_image_tuning.model.prediction import read_pixels
from kfp_image_tuning.preparation.sources.image_reference import ImageReference, UnreadableImageError

if TYPE_CHECKING:
    from PIL.Image import Image

    from kfp_image_tuning.api.arguments import Place
    from kfp_image_tuning.model.model_files import ImageClassifier

    Picture = Place | bytes | Image | NDArray[np.uint8]


@dataclass(frozen=True)
class Prediction:
    """What a model says of an image.

    Attributes:
        label: The most probable class.
        probability: Its probability, 0 to 1.
        probabilities: Of all classes, the most probable first.
    """

    label: str
    probability: float
    probabilities: Mapping[str, float]


class Model:
    """A trained model.

    Attributes:
        classes: Names; the position is the class number.
        image_shape: Channels, height, width that images are brought to.
        hyperparameters: What it was trained with.
        validation_accuracy: Of the epoch that its weights are from.
    """

    def __init__(self, classifier: "ImageClassifier") -> None:
        document = classifier.document
        self.classes: tuple[str, ...] = tuple(document.classes)
        self.image_shape: tuple[int, ...] = tuple(document.image_shape)
        self.hyperparameters: Mapping[str, str] = document.hyperparameters
        self.validation_accuracy: float = document.validation_accuracy
        self._classifier = classifier

    def __repr__(self) -> str:
        return f"Model({len(self.classes)} classes, validation accuracy {self.validation_accuracy:.1%})"

    @overload
    def predict(self, images: "Picture") -> Prediction: ...
    @overload
    def predict(self, images: "list[Picture] | tuple[Picture, ...]") -> list[Prediction]: ...
    def predict(self, images: Any) -> Prediction | list[Prediction]:
        """Classify an image, or a list of them.

        Args:
            images: Of each a path, the bytes of its file, an image of Pillow, or pixels (uint8 ``[H, W, 3]`` in RGB, or
                ``[H, W]``). They are resized as for the evaluation.

        Raises:
            DatasetError: If one of them cannot be read.
        """
        if not isinstance(images, list | tuple):
            return self._answers([images])[0]
        return self._answers(images)

    def probabilities(self, images: "Sequence[Picture]") -> NDArray[np.float32]:
        """Probabilities ``[N, classes]``, in the order of `classes`."""
        pixels = [read_pixels(_encoded(image), self.image_shape) for image in images]
        return self._classifier.predict(np.stack(pixels)) if pixels else np.empty((0, len(self.classes)), np.float32)

    def _answers(self, images: "Sequence[Picture]") -> list[Prediction]:
        answers = []
        for row in self.probabilities(images):
            ordered = {self.classes[number]: float(row[number]) for number in (-row).argsort(kind="stable")}
            label, probability = next(iter(ordered.items()))
            answers.append(Prediction(label, probability, ordered))
        return answers


def load_model(place: "Place") -> Model:
    """Read a model.

    Args:
        place: Its folder or ``.tar.gz``; a path, or an address such as ``s3://bucket/model``.

    Raises:
        TrainingError: If there is none, or it is damaged.
        StoreError: If it cannot be fetched.
    """
    from kfp_image_tuning.model import model_files
    from kfp_image_tuning.model.model_source import local_model
    from kfp_image_tuning.trainer.devices import default_device

    with local_model(fspath(place)) as folder:
        return Model(model_files.load_model(folder, default_device()))


def _encoded(image: Any) -> bytes:
    """An image as the bytes of a file, so that all forms go the same way."""
    if isinstance(image, bytes | bytearray):
        return bytes(image)
    if isinstance(image, str | PathLike):
        try:
            return ImageReference(fspath(image), (), fspath(image)).read()
        except UnreadableImageError as error:
            raise DatasetError(f"{fspath(image)}: {error}") from None
    if isinstance(image, np.ndarray):
        return encode_image(_as_pixels(image), "png", 0)
    if hasattr(image, "save") and hasattr(image, "convert"):
        file = io.BytesIO()
        image.save(file, "PNG") if image.mode in ("1", "L", "LA", "P", "RGB", "RGBA") else image.convert("RGB").save(
            file, "PNG"
        )
        return file.getvalue()
    raise ParameterError(
        f"image: is a path, bytes, an image of Pillow or an array of pixels, got {type(image).__name__}"
    )


def _as_pixels(image: NDArray[Any]) -> Pixels:
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3)):
        raise ParameterError(f"image: pixels are uint8 [H, W, 3] or [H, W], got {image.dtype} {list(image.shape)}")
    return image[:, :, np.newaxis] if image.ndim == 2 else image
