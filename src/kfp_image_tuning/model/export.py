"""Models in forms that other programs run: ONNX, ONNX in int8, and PyTorch's own exported program.

All take a batch of any size, uint8 ``[N, H, W, C]`` as `kfp_image_tuning.model.prediction.read_pixels` gives it
(or, if wanted, normalized float32 ``[N, C, H, W]``), and give float32 probabilities ``[N, classes]``. What is written
is read back and run before it counts.
"""

import contextlib
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kfp_image_tuning.core.durable_file import appearing
from kfp_image_tuning.core.errors import TrainingError
from kfp_image_tuning.model.model_files import ImageClassifier, ModelDocument

INPUT, OUTPUT = "images", "probabilities"
OPSET = 18
"""Of ONNX: old enough for the runtimes in use, new enough for every operator of the networks."""
TOLERANCE = 1e-4
"""Largest difference of a probability that counts as the same answer."""
_PROBES = 3
"""Images of the batch with which an export is made and tried. Not 1, which would become a constant."""


class _Answers(nn.Module):
    """The network from pixels to probabilities."""

    def __init__(self, classifier: ImageClassifier, normalized_input: bool) -> None:
        super().__init__()
        self.network = classifier.network
        self._normalize = None if normalized_input else classifier.document.preprocessing.on(torch.device("cpu"))
        self._multi_label = classifier.document.multi_label

    def forward(self, images: Tensor) -> Tensor:
        """Probabilities for a batch."""
        logits: Tensor = self.network(self._normalize(images) if self._normalize else images)
        return logits.sigmoid() if self._multi_label else logits.softmax(dim=1)


def export_onnx(classifier: ImageClassifier, target: Path, *, normalized_input: bool = False) -> None:
    """Write a model as one ONNX file; its metadata names the classes.

    Args:
        classifier: The model, on the CPU.
        target: The file.
        normalized_input: Whether the caller normalizes the pixels: the input is float32 ``[N, C, H, W]``.

    Raises:
        TrainingError: If ONNX Runtime gives other answers than PyTorch.
        ModuleNotFoundError: Without the extra ``export``.
    """
    import onnx
    import onnxscript  # noqa: F401  # torch.onnx asks for it late, in words of its own

    network, images = _with_probe(classifier, normalized_input)
    with _quiet():
        program = torch.onnx.export(
            network,
            (images,),
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=OPSET,
            dynamic_shapes={INPUT: {0: torch.export.Dim("N")}},
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    onnx.helper.set_model_props(model, _metadata(classifier.document))
    with appearing(target) as path:
        onnx.save(model, path)
        _compare(OnnxClassifier(path).run(images.numpy()), network(images).detach().numpy(), target)


def export_torch(classifier: ImageClassifier, target: Path, *, normalized_input: bool = False) -> None:
    """Write a model as a program of ``torch.export``, which runs without this package.

    Args:
        classifier: The model, on the CPU.
        target: The file, usually ``.pt2``; ``torch.export.load`` reads it.
        normalized_input: Whether the caller normalizes the pixels: the input is float32 ``[N, C, H, W]``.

    Raises:
        TrainingError: If it gives other answers when it is read back.
    """
    network, images = _with_probe(classifier, normalized_input)
    with _quiet(), appearing(target) as path:
        program = torch.export.export(network, (images,), dynamic_shapes={INPUT: {0: torch.export.Dim("N")}})
        torch.export.save(program, path)
        found = torch.export.load(path).module()(images).detach().numpy()
        _compare(found, network(images).detach().numpy(), target)


def quantize_onnx(source: Path, target: Path, batches: Iterator[NDArray[Any]]) -> None:
    """Write an ONNX model with weights and activations in int8.

    Args:
        source: A model that `export_onnx` wrote.
        target: The file.
        batches: Images as the model takes them, by which the ranges of its activations are found; a few hundred do.

    Raises:
        ModuleNotFoundError: Without the extra ``export``.
    """
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, NDArray[Any]] | None:
            batch = next(batches, None)
            return None if batch is None else {INPUT: batch}

    with _quiet(), appearing(target) as path:
        quantization.quantize_static(
            source,
            path,
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )


class OnnxClassifier:
    """A model in ONNX Runtime, on the CPU.

    Args:
        path: A file that this module wrote.
        threads: How many it may use; 0: as many as there are cores.
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.classes: tuple[str, ...] = tuple(json.loads(metadata["classes"]))
        self.image_shape: tuple[int, ...] = tuple(json.loads(metadata["image_shape"]))

    def run(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Probabilities ``[N, classes]`` for images in the form that the file was exported for."""
        (found,) = self._session.run([OUTPUT], {INPUT: images})
        return np.asarray(found, np.float32)

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The same for pixels, uint8 ``[N, H, W, C]``."""
        return self.run(images)


def _with_probe(classifier: ImageClassifier, normalized_input: bool) -> tuple[_Answers, Tensor]:
    channels, height, width = classifier.image_shape
    pixels = np.random.default_rng(0).integers(0, 256, (_PROBES, height, width, channels), dtype=np.uint8)
    images = torch.from_numpy(pixels)
    if normalized_input:
        images = classifier.document.preprocessing.on(torch.device("cpu"))(images).contiguous()
    return _Answers(classifier, normalized_input).eval(), images


def _metadata(document: ModelDocument) -> dict[str, str]:
    return {
        "classes": json.dumps(list(document.classes), ensure_ascii=False),
        "image_shape": json.dumps(list(document.image_shape)),
        "multi_label": json.dumps(document.multi_label),
        "mean": json.dumps(list(document.preprocessing.mean)),
        "std": json.dumps(list(document.preprocessing.std)),
    }


def _compare(found: NDArray[np.float32], expected: NDArray[np.float32], target: Path) -> None:
    difference = float(np.abs(found - expected).max())
    if not difference <= TOLERANCE:
        raise TrainingError(
            f"{target}: the exported model's probabilities differ by up to {difference:.2g} from the model's, so it "
            "was not kept; try other versions of torch, onnx and onnxruntime"
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No word of the exporters about what is theirs to know."""
    loggers = [logging.getLogger(name) for name in ("", "torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
