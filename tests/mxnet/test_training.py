"""The same training in both: same records, same network, same initial weights, same order of the images."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from kfp_image_tuning.dataset.recordio import ImageRecord, RecordReader, RecordWriter
from kfp_image_tuning.model.mxnet_format import MXNetModel, read_mxnet_model, write_files
from kfp_image_tuning.model.network import ResNetV2, load_mxnet_arrays, mxnet_arrays
from kfp_image_tuning.model.preprocessing import Preprocessing
from kfp_image_tuning.trainer.measures import sum_loss
from kfp_image_tuning.trainer.optimizers import SGD

SIZE, BATCH, EPOCHS, COMPARED_STEPS = 16, 32, 3, 3
TRAINING_IMAGES, VALIDATION_IMAGES = 44 * BATCH, 12 * BATCH
LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 0.02, 0.9, 1e-4

Trained = tuple[Path, list[float], list[float], dict[str, torch.Tensor], NDArray[Any]]
"""The folder, MXNet's losses, ours, our weights after the compared steps, our probabilities."""


@pytest.fixture(scope="module")
def trained(mxnet: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("training")
    write_digits(folder)
    network = ResNetV2(20, 10, (3, SIZE, SIZE), torch.Generator().manual_seed(3))
    write_files(as_mxnet(network), folder / "start")
    preprocessing = Preprocessing.default(3)
    losses = mxnet(
        "train",
        folder,
        size=SIZE,
        batch=BATCH,
        epochs=EPOCHS,
        settings={"learning_rate": LEARNING_RATE, "momentum": MOMENTUM, "wd": WEIGHT_DECAY},
        means=preprocessing.mean,
        deviations=preprocessing.std,
        compared_steps=COMPARED_STEPS,
    )
    return folder, losses, *train(network, folder, preprocessing)


def write_digits(folder: Path) -> None:
    """Real handwritten digits, 8x8 made larger, each in a colour of its own, on paper with a grain.

    Without the grain whole backgrounds are one value, and a rounding error that moves it over a ReLU's threshold moves
    a third of an image at once.
    """
    digits, labels = load_digits(return_X_y=True)
    source = np.random.default_rng(0)
    order = source.permutation(len(digits))
    parts = {"train": order[:TRAINING_IMAGES], "validation": order[TRAINING_IMAGES:][:VALIDATION_IMAGES]}
    for name, chosen in parts.items():
        with RecordWriter(folder / f"{name}.rec", folder / f"{name}.idx") as writer:
            for key, number in enumerate(chosen):
                gray = cv2.resize(digits[number].reshape(8, 8).astype(np.float32) * 13, (SIZE, SIZE))
                color = source.uniform(0.3, 1.0, 3)
                image = gray[..., None] * color + source.uniform(0, 40, (SIZE, SIZE, 3))
                png = cv2.imencode(".png", image.astype(np.uint8))[1].tobytes()
                writer.write(ImageRecord(key, (float(labels[number]),), png).pack(), key)


def read_digits(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    with RecordReader(path) as reader:
        records = [ImageRecord.unpack(payload) for payload in reader]
    images = [
        cv2.cvtColor(cv2.imdecode(np.frombuffer(record.image, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        for record in records
    ]
    return torch.from_numpy(np.stack(images)), torch.tensor([int(record.labels[0]) for record in records])


def as_mxnet(network: ResNetV2, epoch: int = 0) -> MXNetModel:
    arrays = {name: array.numpy() for name, array in mxnet_arrays(network).items()}
    return MXNetModel(20, 10, (3, SIZE, SIZE), False, epoch, arrays)


def train(
    network: ResNetV2, folder: Path, preprocessing: Preprocessing
) -> tuple[list[float], dict[str, torch.Tensor], NDArray[Any]]:
    """The losses of all steps, the weights after the compared ones, the probabilities for the validation images."""
    images, labels = read_digits(folder / "train.rec")
    normalize = preprocessing.on(torch.device("cpu"))
    optimizer = SGD(network, LEARNING_RATE, WEIGHT_DECAY, momentum=MOMENTUM)
    losses: list[float] = []
    compared: dict[str, torch.Tensor] = {}
    for _ in range(EPOCHS):
        network.train()
        for start in range(0, len(images), BATCH):
            chosen = slice(start, start + BATCH)
            loss = sum_loss(network(normalize(images[chosen])), labels[chosen]) / BATCH
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if len(losses) == COMPARED_STEPS:
                compared = mxnet_arrays(network)
    return losses, compared, predict(network, folder, normalize)


def predict(network: ResNetV2, folder: Path, normalize: Callable[[torch.Tensor], torch.Tensor]) -> NDArray[Any]:
    images, _ = read_digits(folder / "validation.rec")
    with torch.inference_mode():
        probabilities: NDArray[Any] = network.eval()(normalize(images)).softmax(dim=1).numpy()
    return probabilities


def test_first_losses_and_weights_agree(trained: Trained) -> None:
    folder, theirs, ours, weights, _ = trained
    assert ours[:COMPARED_STEPS] == pytest.approx(theirs[:COMPARED_STEPS], rel=5e-4)
    initial = read_mxnet_model(folder / "start").arrays
    for name, expected in read_mxnet_model(folder / "compared").arrays.items():
        if name != "bn_data_gamma" and not name.endswith("_moving_var"):
            change = np.linalg.norm(expected - initial[name])
            assert np.linalg.norm(weights[name].numpy() - expected) < 0.1 * change, name


def test_both_end_alike(trained: Trained) -> None:
    folder, theirs, ours, _, probabilities = trained
    _, labels = read_digits(folder / "validation.rec")
    expected = np.load(folder / "trained" / "outputs.npy")
    accuracies = [float((found.argmax(axis=1) == labels.numpy()).mean()) for found in (probabilities, expected)]
    assert min(accuracies) > 0.9
    assert abs(accuracies[0] - accuracies[1]) < 0.04
    last = slice(-44, None)
    assert np.mean(ours[last]) == pytest.approx(np.mean(theirs[last]), rel=0.3)


def test_model_that_mxnet_trained_gives_the_same_probabilities_in_ours(trained: Trained) -> None:
    folder, *_ = trained
    model = read_mxnet_model(folder / "trained")
    assert (model.num_layers, model.num_classes, model.image_shape) == (20, 10, (3, SIZE, SIZE))
    assert (model.multi_label, model.epoch) == (False, EPOCHS)
    network = ResNetV2(20, 10, model.image_shape)
    load_mxnet_arrays(network, {name: torch.from_numpy(array) for name, array in model.arrays.items()}, source="MXNet")
    found = predict(network, folder, Preprocessing.default(3).on(torch.device("cpu")))
    expected = np.load(folder / "trained" / "outputs.npy")
    assert np.abs(found - expected).max() < 1e-4
    stored = json.loads((folder / "trained" / "image-classification-symbol.json").read_text())
    assert stored["attrs"]["mxnet_version"] == ["int", 10901]
