"""Amazon SageMaker's contract with a training container: the trainer's image can be brought to SageMaker as it is.

Under ``/opt/ml`` (Amazon SageMaker developer guide, "How Amazon SageMaker AI Provides Training Information"):

======================================= ================================================================================
``input/config/hyperparameters.json``   every hyperparameter, as text
``input/config/inputdataconfig.json``   what each channel is
``input/config/resourceconfig.json``    the machines that train together
``input/data/train``, ``…/validation``  the channels, in every form that the built-in algorithm takes, see
                                        `kfp_image_tuning.trainer.sagemaker_channels`
``input/data/model``                    optional: a model to continue from, as folder or ``model.tar.gz``
``checkpoints``                         optional: kept by SageMaker when a spot instance is taken away
``model``                               gets the model; SageMaker makes ``model.tar.gz`` of it
``output/failure``                      gets the reason of a failure, which the console shows
======================================= ================================================================================

The container's first process brings the channels into record files. It then trains, or starts torchrun, whose processes
train, one for each GPU of this machine and of the others.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping
from pathlib import Path

from kfp_image_tuning.core.errors import ImageTuningError, TrainingError
from kfp_image_tuning.search.hyperparameters import Hyperparameters
from kfp_image_tuning.trainer.sagemaker_channels import CHANNELS, MODEL, bring_channels
from kfp_image_tuning.trainer.sagemaker_hosts import Hosts, launch_command

LONGEST_FAILURE = 1024
"""SageMaker shows the first 1024 characters."""
SECONDS_TO_HOSTS = 300.0
"""Names of machines can become known only minutes after the containers' start."""
BROUGHT = "KFP_IMAGE_TUNING_CHANNELS"
"""The variable that tells the processes of torchrun where the channels have been brought."""


def is_here(root: Path) -> bool:
    """Whether SageMaker has put a training's configuration under ``root``."""
    return (root / "input/config/hyperparameters.json").is_file()


def train_in(root: Path) -> int:
    """Train as SageMaker asks for; return the exit status that it expects.

    Args:
        root: The contract's folder, ``/opt/ml`` in a container.
    """
    try:
        hyperparameters = _read_hyperparameters(root / "input/config/hyperparameters.json")
        if brought := os.environ.get(BROUGHT):
            _train(root, hyperparameters, Path(brought))
            return 0
        hosts = Hosts.from_resources(_read_resources(root / "input/config/resourceconfig.json"))
        channels = _read_channels(root / "input/config/inputdataconfig.json")
        with tempfile.TemporaryDirectory(prefix="channels-") as scratch:
            bring_channels(root / "input/data", channels, hyperparameters, len(hosts.names), Path(scratch))
            if command := launch_command(hosts):
                hosts.wait_until_known(SECONDS_TO_HOSTS)
                return _launch(root, command, {**hosts.network_variables(), BROUGHT: scratch})
            _train(root, hyperparameters, Path(scratch))
    except ImageTuningError as error:
        return _fail(root, str(error))
    except Exception as error:
        traceback.print_exc()
        return _fail(root, f"{type(error).__name__}: {error}")
    return 0


def _launch(root: Path, command: list[str], variables: Mapping[str, str]) -> int:
    """Run torchrun to its end, and pass on what should end it."""
    process = subprocess.Popen(command, env={**os.environ, **variables})
    signal.signal(signal.SIGTERM, lambda number, _: process.send_signal(number))
    status = process.wait()
    if status and not (root / "output/failure").exists():
        return _fail(root, f"torchrun ended with status {status}; its log says which process was the first to fail")
    return status


def _train(root: Path, hyperparameters: Hyperparameters, channels: Path) -> None:
    from kfp_image_tuning.dataset.pixel_store import PixelStore
    from kfp_image_tuning.trainer.devices import process_group
    from kfp_image_tuning.trainer.training import train

    depth, height, width = hyperparameters.image_shape
    checkpoints, model = root / "checkpoints", channels / MODEL
    with process_group():
        training, validation = (
            PixelStore.open(
                sorted((channels / name).rglob("*.rec")),
                image_shape=(depth, height, width),
                resize=hyperparameters.resize,
                # One place for all processes of this machine, which then decode once.
                cache_directory=Path(tempfile.gettempdir()) / "kfp-image-tuning",
            )
            for name in CHANNELS
        )
        train(
            hyperparameters,
            training,
            validation,
            classes=[str(number) for number in range(hyperparameters.num_classes)],
            model_directory=root / "model",
            seed=0,
            initial_model=model if model.exists() else None,
            checkpoint_directory=checkpoints if checkpoints.is_dir() else None,
        )


def _read_hyperparameters(path: Path) -> Hyperparameters:
    """Read the algorithm's, without those of SageMaker's SDK and without its second quotation marks."""
    values = {
        name: value.strip('"') if isinstance(value, str) else value
        for name, value in _read_object(path).items()
        if not name.startswith("sagemaker_")
    }
    return Hyperparameters.from_strings(values)


def _read_channels(path: Path) -> dict[str, dict[str, str]]:
    """What each channel is, as far as it is known."""
    channels = _read_object(path) if path.is_file() else {}
    return {name: channel for name, channel in channels.items() if isinstance(channel, dict)}


def _read_resources(path: Path) -> dict[str, object]:
    """The machines; without SageMaker's file, as its toolkit's variables name them; without those, this one."""
    if path.is_file():
        return _read_object(path)
    if "SM_HOSTS" not in os.environ:
        return {"hosts": ["localhost"], "current_host": "localhost"}
    return {
        "hosts": _parse(os.environ["SM_HOSTS"], "SM_HOSTS"),
        "current_host": os.environ.get("SM_CURRENT_HOST"),
        "network_interface_name": os.environ.get("SM_NETWORK_INTERFACE_NAME"),
    }


def _read_object(path: Path) -> dict[str, object]:
    try:
        values = _parse(path.read_bytes(), path)
    except OSError as error:
        raise TrainingError(f"{path}: cannot be read ({error.strerror}); SageMaker writes it") from None
    if not isinstance(values, dict):
        raise TrainingError(f"{path}: must be a JSON object, as SageMaker writes it")
    return values


def _parse(text: str | bytes, place: object) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TrainingError(f"{place}: is not valid JSON ({error}); SageMaker writes it") from None


def _fail(root: Path, reason: str) -> int:
    print(reason, file=sys.stderr)
    (root / "output").mkdir(parents=True, exist_ok=True)
    (root / "output/failure").write_text(reason[:LONGEST_FAILURE])
    return 1
