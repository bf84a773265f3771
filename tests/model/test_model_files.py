"""A model on disk: what is written is what is read, the schema holds, and what is damaged is refused in clear words."""

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch

import kfp_image_tuning.model.model_files as model_files
from kfp_image_tuning.core.document_schema import find_violations
from kfp_image_tuning.core.errors import DocumentError, ImageTuningError, TrainingError
from kfp_image_tuning.model.model_files import ModelDocument, describe_model, load_model, save_model
from kfp_image_tuning.model.network import ResNetV2, mxnet_arrays
from kfp_image_tuning.model.preprocessing import Preprocessing
from tests.trainer.digits import CLASSES, make_hyperparameters, validation_digits

SCHEMA = json.loads(Path(model_files.__file__).with_name("model.schema.json").read_bytes())


def make_document(**changes: Any) -> ModelDocument:
    settings = {"epoch": 3, "validation_accuracy": 0.75}
    return describe_model(make_hyperparameters(**changes), CLASSES, Preprocessing((100.0,), (50.0,)), **settings)  # type: ignore[arg-type]


def make_network() -> ResNetV2:
    network = ResNetV2(20, 10, (1, 8, 8), torch.Generator().manual_seed(0))
    network(torch.randn(32, 1, 8, 8, generator=torch.Generator().manual_seed(1)))
    return network


def test_a_model_is_read_as_it_was_written(tmp_path: Path) -> None:
    network, document = make_network(), make_document()
    path = save_model(tmp_path, document, network)
    assert path == tmp_path / "model.safetensors"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.json", "model.safetensors"]
    loaded = load_model(tmp_path)
    assert loaded.document == document
    for name, value in mxnet_arrays(network).items():
        assert torch.equal(mxnet_arrays(loaded.network)[name], value)


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("first", "second"):
        save_model(tmp_path / name, make_document(), make_network())
    for file in ("model.json", "model.safetensors"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()


@pytest.mark.parametrize("multi_label", [False, True])
def test_predictions_are_the_networks_probabilities(tmp_path: Path, multi_label: bool) -> None:
    network = make_network()
    save_model(tmp_path, make_document(multi_label=multi_label), network)
    images = validation_digits(150).images
    probabilities = load_model(tmp_path).predict(images)
    with torch.inference_mode():
        pixels = (torch.from_numpy(images).float().permute(0, 3, 1, 2) - 100.0) / 50.0
        logits = network.eval()(pixels)
        expected = logits.sigmoid() if multi_label else logits.softmax(dim=1)
    np.testing.assert_allclose(probabilities, expected.numpy(), atol=1e-5)
    assert probabilities.dtype == np.float32
    assert load_model(tmp_path).predict(images[:0]).shape == (0, 10)


def test_images_of_another_shape_are_refused(tmp_path: Path) -> None:
    save_model(tmp_path, make_document(), make_network())
    with pytest.raises(TrainingError, match=re.escape("the model takes uint8 (N, 8, 8, 1)")):
        load_model(tmp_path).predict(np.zeros((2, 9, 8, 1), np.uint8))


def test_the_document_holds_to_its_schema() -> None:
    document = make_document().to_dict()
    jsonschema.validate(document, SCHEMA)
    assert find_violations(document, SCHEMA) == []
    assert ModelDocument.from_dict(document) == make_document()


def change(document: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for name in parents:
        document = document[name]
    document[last] = value


DAMAGED: dict[str, tuple[str, Any, str]] = {
    "unknown version": ("schema_version", 2, "schema_version is 2, this version of kfp-image-tuning reads 1"),
    "unknown field": ("colour", "blue", "colour is unknown"),
    "unknown depth": ("architecture.num_layers", 19, "architecture.num_layers must be one of"),
    "other channel order": ("preprocessing.channel_order", "BGR", "preprocessing.channel_order must be 'RGB'"),
    "standard deviation of zero": ("preprocessing.std", [0.0], "preprocessing.std[0] must be above 0"),
    "means of another number of channels": ("preprocessing.mean", [1.0, 2.0], "preprocessing.mean has 2 numbers"),
    "classes that are not as many": ("architecture.num_classes", 9, "num_classes is 9, but 10 classes are named"),
    "accuracy above 1": ("validation_accuracy", 1.5, "validation_accuracy must be at most 1"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_document_is_refused_with_the_place(case: str) -> None:
    path, value, expected = DAMAGED[case]
    document = copy.deepcopy(make_document().to_dict())
    change(document, path, value)
    with pytest.raises(DocumentError, match=re.escape(expected)):
        ModelDocument.from_dict(document, "model.json")


def remove_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def cut_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])


def break_json(folder: Path) -> None:
    (folder / "model.json").write_text('{"schema_version": 1')


def tear(folder: Path) -> None:
    # As after a crash between the two writes of the next epoch.
    document = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**document, "epoch": 4}))


def change_shape(folder: Path) -> None:
    document = json.loads((folder / "model.json").read_text())
    change(document, "architecture.num_layers", 32)
    (folder / "model.json").write_text(json.dumps(document))


BROKEN: list[tuple[Callable[[Path], None], str]] = [
    (remove_weights, "model.safetensors: cannot be read"),
    (cut_weights, "model.safetensors: cannot be read"),
    (break_json, "model.json: is not valid JSON"),
    (tear, "is from epoch 3, model.json beside it from epoch 4: writing was interrupted"),
    (change_shape, "stage1_unit4_bn1_beta is missing"),
]


@pytest.mark.parametrize(("damage", "expected"), BROKEN, ids=[damage.__name__ for damage, _ in BROKEN])
def test_damaged_files_are_refused_with_the_reason(
    tmp_path: Path, damage: Callable[[Path], None], expected: str
) -> None:
    save_model(tmp_path, make_document(), make_network())
    damage(tmp_path)
    with pytest.raises(ImageTuningError, match=re.escape(expected)):
        load_model(tmp_path)


def test_a_folder_without_a_model_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="give the folder of a trained model"):
        load_model(tmp_path)
