"""Writes a model in a form that other programs run, and measures what int8 costs it."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from kfp_image_tuning.core.errors import ParameterError
from kfp_image_tuning.dataset.document import Dataset
from kfp_image_tuning.dataset.image_codec import Pixels
from kfp_image_tuning.evaluation.prediction import predict_split, split_records
from kfp_image_tuning.evaluation.scoring import find_answers
from kfp_image_tuning.model.prediction import Classifier, read_pixels

CALIBRATION_IMAGES = 512
_BATCH = 32


@dataclass(frozen=True)
class QuantizationCost:
    """What int8 costs and gains.

    Attributes:
        images: Test images on which both were measured.
        accuracy: Of the model as it is, 0 to 1.
        int8_accuracy: Of the model in int8.
        bytes: Size of the ONNX file as it is.
        int8_bytes: Size in int8.
    """

    images: int
    accuracy: float
    int8_accuracy: float
    bytes: int
    int8_bytes: int


def export(
    model: str | Path,
    output: Path,
    *,
    form: str = "onnx",
    normalized_input: bool = False,
    int8_dataset: Path | None = None,
) -> QuantizationCost | None:
    """Write a model in another form.

    Args:
        model: Folder or ``.tar.gz`` of a model; a path or an address.
        output: The file; for ``mxnet`` the folder.
        form: ``onnx``, ``torch`` or ``mxnet``.
        normalized_input: Whether the caller normalizes pixels (``onnx`` and ``torch``).
        int8_dataset: Folder of a prepared data set. The model is written in int8; ranges of activations come from the
            validation images, the cost from the test images.

    Returns:
        What int8 costs; None without it.

    Raises:
        ParameterError: If the form does not have what is asked for.
        TrainingError: If the model cannot be read, or the exported one gives other answers.
        DatasetError: If the data set is not the model's.
    """
    problems = []
    if form == "mxnet" and normalized_input:
        problems.append(
            "normalized_input: MXNet's form takes pixels as they are; leave it out, or choose onnx or torch"
        )
    if int8_dataset is not None and (form != "onnx" or normalized_input):
        problems.append("int8: is for ONNX models that take pixels; leave it out, or choose the format onnx")
    if problems:
        raise ParameterError.from_problems(problems)
    dataset = Dataset.load(int8_dataset) if int8_dataset is not None else None

    # Imported here: what the user got wrong is to be told before torch is there.
    from kfp_image_tuning.model.export import export_onnx, export_torch
    from kfp_image_tuning.model.model_files import load_model
    from kfp_image_tuning.model.model_source import local_model
    from kfp_image_tuning.model.mxnet_format import read_mxnet_model, write_mxnet_model

    with local_model(model) as folder:
        if form == "mxnet":
            write_mxnet_model(folder, output)
            # What cannot be read back is told here and not by whoever gets the files.
            read_mxnet_model(output)
            return None
        classifier = load_model(folder)
    if form == "torch":
        export_torch(classifier, output, normalized_input=normalized_input)
    elif dataset is None:
        export_onnx(classifier, output, normalized_input=normalized_input)
    else:
        with tempfile.TemporaryDirectory(prefix="export-") as scratch:
            whole = Path(scratch) / "model.onnx"
            export_onnx(classifier, whole)
            return _quantize(whole, output, dataset)
    return None


def _quantize(whole: Path, output: Path, dataset: Dataset) -> QuantizationCost:
    from kfp_image_tuning.model.export import OnnxClassifier, quantize_onnx

    quantize_onnx(whole, output, _calibration_batches(dataset))
    before, images = _accuracy(OnnxClassifier(whole), dataset)
    after, _ = _accuracy(OnnxClassifier(output), dataset)
    return QuantizationCost(images, before, after, whole.stat().st_size, output.stat().st_size)


def _calibration_batches(dataset: Dataset) -> Iterator[Pixels]:
    # Spread over the split, whose images may be sorted by class.
    split = dataset.split("validation")
    step = max(1, split.images // CALIBRATION_IMAGES)
    records = islice(split_records(split), 0, None, step)
    images = (read_pixels(record.image, dataset.image_shape) for _, record in records)
    while batch := list(islice(images, _BATCH)):
        yield np.stack(batch)


def _accuracy(model: Classifier, dataset: Dataset) -> tuple[float, int]:
    found = predict_split(model, dataset, dataset.split("test"), batch_size=_BATCH)
    return float(find_answers(found.labels, found.probabilities).mean()), len(found.labels)
