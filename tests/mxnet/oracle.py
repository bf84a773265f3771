"""What MXNet does with our files: one task a run, ``python -m tests.mxnet.oracle TASK FOLDER SETTINGS ANSWER``.

MXNet and NumPy alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mxnet as mx
import numpy as np

from tests.mxnet.resnet_symbol import UNITS, resnet

if TYPE_CHECKING:
    from numpy.typing import NDArray

PREFIX = "image-classification"


def read_records(folder: Path, name: str) -> dict[str, Any]:
    """Every record of a file, in order and by its index."""
    plain = mx.recordio.MXRecordIO(str(folder / f"{name}.rec"), "r")
    indexed = mx.recordio.MXIndexedRecordIO(str(folder / f"{name}.idx"), str(folder / f"{name}.rec"), "r")
    in_order = []
    while True:
        payload = plain.read()
        if payload is None:
            break
        in_order.append(describe(payload))
    return {"in_order": in_order, "by_key": {key: describe(indexed.read_idx(key)) for key in indexed.keys}}


def describe(payload: bytes) -> dict[str, Any]:
    header, image = mx.recordio.unpack(payload)
    labels = np.atleast_1d(header.label).tolist()
    return {"identifier": header.id, "labels": labels, "image": image.hex()}


def read_images(folder: Path, name: str, size: int, labels: int) -> None:
    """Images and labels as MXNet's training reads them, into ``NAME.npz``."""
    batches = image_batches(folder / f"{name}.rec", size, 4, label_width=labels)
    images, found = [], []
    for batch in batches:
        count = 4 - batch.pad
        images.append(batch.data[0].asnumpy()[:count])
        found.append(batch.label[0].asnumpy()[:count])
    np.savez(folder / f"{name}.npz", images=np.concatenate(images), labels=np.concatenate(found))


def image_batches(path: Path, size: int, batch: int, **settings: Any) -> Any:
    return mx.io.ImageRecordIter(
        path_imgrec=str(path), data_shape=(3, size, size), batch_size=batch, preprocess_threads=1, **settings
    )


def pack_list(folder: Path, root: str) -> None:
    """Let im2rec make records of the images that ``photos.lst`` names."""
    command = [sys.executable, "-m", "mxnet.tools.im2rec", "--pass-through", "--pack-label"]
    subprocess.run([*command, str(folder / "photos.lst"), root], check=True, stdout=subprocess.DEVNULL)


def forward(folder: Path, names: list[str]) -> None:
    """The outputs of models of ours for ``images.npy`` beside them, into ``outputs.npy``."""
    for name in names:
        model = load(folder / name)
        images = np.load(folder / name / "images.npy")
        np.save(folder / name / "outputs.npy", outputs_of(model, images))


def load(folder: Path) -> Any:
    (parameters,) = folder.glob(f"{PREFIX}-*.params")
    return mx.model.load_checkpoint(str(folder / PREFIX), int(parameters.stem[-4:]))


def outputs_of(model: Any, images: NDArray[Any]) -> NDArray[Any]:
    symbol, arguments, statistics = model
    module = mx.mod.Module(symbol, label_names=["softmax_label"])
    module.bind([("data", images.shape)], for_training=False)
    # Refuses arrays that are missing; unknown ones are refused here.
    module.set_params(arguments, statistics)
    known = set(symbol.list_arguments()) | set(symbol.list_auxiliary_states())
    assert known == set(arguments) | set(statistics) | {"data", "softmax_label"}
    module.forward(mx.io.DataBatch([mx.nd.array(images)]), is_train=False)
    outputs: NDArray[Any] = module.get_outputs()[0].asnumpy()
    return outputs


def infer_shapes(folder: Path, heights: list[int]) -> dict[str, Any]:
    """MXNet's arrays and shapes for our symbols and for MXNet's own, ``{case: [ours, MXNet's]}``."""
    answer = {}
    for num_layers in UNITS:
        for height in heights:
            ours = mx.sym.load(str(folder / f"{num_layers}-{height}.json"))
            answer[f"{num_layers}-{height}"] = [
                shapes_of(ours, height),
                shapes_of(resnet(num_layers, 10, height), height),
            ]
    return answer


def shapes_of(symbol: Any, height: int) -> dict[str, Any]:
    arguments, outputs, statistics = symbol.infer_shape(data=(2, 3, height, height))
    names = symbol.list_arguments() + symbol.list_outputs() + symbol.list_auxiliary_states()
    return dict(zip(names, arguments + outputs + statistics))  # noqa: B905 - Python 3.8 has no strict zip


def train(
    folder: Path,
    size: int,
    batch: int,
    epochs: int,
    settings: dict[str, float],
    means: list[float],
    deviations: list[float],
    compared_steps: int,
) -> list[float]:
    """Train the model in ``start`` on ``train.rec``; leave a model like the built-in algorithm's in ``trained``.

    Returns:
        The loss of every step and the accuracy on ``validation.rec``.
    """
    symbol, arguments, statistics = load(folder / "start")
    pixels = {f"mean_{color}": value for color, value in zip("rgb", means)}  # noqa: B905
    pixels.update({f"std_{color}": value for color, value in zip("rgb", deviations)})  # noqa: B905
    batches = image_batches(folder / "train.rec", size, batch, **pixels)
    module = mx.mod.Module(symbol)
    module.bind(batches.provide_data, batches.provide_label)
    module.set_params(arguments, statistics)
    # Module divides gradients by the batch size, as in the algorithm.
    module.init_optimizer(kvstore=None, optimizer="sgd", optimizer_params=settings)
    losses = []
    for _ in range(epochs):
        batches.reset()
        for given in batches:
            labels = given.label[0].asnumpy().astype(int)
            module.forward(given, is_train=True)
            outputs = module.get_outputs()[0].asnumpy()
            losses.append(float(-np.log(outputs[np.arange(len(labels)), labels]).mean()))
            module.backward()
            module.update()
            if len(losses) == compared_steps:
                save(module, folder / "compared", 1, size)
    save(module, folder / "trained", epochs, size)
    validation = image_batches(folder / "validation.rec", size, batch, **pixels)
    np.save(folder / "trained" / "outputs.npy", module.predict(validation).asnumpy())
    return losses


def save(module: Any, folder: Path, epoch: int, size: int) -> None:
    folder.mkdir()
    # MXNet would save the running statistics before its last step has updated them.
    mx.nd.waitall()
    module.save_checkpoint(str(folder / PREFIX), epoch)
    (folder / "model-shapes.json").write_text(json.dumps([{"name": "data", "shape": [1, 3, size, size]}]))


TASKS: dict[str, Any] = {
    task.__name__: task for task in (read_records, read_images, pack_list, forward, infer_shapes, train)
}

if __name__ == "__main__":
    _, task_name, folder_name, settings_text, answer_name = sys.argv
    result = TASKS[task_name](Path(folder_name), **json.loads(settings_text))
    Path(answer_name).write_text(json.dumps(result))
