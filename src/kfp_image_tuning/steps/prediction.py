"""A model's answers for images without labels, row by row as they come."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kfp_image_tuning.core.errors import DatasetError
from kfp_image_tuning.dataset.image_codec import Pixels
from kfp_image_tuning.model.prediction import predict_images, read_pixels
from kfp_image_tuning.preparation.sources.image_reference import UnreadableImageError
from kfp_image_tuning.preparation.sources.unlabelled_images import UnlabelledImage, find_images


@dataclass(frozen=True)
class Prediction:
    """What a model says of an image.

    Attributes:
        image: The image's name.
        classes: Class and probability, 0 to 1, the most probable first; empty if there is no answer.
        error: Why there is none.
    """

    image: str
    classes: tuple[tuple[str, float], ...] = ()
    error: str = ""


def predict(model: str | Path, places: Sequence[str], *, top: int = 1, batch_size: int = 64) -> Iterator[Prediction]:
    """Classify images.

    Args:
        model: Folder or ``.tar.gz`` of a model, a path or an address.
        places: Images, folders of them, addresses of either; ``-`` is an image on standard input.
        top: How many classes to tell of each image; 1 or more.
        batch_size: Images that are decoded and predicted at a time.

    Yields:
        One prediction for each image, in order. Those that cannot be read have an error instead.

    Raises:
        ParameterError: If there is no image at a place.
        TrainingError: If the model cannot be read.
        StoreError: If something cannot be fetched.
    """
    # Imported here: what the user got wrong is to be told before torch is there.
    with contextlib.ExitStack() as opened:
        downloads = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="images-")))
        images = find_images(places, downloads)

        from kfp_image_tuning.model.model_files import load_model
        from kfp_image_tuning.model.model_source import local_model
        from kfp_image_tuning.trainer.devices import default_device

        with local_model(model) as folder:
            classifier = load_model(folder, default_device())

        def decode(image: UnlabelledImage) -> Pixels | str:
            try:
                return read_pixels(image.read(), classifier.image_shape)
            except (DatasetError, UnreadableImageError) as error:
                return str(error)

        for image, answer in predict_images(classifier, images, decode, batch_size):
            if isinstance(answer, str):
                yield Prediction(image.name, error=answer)
            else:
                best = (-answer).argsort(kind="stable")[:top]
                yield Prediction(image.name, tuple((classifier.classes[n], float(answer[n])) for n in best))
