"""Exported models, run by the programs that they are for."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from kfp_image_tuning.cli.command_line import main
from kfp_image_tuning.core.errors import ParameterError
from kfp_image_tuning.dataset.document import Dataset
from kfp_image_tuning.dataset.image_codec import Pixels
from kfp_image_tuning.model.model_files import ImageClassifier, load_model
from kfp_image_tuning.model.mxnet_format import read_mxnet_model
from kfp_image_tuning.steps.model_export import export
from tests.model.random_model import write_random_model

OUTSIDE = """
import sys
sys.modules["kfp_image_tuning"] = None
import numpy, torch
program = torch.export.load(sys.argv[1]).module()
images = torch.from_numpy(numpy.load(sys.argv[2]))
numpy.save(sys.argv[3], program(images).detach().numpy())
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, prepared_digits: Path) -> Path:
    return write_random_model(tmp_path_factory.mktemp("model"), Dataset.load(prepared_digits))


@pytest.fixture(scope="module")
def classifier(model: Path) -> ImageClassifier:
    return load_model(model)


@pytest.fixture(scope="module")
def exported(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "new" / "digits.onnx"
    assert main(["export", "--model", str(model), "--output", str(path)]) == 0
    return path


def some_images(classifier: ImageClassifier, count: int) -> Pixels:
    channels, height, width = classifier.image_shape
    return np.random.default_rng(count).integers(0, 256, (count, height, width, channels), dtype=np.uint8)


def onnx_answers(path: Path, images: NDArray[Any]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(["probabilities"], {"images": images})
    assert isinstance(found, np.ndarray)
    return found


def test_onnx_runtime_gives_the_models_answers_to_pixels_in_batches_of_any_size(
    exported: Path, classifier: ImageClassifier
) -> None:
    assert [file.name for file in exported.parent.iterdir()] == ["digits.onnx"]
    written = onnx.load(exported)
    onnx.checker.check_model(written, full_check=True)
    metadata = {entry.key: json.loads(entry.value) for entry in written.metadata_props}
    assert (metadata["classes"], metadata["image_shape"]) == (list(classifier.classes), list(classifier.image_shape))
    for count in (1, 2, 5):
        images = some_images(classifier, count)
        assert np.abs(onnx_answers(exported, images) - classifier.predict(images)).max() < 1e-4


def test_who_normalizes_pixels_gets_the_same_answers(model: Path, classifier: ImageClassifier, tmp_path: Path) -> None:
    path = tmp_path / "digits.onnx"
    export(model, path, normalized_input=True)
    images = some_images(classifier, 4)
    preprocessing = classifier.document.preprocessing
    normalized = ((images - np.array(preprocessing.mean)) / np.array(preprocessing.std)).transpose(0, 3, 1, 2)
    found = onnx_answers(path, np.ascontiguousarray(normalized, dtype=np.float32))
    assert np.abs(found - classifier.predict(images)).max() < 1e-4


def test_pytorch_runs_the_exported_program_without_this_package(
    model: Path, classifier: ImageClassifier, tmp_path: Path
) -> None:
    assert main(["export", "--model", str(model), "--format", "torch", "--output", str(tmp_path / "m.pt2")]) == 0
    images = some_images(classifier, 5)
    np.save(tmp_path / "images.npy", images)
    arguments = [tmp_path / "m.pt2", tmp_path / "images.npy", tmp_path / "answers.npy"]
    subprocess.run([sys.executable, "-c", OUTSIDE, *arguments], check=True)
    assert np.abs(np.load(tmp_path / "answers.npy") - classifier.predict(images)).max() < 1e-4


def test_int8_is_smaller_and_its_cost_is_measured(
    model: Path, exported: Path, classifier: ImageClassifier, prepared_digits: Path, tmp_path: Path
) -> None:
    cost = export(model, tmp_path / "int8.onnx", int8_dataset=prepared_digits)
    assert cost is not None
    assert cost.images == Dataset.load(prepared_digits).split("test").images
    assert cost.int8_bytes == (tmp_path / "int8.onnx").stat().st_size < 0.5 * cost.bytes
    images = some_images(classifier, 50)
    whole, integers = (onnx_answers(path, images) for path in (exported, tmp_path / "int8.onnx"))
    assert 0 < np.abs(whole - integers).mean() < 0.1


def test_mxnets_form_is_what_its_reader_takes(model: Path, tmp_path: Path) -> None:
    assert main(["export", "--model", str(model), "--format", "mxnet", "--output", str(tmp_path / "out")]) == 0
    assert read_mxnet_model(tmp_path / "out").num_layers == 20


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--int8"], "--int8: needs --dataset"),
        (["--dataset", "x"], "--dataset: needs --int8"),
        (["--format", "mxnet", "--normalized-input"], "normalized_input"),
        (["--format", "torch", "--int8", "--dataset", "x"], "int8"),
    ],
)
def test_what_does_not_fit_together_is_told_first(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["export", "--model", "no/model", "--output", str(tmp_path / "x"), *options])
    except SystemExit as ended:
        code = int(ended.code or 0)
    assert code == ParameterError.exit_code
    assert said in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
