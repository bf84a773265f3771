"""Starting from a model, ours or the built-in algorithm's, in a folder, an archive, on a server; hostile archives."""

import io
import re
import tarfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kfp_image_tuning.core.errors import StoreError, TrainingError
from kfp_image_tuning.model.model_files import describe_model, load_model, save_model
from kfp_image_tuning.model.model_source import local_model
from kfp_image_tuning.model.mxnet_format import write_mxnet_model
from kfp_image_tuning.model.network import ResNetV2, mxnet_arrays
from kfp_image_tuning.model.preprocessing import Preprocessing
from kfp_image_tuning.trainer.initial_model import start_network
from kfp_image_tuning.trainer.training import train
from tests.trainer.digits import CLASSES, Images, digits, make_hyperparameters


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained on the digits 0 to 4."""
    directory = tmp_path_factory.mktemp("model")
    train(
        make_hyperparameters(num_classes=5, epochs=3),
        some_digits(0, 5, 0, 800),
        some_digits(0, 5, 1400, 1797),
        classes=CLASSES[:5],
        model_directory=directory,
        seed=0,
        log=lambda line: None,
    )
    return directory


def some_digits(low: int, high: int, start: int, stop: int) -> Images:
    data = digits().part(start, stop)
    chosen = (data.labels >= low) & (data.labels < high)
    return Images(data.images[chosen], data.labels[chosen] - low)


def start(source: str | Path, **changes: Any) -> tuple[ResNetV2, Preprocessing]:
    hyperparameters = make_hyperparameters(**{"num_classes": 5, **changes})
    return start_network(hyperparameters, source, torch.Generator().manual_seed(1), lambda line: None)


def archive(path: Path, folder: Path, prefix: str = "") -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for file in folder.iterdir():
            tar.add(file, prefix + file.name)
    return path


def test_training_goes_on_from_a_model(model: Path, tmp_path: Path) -> None:
    before = load_model(model).document.validation_accuracy
    result = train(
        make_hyperparameters(num_classes=5, epochs=1, learning_rate=0.001),
        some_digits(0, 5, 0, 800),
        some_digits(0, 5, 1400, 1797),
        classes=CLASSES[:5],
        model_directory=tmp_path,
        seed=0,
        initial_model=model,
        log=lambda line: None,
    )
    assert result.history[0].train_accuracy > 0.9, "it does not start from nothing"
    assert result.best_validation_accuracy > before - 0.05


def test_archives_and_folders_give_the_same_start(model: Path, tmp_path: Path) -> None:
    expected = mxnet_arrays(load_model(model).network)
    for source in (model, str(model), archive(tmp_path / "model.tar.gz", model, prefix="./sub/")):
        network, preprocessing = start(source)
        assert preprocessing == load_model(model).document.preprocessing
        for name, value in mxnet_arrays(network).items():
            assert torch.equal(value, expected[name])


def test_the_built_in_algorithms_model_gives_the_same_answers(model: Path, tmp_path: Path) -> None:
    write_mxnet_model(model, tmp_path / "exported")
    packed = archive(tmp_path / "model.tar.gz", tmp_path / "exported")
    network, preprocessing = start(packed)
    classifier = load_model(model)
    images = digits().part(0, 50).images
    with torch.inference_mode():
        pixels = preprocessing.on(torch.device("cpu"))(torch.from_numpy(images))
        probabilities = network.eval()(pixels).softmax(dim=1).numpy()
    np.testing.assert_allclose(probabilities, classifier.predict(images), atol=1e-4)


def test_transfer_learning_starts_the_last_layer_anew_and_trains_all(tmp_path: Path) -> None:
    shape = (3, 224, 224)
    hyperparameters = make_hyperparameters(num_layers=18, image_shape=shape, num_classes=2, use_pretrained_model=True)
    pretrained = ResNetV2(18, 7, shape, torch.Generator().manual_seed(0))
    settings = make_hyperparameters(num_layers=18, image_shape=shape, num_classes=7)
    document = describe_model(settings, CLASSES[:7], Preprocessing.default(3), 0, 0.5)
    save_model(tmp_path / "pretrained", document, pretrained)

    lines: list[str] = []
    network, _ = start_network(hyperparameters, tmp_path / "pretrained", torch.Generator().manual_seed(1), lines.append)
    assert lines == ["Using pretrained model for initializing weights and transfer learning."]
    started = mxnet_arrays(network)
    for name, value in mxnet_arrays(pretrained).items():
        assert torch.equal(started[name], value) == (not name.startswith("fc1"))
    assert network.fc1.weight.shape == (2, 512)
    assert all(value.requires_grad for name, value in network.named_parameters() if name != "bn_data.weight")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"num_layers": 32}, "num_layers: 32 is asked for, the initial model"),
        ({"num_classes": 10}, "num_classes: 10 is asked for, the initial model"),
        ({"image_shape": (1, 9, 9)}, "has (1, 8, 8); they must be equal"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(model: Path, changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(TrainingError, match=re.escape(expected)):
        start(model, **changes)


def write_tar(path: Path, members: dict[str, bytes], change: Callable[[tarfile.TarInfo], None] | None = None) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            if change is not None:
                change(member)
            tar.addfile(member, io.BytesIO(content))
    return path


def link(member: tarfile.TarInfo) -> None:
    member.type, member.linkname, member.size = tarfile.SYMTYPE, "/etc/passwd", 0


def test_a_hostile_archive_writes_nothing_outside(tmp_path: Path) -> None:
    members = {"../../model.json": b"{}", "/model.safetensors": b"x", "../escaped.txt": b"x"}
    with local_model(write_tar(tmp_path / "evil.tar.gz", members)) as folder:
        assert sorted(path.name for path in folder.iterdir()) == ["model.json", "model.safetensors"]
        parent = folder.parent
        assert [path.name for path in parent.iterdir()] == ["parts"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil.tar.gz"]


def test_links_are_not_followed(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "evil.tar.gz", {"model.json": b"", "model.safetensors": b""}, link)
    with pytest.raises(TrainingError, match="holds no model"), local_model(path):
        pass


def test_an_archive_that_would_fill_the_disk_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tar.gz"
    member = tarfile.TarInfo("zeros")
    member.size = 1 << 45
    path.write_bytes(member.tobuf() + bytes(1024))
    with pytest.raises(TrainingError, match="unpacks to more than a model can be"), local_model(path):
        pass


@pytest.mark.parametrize("size", [0, 100, 3000])
def test_a_cut_archive_is_refused(model: Path, tmp_path: Path, size: int) -> None:
    whole = archive(tmp_path / "whole.tar.gz", model)
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(whole.read_bytes()[:size])
    with pytest.raises(TrainingError, match=r"cut\.tar\.gz: (cannot be unpacked|holds no model|is damaged)"):
        start(cut)


def test_a_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="is neither a folder nor an archive"):
        start(tmp_path / "nothing")


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(tmp_path))) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_address[1]}"
        http.shutdown()


def test_models_come_from_a_server(model: Path, tmp_path: Path, server: str) -> None:
    expected = mxnet_arrays(load_model(model).network)
    (tmp_path / "models").mkdir()
    archive(tmp_path / "models" / "model.tar.gz", model)
    for file in model.iterdir():
        (tmp_path / "models" / file.name).write_bytes(file.read_bytes())
    for uri in (f"{server}/models/model.tar.gz", f"{server}/models", f"{server}/models/"):
        network, _ = start(uri)
        assert torch.equal(mxnet_arrays(network)["fc1_weight"], expected["fc1_weight"])


def test_a_missing_address_is_refused_without_its_secrets(server: str) -> None:
    with pytest.raises(StoreError) as refused:
        start(f"{server}/nothing/model.tar.gz?signature=secret")
    assert f"{server}/nothing/model.tar.gz: is not there (404 Not Found)" in str(refused.value)
    assert "secret" not in str(refused.value)
