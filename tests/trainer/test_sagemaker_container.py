"""SageMaker's contract with a training container: channels in every form, several machines, failures."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kfp_image_tuning.core.errors import TrainingError
from kfp_image_tuning.dataset.image_codec import encode_image
from kfp_image_tuning.dataset.pixel_store import PixelStore
from kfp_image_tuning.dataset.recordio import RecordWriter
from kfp_image_tuning.model.model_files import load_model
from kfp_image_tuning.trainer import sagemaker_channels, sagemaker_container
from kfp_image_tuning.trainer.sagemaker_hosts import Hosts, launch_command
from tests.emulators.free_ports import free_ports
from tests.trainer.digits import (
    Images,
    make_hyperparameters,
    training_digits,
    validation_digits,
    write_images,
)
from tests.trainer.programs import HYPERPARAMETERS, TRAINER, accuracies, run

pytestmark = pytest.mark.slow

PIPE = {"TrainingInputMode": "Pipe", "ContentType": "application/x-recordio"}
MANIFEST = {**PIPE, "RecordWrapperType": "RecordIO"}


def contract(
    root: Path, records: Path | None = None, channels: Mapping[str, Any] | None = None, **changes: Any
) -> Path:
    """Lay out what SageMaker mounts."""
    (root / "input" / "config").mkdir(parents=True)
    values = {
        **HYPERPARAMETERS,
        "epochs": "1",
        "sagemaker_region": '"eu-west-1"',
        "_tuning_objective_metric": "x",
        **changes,
    }
    write_json(root / "input/config/hyperparameters.json", values)
    write_json(root / "input/config/inputdataconfig.json", channels or {})
    (root / "input" / "data").mkdir()
    if records is not None:
        for channel in ("train", "validation"):
            (root / "input" / "data" / channel).symlink_to(records / channel)
    return root


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value))


def failure(root: Path) -> str:
    return (root / "output" / "failure").read_text()


@contextlib.contextmanager
def streaming(data: Path, **content: bytes) -> Iterator[None]:
    """Named pipes as SageMaker makes them, each filled by a process of its own."""
    threads = []
    for channel, stream in content.items():
        os.mkfifo(data / f"{channel}_0")
        threads.append(threading.Thread(target=(data / f"{channel}_0").write_bytes, args=(stream,), daemon=True))
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive(), "the pipe was read to its end"


def test_the_container_trains_by_sagemakers_contract(
    records: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root = contract(tmp_path / "ml", records, optimizer='"sgd"')
    # Without arguments, as in a container whose entry point is the trainer: the mounted files are found.
    done = run(SAGEMAKER_BASE_DIR=str(root))
    assert done.returncode == 0, done.stderr
    assert len(accuracies(done.stdout)) == 1
    assert "kv_store: device" in done.stdout
    assert load_model(root / "model").image_shape == (1, 8, 8)
    assert not (root / "output" / "failure").exists()

    # The model channel: another training continues from there.
    further = contract(tmp_path / "further", records)
    (further / "input" / "data" / "model").symlink_to(root / "model")
    assert sagemaker_container.train_in(further) == 0
    assert "Continuing from the model in" in capfd.readouterr().out


def test_streamed_records_and_model_train_as_files_do(
    records: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    files = contract(tmp_path / "files", records)
    assert sagemaker_container.train_in(files) == 0
    expected = accuracies(capfd.readouterr().out)

    streams = contract(tmp_path / "streams", channels={"train": PIPE, "validation": PIPE})
    # Two files of one prefix come one after the other.
    train = (records / "train" / "a.rec").read_bytes() + (records / "train" / "b.rec").read_bytes()
    validation = (records / "validation" / "validation.rec").read_bytes()
    with streaming(streams / "input/data", train=train, validation=validation):
        assert sagemaker_container.train_in(streams) == 0
    assert accuracies(capfd.readouterr().out) == expected

    further = contract(tmp_path / "further", channels={"train": PIPE, "validation": PIPE, "model": PIPE})
    packed = subprocess.run(["tar", "-cz", "-C", files / "model", "."], capture_output=True, check=True).stdout
    with streaming(further / "input/data", train=train, validation=validation, model=packed):
        assert sagemaker_container.train_in(further) == 0
    assert "Continuing from the model in" in capfd.readouterr().out


def manifest_stream(path: Path, data: Images, label: Any) -> bytes:
    """Image and label in turn, as an augmented manifest is streamed."""
    with RecordWriter(path) as writer:
        for number, (image, value) in enumerate(zip(data.images, data.labels, strict=True)):
            writer.write(encode_image(image, "png"), number)
            writer.write(label(value), number)
    return path.read_bytes()


LABELS: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "text": (lambda value: json.dumps(str(value)).encode(), "", {}),
    "number": (lambda value: str(value).encode(), "", {}),
    "multi-hot": (
        lambda value: json.dumps(str([int(number == value) for number in range(10)])).encode(),
        "",
        {"multi_label": "1"},
    ),
    "class numbers": (lambda value: f"[{value}]".encode(), "; label-format=class-id", {"multi_label": "1"}),
}


@pytest.mark.parametrize("case", LABELS)
def test_an_augmented_manifest_is_read_with_its_labels(tmp_path: Path, case: str) -> None:
    label, label_format, changes = LABELS[case]
    channel = {**MANIFEST, "ContentType": f"application/x-recordio{label_format}"}
    root = contract(tmp_path / "ml", channels={"train": channel, "validation": channel}, **changes)
    streams = {
        name: manifest_stream(tmp_path / name, data, label)
        for name, data in (("train", training_digits()), ("validation", validation_digits()))
    }
    with streaming(root / "input/data", **streams):
        assert sagemaker_container.train_in(root) == 0
    model = load_model(root / "model")
    assert model.document.multi_label is ("multi_label" in changes)

    # What was trained on is what the manifest said.
    folder = tmp_path / "channels"
    folder.mkdir()
    hyperparameters = make_hyperparameters(multi_label="multi_label" in changes)
    with streaming(tmp_path, **streams):
        sagemaker_channels.bring_channels(
            tmp_path, {"train": channel, "validation": channel}, hyperparameters, 1, folder
        )
    store = PixelStore.open([folder / "train" / "train.rec"], image_shape=(1, 8, 8), cache_directory=tmp_path / "cache")
    labels = store.labels.argmax(axis=1) if "multi_label" in changes else store.labels
    assert labels.tolist() == training_digits().labels.tolist()
    assert np.array_equal(store.images, training_digits().images)


def test_images_and_their_lists_are_packed_resized_and_trained_on(tmp_path: Path) -> None:
    root = contract(tmp_path / "ml", resize="10", epochs="3")
    for name, images in (("train", training_digits()), ("validation", validation_digits())):
        path = write_images(root / "input" / "data" / name, images)
        (root / "input" / "data" / f"{name}_lst").mkdir()
        path.rename(root / "input" / "data" / f"{name}_lst" / path.name)
    done = run("train", SAGEMAKER_BASE_DIR=str(root))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Creating record files for") == 2
    assert max(accuracies(done.stdout)) > 0.6

    wrong = contract(tmp_path / "wrong")
    for name in ("train", "validation", "train_lst", "validation_lst"):
        (wrong / "input" / "data" / name).symlink_to(root / "input" / "data" / name)
    assert sagemaker_container.train_in(wrong) == 1
    assert "resize: is required for images with a list file; set the shortest side" in failure(wrong)


def test_images_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    root = contract(tmp_path, resize="10")
    data = root / "input" / "data"
    path = write_images(data / "train", training_digits().part(0, 20))
    (data / "train_lst").mkdir()
    path.rename(data / "train_lst" / "train.lst")
    label = training_digits().labels[0]
    (data / "train" / str(label) / "0.png").write_bytes(b"no image")
    (data / "train" / str(training_digits().labels[2]) / "2.png").unlink()
    assert sagemaker_container.train_in(root) == 1
    assert f"{label}/0.png: is not a JPEG, PNG" in failure(root)
    assert "2.png: cannot be read (No such file" in failure(root)
    assert f"correct {data}/train_lst/train.lst, whose paths are relative to {data}/train" in failure(root)


def test_a_failing_container_leaves_its_reason(records: Path, tmp_path: Path) -> None:
    root = contract(tmp_path, records, epochs="0", learning_rate="7")
    done = run("train", SAGEMAKER_BASE_DIR=str(root))
    assert done.returncode == 1
    assert "epochs: 0 is not accepted" in failure(root)
    assert "learning_rate: 7.0 is not accepted" in failure(root)
    assert "Traceback" not in done.stderr


def one_label_only(value: int) -> bytes:
    return b'{"class": 1}'


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "nothing there": ({}, {}, "train: holds no .rec file; the channel train needs RecordIO files"),
    "other files in the stream": (
        {"train": PIPE},
        {"train": b"0\t0.000000\tcat/im0.jpg\n"},
        "its S3Uri must name .rec files and nothing else",
    ),
    "streamed images": (
        {"train": {"TrainingInputMode": "Pipe", "ContentType": "application/x-image"}},
        {},
        "streams images without their labels; use an augmented manifest",
    ),
    "labels of another form": ({"train": MANIFEST}, {"train": one_label_only}, "it must be a class number from 0 to 9"),
    "a pipe that never comes": ({"train": PIPE}, {}, "train_0: is not there; SageMaker makes this pipe in Pipe mode"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_channels_that_cannot_be_trained_on_are_told_with_the_way_out(
    tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    channels, content, expected = REFUSED[case]
    monkeypatch.setattr(sagemaker_channels, "SECONDS_TO_PIPE", 0.0)
    root = contract(tmp_path / "ml", channels=channels)
    streams = {
        name: stream
        if isinstance(stream, bytes)
        else manifest_stream(tmp_path / name, training_digits().part(0, 5), stream)
        for name, stream in content.items()
    }
    with streaming(root / "input/data", **streams):
        assert sagemaker_container.train_in(root) == 1
    assert expected in failure(root)


def test_two_machines_train_one_model(records: Path, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    roots = {name: contract(tmp_path / name, records, epochs="3", kv_store="dist_async", mini_batch_size="16")
             for name in ("127.0.0.1", "localhost")}  # fmt: skip
    processes = {}
    for name, root in roots.items():
        resources = {"hosts": ["localhost", "127.0.0.1"], "current_host": name, "network_interface_name": "lo"}
        write_json(root / "input/config/resourceconfig.json", resources)
        processes[name] = subprocess.Popen(
            [sys.executable, "-m", TRAINER, "train"],
            env=os.environ | {"SAGEMAKER_BASE_DIR": str(root), "OMP_NUM_THREADS": "1", "MASTER_PORT": str(port)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    ended = {name: process.communicate(timeout=400) for name, process in processes.items()}
    for name, process in processes.items():
        assert process.returncode == 0, ended[name][1]
    log, silence = ended["127.0.0.1"][0], ended["localhost"][0]
    assert "kv_store: dist_sync instead of dist_async" in log
    assert "2 machines exchange their gradients" in log
    assert "32 images a step" in log, "mini_batch_size is that of a machine"
    assert len(accuracies(log)) == 3
    assert accuracies(silence) == [], "only the first machine writes"
    assert not (roots["localhost"] / "model").exists()

    classifier = load_model(roots["127.0.0.1"] / "model")
    validation = validation_digits()
    right = classifier.predict(validation.images).argmax(axis=1) == validation.labels
    assert right.mean() == pytest.approx(max(accuracies(log)), abs=1e-6)
    assert right.mean() > 0.5


def test_machines_that_have_different_images_are_refused(records: Path, tmp_path: Path) -> None:
    channels = {"train": {"S3DistributionType": "ShardedByS3Key"}}
    root = contract(tmp_path, records, channels=channels)
    write_json(root / "input/config/resourceconfig.json", {"hosts": ["algo-1", "algo-2"], "current_host": "algo-1"})
    assert sagemaker_container.train_in(root) == 1
    assert "set S3DataDistributionType to FullyReplicated" in failure(root)


def test_several_machines_start_together() -> None:
    hosts = Hosts.from_resources(
        {"hosts": ["algo-2", "algo-1"], "current_host": "algo-2", "network_interface_name": "eth0"}
    )
    command = launch_command(hosts)
    assert command is not None
    assert command[:3] == [sys.executable, "-m", "torch.distributed.run"]
    assert {"--nnodes=2", "--node-rank=1", "--master-addr=algo-1"} <= set(command)
    assert hosts.network_variables() == {"NCCL_SOCKET_IFNAME": "eth0", "GLOO_SOCKET_IFNAME": "eth0"}
    assert launch_command(Hosts(("algo-1",), "algo-1")) is None
    with pytest.raises(TrainingError, match="current_host among them"):
        Hosts.from_resources({"hosts": ["algo-1"], "current_host": "algo-2"})
    with pytest.raises(TrainingError, match=r"nowhere\.invalid: has no address"):
        Hosts(("nowhere.invalid", "x"), "x").wait_until_known(0)


def test_a_training_that_is_stopped_ends_at_once_and_keeps_its_best_model(records: Path, tmp_path: Path) -> None:
    root = contract(tmp_path, records, epochs="100000")
    process = subprocess.Popen(
        [sys.executable, "-m", TRAINER, "train"],
        env=os.environ | {"SAGEMAKER_BASE_DIR": str(root), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not (root / "model" / "model.json").exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
    finally:
        process.kill()
        process.wait()
    assert load_model(root / "model").document.epoch >= 0
