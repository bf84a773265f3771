"""What a training starts from: nothing, a pretrained network whose last layer is new, or a whole model.

A model is one of ours or of the built-in algorithm (its three MXNet files), in any form that
`kfp_image_tuning.model.model_source` takes. There is no hub: the weights come from where the user says.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from kfp_image_tuning.core.errors import TrainingError
from kfp_image_tuning.core.object_store import without_credentials
from kfp_image_tuning.model.model_files import DOCUMENT_NAME, load_model
from kfp_image_tuning.model.model_source import local_model
from kfp_image_tuning.model.mxnet_format import read_mxnet_model
from kfp_image_tuning.model.network import LAST_LAYER, ResNetV2, load_mxnet_arrays, mxnet_arrays, mxnet_name
from kfp_image_tuning.model.preprocessing import Preprocessing
from kfp_image_tuning.search.hyperparameters import Hyperparameters


@dataclass(frozen=True)
class InitialModel:
    """A trained network to start from.

    Attributes:
        num_layers: Its depth.
        num_classes: Its outputs.
        image_shape: Channels, height, width.
        arrays: Weights and running statistics by MXNet's name.
        preprocessing: What it expects of its pixels, and continues to expect.
    """

    num_layers: int
    num_classes: int
    image_shape: tuple[int, ...]
    arrays: dict[str, Tensor]
    preprocessing: Preprocessing

    @classmethod
    def read(cls, source: str | Path) -> "InitialModel":
        """Read a model of ours or of the built-in algorithm.

        Raises:
            TrainingError: If there is none or it is damaged.
        """
        with local_model(source) as folder:
            if (folder / DOCUMENT_NAME).is_file():
                model = load_model(folder)
                own = model.document
                arrays = mxnet_arrays(model.network)
                return cls(own.num_layers, len(own.classes), own.image_shape, arrays, own.preprocessing)
            foreign = read_mxnet_model(folder)
        # The algorithm's network takes pixels as they are.
        channels = foreign.image_shape[0]
        preprocessing = Preprocessing((0.0,) * channels, (1.0,) * channels)
        arrays = {name: torch.from_numpy(array) for name, array in foreign.arrays.items()}
        return cls(foreign.num_layers, foreign.num_classes, foreign.image_shape, arrays, preprocessing)

    def check(self, hyperparameters: Hyperparameters, source: object) -> None:
        """Refuse a trial that this model cannot start.

        Raises:
            TrainingError: With every hyperparameter that differs from the model and may not.
        """
        # A new last layer may have any number of classes.
        fixed = {"num_layers", "image_shape"} | ({"num_classes"} if not hyperparameters.use_pretrained_model else set())
        problems = [
            f"{name}: {getattr(hyperparameters, name)} is asked for, the initial model {source} has "
            f"{getattr(self, name)}; they must be equal"
            for name in sorted(fixed)
            if getattr(self, name) != getattr(hyperparameters, name)
        ]
        if problems:
            raise TrainingError(*problems)


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
    shape = hyperparameters.image_shape
    network = ResNetV2(hyperparameters.num_layers, hyperparameters.num_classes, shape, generator)
    if initial_model is None:
        if hyperparameters.use_pretrained_model:
            raise TrainingError(
                "use_pretrained_model: is 1, but no weights are given; name a model's folder or model.tar.gz as "
                "initial model (a SageMaker training's model channel), or set it to 0"
            )
        return network, Preprocessing.default(shape[0])
    initial = InitialModel.read(initial_model)
    source = without_credentials(str(initial_model))
    initial.check(hyperparameters, source)
    arrays = dict(initial.arrays)
    if hyperparameters.use_pretrained_model:
        own = mxnet_arrays(network)
        arrays |= {name: own[name] for name in map(mxnet_name, LAST_LAYER)}
        log("Using pretrained model for initializing weights and transfer learning.")
    else:
        log(f"Continuing from the model in {source}")
    load_mxnet_arrays(network, arrays, source=source)
    return network, initial.preprocessing
