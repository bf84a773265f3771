import gzip
import json
import re
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from kfp_image_tuning.core.errors import TrainingError
from kfp_image_tuning.model.model_files import describe_model, load_model, save_model
from kfp_image_tuning.model.mxnet_arrays import read_arrays, write_arrays
from kfp_image_tuning.model.mxnet_format import (
    MXNetModel,
    fold_preprocessing,
    read_mxnet_model,
    write_files,
    write_mxnet_model,
)
from kfp_image_tuning.model.mxnet_symbol import array_shapes
from kfp_image_tuning.model.network import ResNetV2, load_mxnet_arrays
from kfp_image_tuning.model.preprocessing import Preprocessing
from kfp_image_tuning.search.hyperparameters import Hyperparameters

SHAPE = (3, 12, 16)
Damage = Callable[[Path], object]


def make_model(num_layers: int = 20, multi_label: bool = False, epoch: int = 7) -> MXNetModel:
    source = np.random.default_rng(num_layers)
    arrays = {
        name: source.uniform(0.5, 1.0, shape).astype(np.float32)
        for name, shape in array_shapes(num_layers, 5, SHAPE).items()
    }
    arrays["bn_data_gamma"][:] = 1
    return MXNetModel(num_layers, 5, SHAPE, multi_label, epoch, arrays)


@pytest.mark.parametrize(("num_layers", "multi_label"), [(20, False), (32, True), (18, False)])
def test_model_reads_back_as_it_was_written(tmp_path: Path, num_layers: int, multi_label: bool) -> None:
    model = make_model(num_layers, multi_label)
    paths = write_files(model, tmp_path)
    assert [path.name for path in paths] == [
        "image-classification-0007.params",
        "image-classification-symbol.json",
        "model-shapes.json",
    ]
    found = read_mxnet_model(tmp_path)
    assert (found.num_layers, found.num_classes, found.image_shape) == (num_layers, 5, SHAPE)
    assert (found.multi_label, found.epoch) == (multi_label, 7)
    assert found.arrays.keys() == model.arrays.keys()
    for name, array in model.arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array)


def test_trained_model_with_preprocessing_is_exported_for_pixels_as_they_are(tmp_path: Path) -> None:
    hyperparameters = Hyperparameters(
        num_classes=3, num_training_samples=50, num_layers=20, image_shape=SHAPE, epochs=4, mini_batch_size=10
    )
    network = ResNetV2(20, 3, SHAPE, torch.Generator().manual_seed(0))
    for statistic, values in (
        (network.bn_data.running_mean, [0.1, -0.2, 0.3]),
        (network.bn_data.running_var, [0.9, 1.1, 1.3]),
    ):
        assert statistic is not None
        statistic.copy_(torch.tensor(values))
    document = describe_model(hyperparameters, ("a", "b", "c"), Preprocessing.default(3), 2, 0.5)
    save_model(tmp_path / "model", document, network)
    paths = write_mxnet_model(tmp_path / "model", tmp_path / "exported")
    assert paths[0].name == "image-classification-0003.params"
    exported = read_mxnet_model(tmp_path / "exported")
    again = ResNetV2(20, 3, SHAPE)
    load_mxnet_arrays(again, {name: torch.from_numpy(array) for name, array in exported.arrays.items()}, source="")
    images = np.random.default_rng(0).integers(0, 256, (4, *SHAPE[1:], 3), dtype=np.uint8)
    with torch.inference_mode():
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float()
        found = again.eval()(pixels).softmax(dim=1).numpy()
    np.testing.assert_allclose(found, load_model(tmp_path / "model").predict(images), atol=1e-6)


def test_channel_without_contrast_cannot_be_exported() -> None:
    model = make_model()
    model.arrays["bn_data_moving_var"][1] = 0
    with pytest.raises(TrainingError, match="some contrast in every channel"):
        fold_preprocessing(model, Preprocessing((0.0,) * 3, (0.5,) * 3))


def test_fixed_gamma_of_the_input_counts_as_one_whatever_is_stored(tmp_path: Path) -> None:
    model = make_model()
    model.arrays["bn_data_gamma"][:] = 0.98
    write_files(model, tmp_path)
    np.testing.assert_array_equal(read_mxnet_model(tmp_path).arrays["bn_data_gamma"], 1)


def test_last_of_several_epochs_is_read(tmp_path: Path) -> None:
    parameters, _, _ = write_files(make_model(epoch=2), tmp_path)
    (tmp_path / "image-classification-0010.params").write_bytes(parameters.read_bytes())
    assert read_mxnet_model(tmp_path).epoch == 10


def test_folder_with_another_epochs_model_is_not_written_to(tmp_path: Path) -> None:
    write_files(make_model(epoch=2), tmp_path)
    with pytest.raises(TrainingError, match=r"already holds image-classification-0002\.params; choose an empty folder"):
        write_files(make_model(epoch=3), tmp_path)
    write_files(make_model(epoch=2), tmp_path)


def remove_parameters(folder: Path) -> None:
    next(folder.glob("*.params")).unlink()


def cut_parameters(folder: Path) -> None:
    path = next(folder.glob("*.params"))
    path.write_bytes(path.read_bytes()[:-1])


def compress_parameters(folder: Path) -> None:
    path = next(folder.glob("*.params"))
    path.write_bytes(gzip.compress(path.read_bytes()))


def state_too_many_arrays(folder: Path) -> None:
    path = next(folder.glob("*.params"))
    content = bytearray(path.read_bytes())
    content[16:24] = (1 << 60).to_bytes(8, "little")
    path.write_bytes(content)


def edit_arrays(edit: Callable[[MutableMapping[str, NDArray[Any]]], object]) -> Damage:
    def damage(folder: Path) -> None:
        path = next(folder.glob("*.params"))
        arrays = read_arrays(path)
        edit(arrays)
        write_arrays(path, arrays)

    return damage


def only_the_last_bias(arrays: MutableMapping[str, NDArray[Any]]) -> None:
    arrays.clear()
    arrays["arg:fc1_bias"] = np.ones(2, np.float32)


def edit_symbol(old: str, new: str) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / "image-classification-symbol.json"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return damage


def write(name: str, content: str) -> Damage:
    return lambda folder: (folder / name).write_text(content)


SYMBOL, SHAPES = "image-classification-symbol.json", "model-shapes.json"
DAMAGES: dict[str, tuple[Damage, str]] = {
    "no parameters": (remove_parameters, "holds no image-classification-NNNN.params; give the folder"),
    "cut off": (cut_parameters, "bytes are expected, the file ends at"),
    "compressed": (compress_parameters, "a file of MXNet arrays starts with 0x112, found"),
    "count beyond the file": (state_too_many_arrays, "an array starts with 0xf993fac9"),
    "array missing": (edit_arrays(lambda arrays: arrays.pop("arg:bn1_beta")), "bn1_beta is missing"),
    "array of another network": (
        edit_arrays(lambda arrays: arrays.update({"arg:dense0_weight": np.ones((2, 2), np.float32)})),
        "dense0_weight belongs to no network of the algorithm",
    ),
    "array of another shape": (
        edit_arrays(lambda arrays: arrays.update({"arg:conv0_weight": np.ones((16, 1, 3, 3), np.float32)})),
        "conv0_weight has the shape (16, 1, 3, 3), expected is (16, 3, 3, 3)",
    ),
    "another depth": (
        edit_arrays(lambda arrays: arrays.update({"arg:stage1_unit9_conv1_weight": np.ones(1, np.float32)})),
        "(9, 3, 3) residual units, as no network of the algorithm has",
    ),
    "another architecture": (
        edit_arrays(only_the_last_bias),
        "no residual units, as no network of the algorithm has",
    ),
    "another epsilon": (edit_symbol('"eps": "2e-05"', '"eps": "0.001"'), "eps is 0.001, the algorithm's networks have"),
    "another output": (edit_symbol("SoftmaxOutput", "MAERegressionOutput"), "ends in MAERegressionOutput"),
    "symbol without nodes": (write(SYMBOL, "{}"), "is not an MXNet symbol"),
    "symbol of nonsense": (write(SYMBOL, '{"nodes": [1], "heads": [["a"]]}'), "is not an MXNet symbol"),
    "symbol is not JSON": (write(SYMBOL, "{"), "is not a JSON document"),
    "symbol nested without end": (write(SYMBOL, "[" * 100_000), "is not a JSON document"),
    "shapes missing": (lambda folder: (folder / SHAPES).unlink(), "cannot be read (No such file or directory)"),
    "shapes of no images": (write(SHAPES, '[{"name": "data", "shape": [1, 10]}]'), "it must say what images"),
    "shapes of empty images": (write(SHAPES, '[{"name": "data", "shape": [1, 3, 0, 5]}]'), "it must say what images"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_no_model_of_the_algorithm_is_refused_with_the_reason(tmp_path: Path, damage: str) -> None:
    write_files(make_model(), tmp_path)
    act, message = DAMAGES[damage]
    act(tmp_path)
    with pytest.raises(TrainingError, match=re.escape(message)):
        read_mxnet_model(tmp_path)


@pytest.mark.parametrize("key", ["attr", "param"])
def test_symbols_of_older_mxnets_are_read(tmp_path: Path, key: str) -> None:
    write_files(make_model(), tmp_path)
    path = tmp_path / SYMBOL
    document = json.loads(path.read_text())
    for node in document["nodes"]:
        if "attrs" in node:
            node[key] = node.pop("attrs")
    path.write_text(json.dumps(document))
    assert read_mxnet_model(tmp_path).num_layers == 20


def test_arrays_of_older_mxnets_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.params"
    write_arrays(path, {"arg:fc1_bias": np.arange(3, dtype=np.float32)})
    # Before 1.0 there was another mark, and no field for sparse storage.
    content = path.read_bytes().replace(bytes.fromhex("c9fa93f900000000"), bytes.fromhex("c8fa93f9"))
    path.write_bytes(content)
    np.testing.assert_array_equal(read_arrays(path)["arg:fc1_bias"], [0, 1, 2])


def test_every_cut_of_a_parameters_file_is_refused(tmp_path: Path) -> None:
    path = Path(tmp_path) / "a.params"
    write_arrays(path, {"arg:a": np.ones((2, 1), np.float32), "aux:b": np.ones(1, np.float32)})
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(TrainingError, match="incomplete, damaged or no MXNet model"):
            read_arrays(path)
