"""The built-in algorithm's ``model.tar.gz`` as a model of ours, to be evaluated without SageMaker."""

from dataclasses import replace
from pathlib import Path

from kfp_image_tuning.core.errors import TrainingError
from kfp_image_tuning.dataset.document import Dataset
from kfp_image_tuning.search.hyperparameters import Hyperparameters


def convert_archive(archive: Path, dataset: Dataset, validation_accuracy: float, directory: Path) -> None:
    """Write the model in an archive as ``model.safetensors`` and ``model.json``.

    The algorithm knows classes by number only; the data set, on which it was trained, gives their names.

    Args:
        archive: ``model.tar.gz`` as SageMaker left it.
        dataset: The data set that the model was trained on.
        validation_accuracy: What SageMaker reported of the model.
        directory: Where the model goes.

    Raises:
        TrainingError: If the archive holds no model of the image classification algorithm, or one for other classes.
    """
    # Imported here: a batch transform does without torch.
    from torch import from_numpy

    from kfp_image_tuning.model.model_files import DOCUMENT_NAME, ModelDocument, load_model, save_model
    from kfp_image_tuning.model.model_source import local_model
    from kfp_image_tuning.model.mxnet_format import read_mxnet_model
    from kfp_image_tuning.model.network import ResNetV2, load_mxnet_arrays
    from kfp_image_tuning.model.preprocessing import Preprocessing

    with local_model(archive) as folder:
        if (folder / DOCUMENT_NAME).is_file():
            own = load_model(folder)
            _check_classes(len(own.classes), dataset, archive)
            save_model(directory, replace(own.document, classes=dataset.classes), own.network)
            return
        model = read_mxnet_model(folder)
    _check_classes(model.num_classes, dataset, archive)
    # The algorithm's network takes pixels as they are.
    channels = model.image_shape[0]
    preprocessing = Preprocessing((0.0,) * channels, (1.0,) * channels)
    hyperparameters = Hyperparameters(
        num_classes=model.num_classes,
        num_training_samples=dataset.split("train").images,
        num_layers=model.num_layers,
        image_shape=model.image_shape,
        multi_label=model.multi_label,
    )
    document = ModelDocument(
        num_layers=model.num_layers,
        image_shape=model.image_shape,
        multi_label=model.multi_label,
        classes=dataset.classes,
        preprocessing=preprocessing,
        hyperparameters=hyperparameters.to_strings(),
        epoch=max(0, model.epoch - 1),
        validation_accuracy=validation_accuracy,
    )
    network = ResNetV2(model.num_layers, model.num_classes, model.image_shape)
    load_mxnet_arrays(network, {name: from_numpy(array) for name, array in model.arrays.items()}, source=archive)
    save_model(directory, document, network)


def _check_classes(count: int, dataset: Dataset, archive: Path) -> None:
    if count != len(dataset.classes):
        raise TrainingError(
            f"{archive.name}: the model has {count} classes, the data set {len(dataset.classes)}; evaluate the model "
            "on the data set that it was trained on"
        )
