"""What a training starts from: nothing, a pretrained network whose last layer is new, or a whole model.

A model is a folder (or ``.tar.gz`` of one) as `kfp_image_tuning.trainer.model_files` writes it, or one of the built-
in algorithm: its three MXNet files. There is no hub: the weights come from where the user says.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from kfp_image_tuning.trainer.model_files import DOCUMENT_NAME, load_model
from kfp_image_tuning.trainer.mxnet_format import read_mxnet_model
from kfp_image_tuning.trainer.network import LAST_LAYER, ResNetV2, load_mxnet_arrays, mxnet_arrays, mxnet_name
from kfp_image_tuning.trainer.preprocessing import Preprocessing
from kfp_image_tuning.tuning.errors import TrainingError
from kfp_image_tuning.tuning.hyperparameters import Hyperparameters


def start_network(
    hyperparameters: Hyperparameters,
    initial_model: str | Path | None,
    generator: torch.Generator,
    log: Callable[[str], None],
) -> tuple[ResNetV2, Preprocessing]:
    """Build the network with its first weights.

    Args:
        hyperparameters: The trial's.
        initial_model: The model to start from, if any.
        generator: Source of random weights.
        log: Told what is started from.

    Returns:
        The network and what it expects of its pixels.

    Raises:
        TrainingError: If there is no initial model although ``use_pretrained_model`` asks for one, or it does not fit.
    """
    network = ResNetV2(hyperparameters.num_layers, hyperparameters.num_classes, hyperparameters.image_shape, generator)
    if initial_model is None:
        if hyperparameters.use_pretrained_model:
            raise TrainingError(
                "use_pretrained_model: is 1, but no weights are given; name a model folder or file as initial model, "
                "or set it to 0"
            )
        return network, Preprocessing.default(hyperparameters.image_shape[0])
    path = Path(initial_model)
    arrays, preprocessing = _read(path)
    if hyperparameters.use_pretrained_model:
        own = mxnet_arrays(network)
        arrays |= {name: own[name] for name in map(mxnet_name, LAST_LAYER)}
        log("Using pretrained model for initializing weights and transfer learning.")
    else:
        log(f"Continuing from the model in {path}")
    load_mxnet_arrays(network, arrays, source=path)
    return network, preprocessing


def _read(path: Path) -> tuple[dict[str, Tensor], Preprocessing]:
    if (path / DOCUMENT_NAME).is_file():
        model = load_model(path)
        return mxnet_arrays(model.network), model.document.preprocessing
    foreign = read_mxnet_model(path)
    arrays = {name: torch.from_numpy(array) for name, array in foreign.arrays.items()}
    channels = foreign.image_shape[0]
    # The algorithm's network takes pixels as they are.
    return arrays, Preprocessing((0.0,) * channels, (1.0,) * channels)
