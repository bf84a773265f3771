"""Models in the form that the built-in algorithm leaves behind and takes up: three files that MXNet loads.

==================================== ==================================================================================
``image-classification-NNNN.params`` weights (``arg:…``) and running statistics (``aux:…``); NNNN counts epochs from 1
``image-classification-symbol.json`` the network
``model-shapes.json``                the shape of the input, ``[{"name": "data", "shape": [1, C, H, W]}]``
==================================== ==================================================================================

The algorithm's network takes RGB images of 0 to 255 as they are, its first batch normalization (``bn_data``) is all the
preprocessing it has. A model of ours whose preprocessing subtracts a mean and divides by a standard deviation gives the
same output after both have been folded into the running statistics of ``bn_data``.
"""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kfp_image_tuning.core.errors import TrainingError
from kfp_image_tuning.model.model_files import load_model
from kfp_image_tuning.model.mxnet_arrays import read_arrays, write_arrays
from kfp_image_tuning.model.mxnet_symbol import (
    EPSILON,
    MULTI_LABEL_OUTPUT,
    SINGLE_LABEL_OUTPUT,
    array_shapes,
    symbol_text,
)
from kfp_image_tuning.model.network import UNITS_PER_STAGE, mxnet_arrays
from kfp_image_tuning.model.preprocessing import Preprocessing

PREFIX = "image-classification"
SYMBOL_FILE = f"{PREFIX}-symbol.json"
SHAPES_FILE = "model-shapes.json"

_STATISTICS = ("_moving_mean", "_moving_var")


@dataclass(frozen=True)
class MXNetModel:
    """What the three files hold.

    Attributes:
        num_layers: Depth of the ResNet.
        num_classes: Number of outputs.
        image_shape: Channels, height, width.
        multi_label: Whether the outputs are independent probabilities instead of one distribution.
        epoch: Epochs that it was trained for: the number in the file's name.
        arrays: Weights and running statistics by MXNet's name, for RGB images of 0 to 255.
    """

    num_layers: int
    num_classes: int
    image_shape: tuple[int, int, int]
    multi_label: bool
    epoch: int
    arrays: dict[str, NDArray[np.float32]]


def fold_preprocessing(model: MXNetModel, preprocessing: Preprocessing) -> MXNetModel:
    """Move ``(pixel - mean) / std`` from before a network into its first batch normalization.

    Args:
        model: Whose arrays expect preprocessed images.
        preprocessing: Which it expects.

    Returns:
        The model that gives the same output for unprocessed images.

    Raises:
        TrainingError: If a channel of the training images had no contrast at all.
    """
    means, deviations = np.array(preprocessing.mean), np.array(preprocessing.std)
    if not means.any() and (deviations == 1).all():
        return model
    arrays = dict(model.arrays)
    running_mean, running_variance = arrays["bn_data_moving_mean"], arrays["bn_data_moving_var"]
    arrays["bn_data_moving_mean"] = (means + deviations * running_mean).astype(np.float32)
    variance = deviations**2 * (running_variance.astype(np.float64) + EPSILON) - EPSILON
    if (variance < 0).any():
        raise TrainingError(
            f"bn_data_moving_var: {running_variance.tolist()} with std {deviations.tolist()} cannot be said without "
            "preprocessing; train on images that have some contrast in every channel"
        )
    arrays["bn_data_moving_var"] = variance.astype(np.float32)
    return replace(model, arrays=arrays)


def write_mxnet_model(model_directory: Path, output_directory: Path) -> tuple[Path, ...]:
    """Write a trained model in the built-in algorithm's form.

    Args:
        model_directory: Holds ``model.safetensors`` and ``model.json``.
        output_directory: Where the three files go; the same model's are replaced.

    Returns:
        Their paths, parameters first.

    Raises:
        TrainingError: If the model cannot be read or not be said in this form, or the folder holds another one.
        DocumentError: If ``model.json`` has an unknown version or form.
    """
    classifier = load_model(model_directory)
    document = classifier.document
    channels, height, width = document.image_shape
    model = MXNetModel(
        num_layers=document.num_layers,
        num_classes=len(document.classes),
        image_shape=(channels, height, width),
        multi_label=document.multi_label,
        epoch=document.epoch + 1,
        arrays={name: array.numpy() for name, array in mxnet_arrays(classifier.network).items()},
    )
    return write_files(fold_preprocessing(model, document.preprocessing), output_directory)


def write_files(model: MXNetModel, directory: Path) -> tuple[Path, ...]:
    """Write the three files, and nothing else.

    Returns:
        Their paths, parameters first.

    Raises:
        TrainingError: If the folder holds parameters of another epoch, which a reader could take for this model's.
    """
    directory.mkdir(parents=True, exist_ok=True)
    parameters = directory / f"{PREFIX}-{model.epoch:04d}.params"
    if others := [path.name for path in _find_parameters(directory) if path != parameters]:
        raise TrainingError(f"{directory}: already holds {', '.join(others)}; choose an empty folder")
    write_arrays(parameters, {f"{_storage(name)}:{name}": array for name, array in model.arrays.items()})
    symbol = directory / SYMBOL_FILE
    symbol.write_text(symbol_text(model.num_layers, model.num_classes, model.image_shape, model.multi_label))
    shapes = directory / SHAPES_FILE
    shapes.write_text(json.dumps([{"name": "data", "shape": [1, *model.image_shape]}]) + "\n")
    return parameters, symbol, shapes


def read_mxnet_model(directory: Path) -> MXNetModel:
    """Read the three files of the built-in algorithm, of MXNet, or of `write_mxnet_model`.

    Where several epochs are stored, the last one is read.

    Raises:
        TrainingError: If a file is missing or damaged, or the network is another than the algorithm's ResNets.
    """
    parameters = _last_parameters(directory)
    image_shape = _read_image_shape(directory / SHAPES_FILE)
    multi_label = _read_symbol(directory / SYMBOL_FILE)
    stored = read_arrays(parameters)
    # What batch normalization with a fixed gamma stores for it is never used: it counts as 1.
    arrays = {name.partition(":")[2]: array for name, array in stored.items()}
    arrays["bn_data_gamma"] = np.ones(image_shape[0], np.float32)
    num_layers = _recognize_depth(parameters, arrays)
    num_classes = len(arrays.get("fc1_bias", ()))
    _check_arrays(parameters, arrays, array_shapes(num_layers, num_classes, image_shape))
    epoch = int(parameters.stem.rpartition("-")[2])
    return MXNetModel(num_layers, num_classes, image_shape, multi_label, epoch, arrays)


def _storage(name: str) -> str:
    return "aux" if name.endswith(_STATISTICS) else "arg"


def _last_parameters(directory: Path) -> Path:
    found = _find_parameters(directory)
    if not found:
        raise TrainingError(
            f"{directory}: holds no {PREFIX}-NNNN.params; give the folder into which model.tar.gz of the image "
            "classification algorithm was unpacked"
        )
    return max(found, key=lambda path: int(path.stem.rpartition("-")[2]))


def _find_parameters(directory: Path) -> list[Path]:
    return sorted(path for path in directory.glob("*.params") if re.fullmatch(rf"{PREFIX}-\d+", path.stem))


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainingError(
            f"{path}: cannot be read ({error.strerror}); the algorithm's model.tar.gz holds it beside the parameters"
        ) from None
    except (ValueError, RecursionError):
        raise TrainingError(f"{path}: is not a JSON document; get it again from the algorithm's model.tar.gz") from None


def _read_image_shape(path: Path) -> tuple[int, int, int]:
    document = _read_json(path)
    entries = document if isinstance(document, list) else []
    for entry in entries:
        match entry:
            case {"name": "data", "shape": [int(), int(channels), int(height), int(width)]} if (
                min(channels, height, width) > 0
            ):
                return channels, height, width
    raise TrainingError(
        f'{path}: has no entry of the form {{"name": "data", "shape": [batch, channels, height, width]}}; '
        "it must say what images the model takes"
    )


def _read_symbol(path: Path) -> bool:
    """Check that batch normalization is as our networks have it; return whether the output is multi-label."""
    document = _read_json(path)
    try:
        nodes = document["nodes"]
        output = nodes[document["heads"][0][0]]["op"]
        # MXNet before 1.0 wrote "attr", and before that "param".
        settings = {
            node["name"]: node.get("attrs") or node.get("attr") or node.get("param") or {}
            for node in nodes
            if node["op"] == "BatchNorm"
        }
        problems = [
            f"{path}: {name}: {kind} is {found}, the algorithm's networks have {expected}"
            for name, given in settings.items()
            for kind, found, expected in (
                ("eps", float(given.get("eps", 1e-3)), EPSILON),
                ("fix_gamma", given.get("fix_gamma", "True") in ("True", "1"), name == "bn_data"),
            )
            if found != expected
        ]
    except (LookupError, TypeError, AttributeError, ValueError):
        raise TrainingError(f"{path}: is not an MXNet symbol; get it again from the algorithm's model.tar.gz") from None
    if output not in (SINGLE_LABEL_OUTPUT, MULTI_LABEL_OUTPUT):
        problems.append(f"{path}: ends in {output}; {SINGLE_LABEL_OUTPUT} or {MULTI_LABEL_OUTPUT} is expected")
    if problems:
        raise TrainingError(*problems[:5])
    return bool(output == MULTI_LABEL_OUTPUT)


def _recognize_depth(path: Path, arrays: dict[str, NDArray[np.float32]]) -> int:
    stages: dict[int, int] = {}
    for name in arrays:
        if found := re.fullmatch(r"stage(\d+)_unit(\d+)_conv1_weight", name):
            stages[int(found[1])] = max(stages.get(int(found[1]), 0), int(found[2]))
    units = tuple(stages[stage] for stage in sorted(stages))
    bottleneck = "stage1_unit1_conv3_weight" in arrays
    for num_layers, known in UNITS_PER_STAGE.items():
        # 34 and 50 layers have the same units, of two and of three convolutions.
        if known == units and bottleneck == ("stage1_unit1_conv3_weight" in array_shapes(num_layers, 1, (3, 32, 32))):
            return num_layers
    raise TrainingError(
        f"{path}: {units or 'no'} residual units{' of three convolutions' if bottleneck else ''}, as no network of the "
        f"algorithm has; those have {', '.join(map(str, UNITS_PER_STAGE))} layers"
    )


def _check_arrays(path: Path, arrays: dict[str, NDArray[np.float32]], shapes: dict[str, tuple[int, ...]]) -> None:
    problems = [f"{path}: {name} is missing" for name in shapes if name not in arrays]
    problems += [f"{path}: {name} belongs to no network of the algorithm" for name in arrays if name not in shapes]
    problems += [
        f"{path}: {name} has the shape {arrays[name].shape}, expected is {shapes[name]}"
        for name in shapes.keys() & arrays.keys()
        if arrays[name].shape != shapes[name]
    ]
    if problems:
        raise TrainingError(*sorted(problems)[:5])
