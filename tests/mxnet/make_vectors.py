"""Write what MXNet computes into small files, which the tests check our code against on any Python.

Run by MXNet's own environment: ``.venv-mxnet/bin/python -m tests.mxnet.make_vectors tests/data/mxnet``.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import mxnet as mx
import numpy as np

from tests.mxnet.augmentation_statistics import measure
from tests.mxnet.drawn_arrays import draw, probe
from tests.mxnet.resnet_symbol import UNITS, resnet

if TYPE_CHECKING:
    from numpy.typing import NDArray

OPTIMIZER_CASES: list[dict[str, Any]] = [
    {"optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.0001},
    {"optimizer": "sgd", "learning_rate": 0.5, "momentum": 0.0, "weight_decay": 0.0},
    {"optimizer": "sgd", "learning_rate": 0.01, "momentum": 0.999, "weight_decay": 0.5},
    {"optimizer": "nag", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.0001},
    {"optimizer": "nag", "learning_rate": 0.05, "momentum": 0.5, "weight_decay": 0.1},
    {"optimizer": "nag", "learning_rate": 0.5, "momentum": 0.0, "weight_decay": 0.0},
    {"optimizer": "adam", "learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "eps": 1e-08},
    {"optimizer": "adam", "learning_rate": 0.01, "beta_1": 0.5, "beta_2": 0.9, "eps": 0.1},
    {"optimizer": "adam", "learning_rate": 0.1, "beta_1": 0.999, "beta_2": 0.000001, "eps": 1.0},
    {"optimizer": "rmsprop", "learning_rate": 0.001, "gamma": 0.9, "eps": 1e-08},
    {"optimizer": "rmsprop", "learning_rate": 0.01, "gamma": 0.5, "eps": 0.1},
    {"optimizer": "rmsprop", "learning_rate": 0.1, "gamma": 0.999, "eps": 1.0},
]
OPTIMIZER_SHAPES: dict[str, tuple[int, ...]] = {
    "conv0_weight": (4, 3, 3, 3),
    "bn1_gamma": (4,),
    "bn1_beta": (4,),
    "fc1_weight": (5, 4),
    "fc1_bias": (5,),
}
UPDATES, DROPS, FACTOR = 12, (3, 9), 0.1
"""The learning rate drops after these updates."""

FORWARD_CASES = [(20, 28), (18, 64), (50, 33), (20, 64), (110, 28)]
NUM_CLASSES = 10
TRAINING = {"num_layers": 20, "height": 28, "batch": 8, "steps": 3}
PIXEL_IMAGES = 6
IM2REC_IMAGES = ("cat/a b.png", "cat/ü.png", "dog/1.png", "dog/deep/2.jpg")
AUGMENTATIONS: dict[str, dict[str, Any]] = {
    "crop": {"rand_crop": True, "rand_mirror": True},
    "color": {"random_h": 36, "random_s": 50, "random_l": 50},
    "warp": {"max_rotate_angle": 10, "max_shear_ratio": 0.1, "max_aspect_ratio": 0.25},
}


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_optimizers(folder)
    write_batch_norm(folder)
    write_network(folder)
    write_training_steps(folder)
    write_shapes(folder)
    write_arrays(folder)
    write_records(folder)
    write_im2rec(folder)
    write_augmentation(folder)


def write_optimizers(folder: Path) -> None:
    """Each rule's weights after every update, under a learning rate that MXNet's own scheduler drops."""
    rates = np.zeros((len(OPTIMIZER_CASES), UPDATES))
    trajectories: dict[str, Any] = {
        name: np.zeros(rates.shape + shape, np.float32) for name, shape in OPTIMIZER_SHAPES.items()
    }
    for number, case in enumerate(OPTIMIZER_CASES):
        optimizer = make_optimizer(case)
        updater = mx.optimizer.get_updater(optimizer)
        weights = [mx.nd.array(draw(name, shape)) for name, shape in OPTIMIZER_SHAPES.items()]
        for update in range(UPDATES):
            for index, (name, shape) in enumerate(OPTIMIZER_SHAPES.items()):
                gradient = draw(f"gradient {update} of {name}", shape)
                updater(index, mx.nd.array(gradient), weights[index])
                trajectories[name][number, update] = weights[index].asnumpy()
            rates[number, update] = optimizer.lr_scheduler(update + 1)
    document = {
        "cases": OPTIMIZER_CASES,
        "shapes": OPTIMIZER_SHAPES,
        "updates": UPDATES,
        "drops": DROPS,
        "factor": FACTOR,
    }
    write_json(folder / "optimizers.json", document)
    np.savez_compressed(folder / "optimizers.npz", rates=rates, **trajectories)


def make_optimizer(case: dict[str, Any]) -> Any:
    names = {
        "momentum": "momentum",
        "weight_decay": "wd",
        "beta_1": "beta1",
        "beta_2": "beta2",
        "eps": "epsilon",
        "gamma": "gamma1",
    }
    constants = {names[key]: value for key, value in case.items() if key in names}
    return mx.optimizer.create(
        case["optimizer"],
        learning_rate=case["learning_rate"],
        lr_scheduler=mx.lr_scheduler.MultiFactorScheduler(list(DROPS), FACTOR),
        param_idx2name=dict(enumerate(OPTIMIZER_SHAPES)),
        **constants,
    )


def write_batch_norm(folder: Path) -> None:
    """Output, gradients and running statistics of one step, for a trained and for a fixed gamma."""
    arrays: dict[str, Any] = {}
    for name, shape in (("bn_data", (4, 3, 6, 6)), ("bn1", (2, 64, 2, 3))):
        symbol = mx.sym.BatchNorm(
            mx.sym.Variable("data"), fix_gamma=name == "bn_data", eps=2e-5, momentum=0.9, name=name
        )
        step = symbol.simple_bind(mx.cpu(), data=shape)
        data = draw("data of " + name, shape) * 5 + 1
        given = {"data": data}
        for key in (name + "_gamma", name + "_beta"):
            given[key] = draw(key, shape[1:2])
        for key, value in given.items():
            step.arg_dict[key][:] = value
        for key in step.aux_dict:
            given[key] = draw("bn_" + key[len(name) :], shape[1:2])
            step.aux_dict[key][:] = given[key]
        step.forward(is_train=True)
        gradient = draw("gradient of " + name, shape)
        step.backward(mx.nd.array(gradient))
        mx.nd.waitall()
        arrays.update({name + "/before/" + key: value for key, value in given.items()})
        arrays[name + "/gradient"] = gradient
        arrays[name + "/output"] = step.outputs[0].asnumpy()
        arrays.update({name + "/gradient/" + key: value.asnumpy() for key, value in step.grad_dict.items()})
        arrays.update({name + "/after/" + key: value.asnumpy() for key, value in step.aux_dict.items()})
    np.savez_compressed(folder / "batch_norm.npz", **arrays)


def bind(num_layers: int, height: int, batch: int, grad_req: str = "null") -> Any:
    """The network with drawn weights, on drawn images."""
    symbol = resnet(num_layers, NUM_CLASSES, height)
    step = symbol.simple_bind(mx.cpu(), data=(batch, 3, height, height), grad_req=grad_req)
    for arrays in (step.arg_dict, step.aux_dict):
        for name, array in arrays.items():
            if name not in ("data", "softmax_label"):
                array[:] = draw(name, array.shape)
    return step


def write_network(folder: Path) -> None:
    """The class probabilities of whole networks."""
    arrays: dict[str, Any] = {}
    for num_layers, height in FORWARD_CASES:
        step = bind(num_layers, height, batch=3)
        images = draw("images", (3, 3, height, height))
        arrays[f"{num_layers}/{height}"] = step.forward(is_train=False, data=images)[0].asnumpy()
    np.savez_compressed(folder / "network.npz", **arrays)


def write_training_steps(folder: Path) -> None:
    """Losses of the first steps with SGD, and probes of every weight and statistic after them."""
    settings = TRAINING
    shape = (settings["batch"], 3, settings["height"], settings["height"])
    step = bind(settings["num_layers"], settings["height"], settings["batch"], grad_req="write")
    names = [name for name in step.arg_dict if name not in ("data", "softmax_label")]
    optimizer = mx.optimizer.create(
        "sgd",
        learning_rate=0.05,
        momentum=0.9,
        wd=1e-4,
        rescale_grad=1.0 / settings["batch"],
        param_idx2name=dict(enumerate(names)),
    )
    updater = mx.optimizer.get_updater(optimizer)
    losses = []
    for number in range(settings["steps"]):
        images = draw(f"{number} images", shape)
        labels = draw(f"{number} labels", shape[:1])
        probabilities = step.forward(is_train=True, data=images, softmax_label=labels)[0].asnumpy()
        losses.append(-np.log(probabilities[np.arange(len(labels)), labels.astype(int)]).mean())
        step.backward()
        for index, name in enumerate(names):
            updater(index, step.grad_dict[name], step.arg_dict[name])
    mx.nd.waitall()
    after = {**{name: step.arg_dict[name] for name in names}, **step.aux_dict}
    probes = {name: probe(name, array.asnumpy()) for name, array in after.items()}
    write_json(
        folder / "training_steps.json",
        {**settings, "losses": [float(loss) for loss in losses], "probes": probes},
    )


def write_shapes(folder: Path) -> None:
    """Name and shape of every array of all eleven networks, for small and for large images; one network's symbol."""
    document = {}
    for num_layers in UNITS:
        for height in (28, 64):
            symbol = resnet(num_layers, NUM_CLASSES, height)
            arguments, _, statistics = symbol.infer_shape(data=(1, 3, height, height))
            names = symbol.list_arguments() + symbol.list_auxiliary_states()
            shapes = dict(zip(names, arguments + statistics))  # noqa: B905 - Python 3.8 has no strict zip
            document[f"{num_layers}/{height}"] = {
                name: shape for name, shape in shapes.items() if name not in ("data", "softmax_label")
            }
    text = json.dumps(document, separators=(",", ":"))
    (folder / "shapes.json.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    resnet(20, NUM_CLASSES, 28).save(str(folder / "resnet-20-symbol.json"))


def write_arrays(folder: Path) -> None:
    """A file of named arrays, of every floating point type that a model may have."""
    arrays = {
        "arg:fc1_weight": mx.nd.array(draw("fc1_weight", (3, 4))),
        "arg:fc1_bias": mx.nd.array(draw("fc1_bias", (3,)), dtype="float16"),
        "aux:bn1_moving_mean": mx.nd.array(draw("bn1_moving_mean", (2,)), dtype="float64"),
        "aux:bn1_moving_var": mx.nd.array(draw("bn1_moving_var", (1, 2, 1))),
    }
    mx.nd.save(str(folder / "arrays.params"), arrays)


def write_records(folder: Path) -> None:
    """Record files of one and of several labels, one payload with the format's own mark inside, and their lists."""
    mark = b"\x0a\x23\xd7\xce"
    for name, labels in (
        ("single", lambda number: float(number % 3)),
        ("multi", lambda number: [number % 2, 1.0, 0.5]),
    ):
        writer = mx.recordio.MXIndexedRecordIO(str(folder / (name + ".idx")), str(folder / (name + ".rec")), "w")
        for number in range(PIXEL_IMAGES):
            header = mx.recordio.IRHeader(0, labels(number), number * 3, 0)
            pixels = draw(f"{number} images", (5, 7, 3)).astype(np.uint8)
            writer.write_idx(number, mx.recordio.pack_img(header, pixels, img_fmt=".png"))
        for number, payload in enumerate((mark * 3 + b"abc", b"ab" + mark, b"abcd" + mark, b"", mark), PIXEL_IMAGES):
            writer.write_idx(number, mx.recordio.pack(mx.recordio.IRHeader(0, labels(number), number, 0), payload))
        writer.close()


def write_im2rec(folder: Path) -> None:
    """What MXNet's own converter makes of a folder of classes: list, records, index."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "images"
        for number, name in enumerate(IM2REC_IMAGES):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            # Not a picture: with --pass-through the bytes are taken as they are.
            (root / name).write_bytes(b"image %d" % number)
        prefix = folder / "im2rec"
        run_im2rec("--list", "--recursive", "--no-shuffle", str(prefix), str(root))
        run_im2rec("--pass-through", f"{prefix}.lst", str(root))


def run_im2rec(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "mxnet.tools.im2rec", *arguments], check=True, stdout=subprocess.DEVNULL)


def write_augmentation(folder: Path) -> None:
    """Quantiles of what MXNet's augmenter draws, measured on its output."""
    with tempfile.TemporaryDirectory() as scratch:

        def augment(image: NDArray[np.uint8], count: int, kind: str, size: int) -> NDArray[Any]:
            return mxnet_augment(image, count, AUGMENTATIONS[kind], size, Path(scratch) / "images.rec")

        write_json(folder / "augmentation.json", measure(augment, cv2))


def mxnet_augment(
    image: NDArray[np.uint8], count: int, settings: dict[str, Any], size: int, path: Path
) -> NDArray[Any]:
    """Augmented copies of one RGB image, ``[count, size, size, 3]``."""
    writer = mx.recordio.MXRecordIO(str(path), "w")
    for number in range(count):
        header = mx.recordio.IRHeader(0, 0.0, number, 0)
        writer.write(mx.recordio.pack_img(header, image[..., ::-1], img_fmt=".png"))
    writer.close()
    # One thread: each has random numbers of its own, and which thread gets which image is chance.
    batches = mx.io.ImageRecordIter(
        path_imgrec=str(path), data_shape=(3, size, size), batch_size=100, preprocess_threads=1, **settings
    )
    images: NDArray[Any] = np.concatenate([batch.data[0].asnumpy() for batch in batches])[:count]
    return images.transpose(0, 2, 3, 1)


def write_json(path: Path, document: object) -> None:
    path.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
