"""Amazon SageMaker's contract with a training container: the trainer's image can be brought to SageMaker as it is.

Under ``/opt/ml`` (Amazon SageMaker developer guide, "How Amazon SageMaker AI Provides Training Information"):

============================================== =========================================================================
``input/config/hyperparameters.json``          every hyperparameter, as text
``input/data/train``, ``input/data/validation`` the channels: ``.rec`` files, as the built-in algorithm takes them
``input/data/model``                           optional: a model to go on from, as folder or ``model.tar.gz``
``checkpoints``                                optional: kept by SageMaker when a spot instance is taken away
``model``                                      gets the model; SageMaker makes ``model.tar.gz`` of it
``output/failure``                             gets the reason of a failure, which the console shows
============================================== =========================================================================
"""

import json
import os
import sys
import tempfile
import traceback
from pathlib import Path

from kfp_image_tuning.tuning.errors import ImageTuningError, TrainingError
from kfp_image_tuning.tuning.hyperparameters import Hyperparameters

LONGEST_FAILURE = 1024
"""SageMaker shows the first 1024 characters."""
MASTER_PORT = 29500


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
        command = launch_command(*_read_hosts(root / "input/config/resourceconfig.json"))
        if command is not None:
            os.execv(command[0], command)
        _train(root, hyperparameters)
    except ImageTuningError as error:
        return _fail(root, str(error))
    except Exception as error:
        traceback.print_exc()
        return _fail(root, f"{type(error).__name__}: {error}")
    return 0


def launch_command(hosts: list[str], this_host: str) -> list[str] | None:
    """The command that starts one process for each GPU of this machine, together with those of the other machines.

    Args:
        hosts: All machines of the training, in the same order on each.
        this_host: This one's name.

    Returns:
        None if this process is enough, or is one of those.
    """
    import torch

    processes = max(1, torch.cuda.device_count())
    if "RANK" in os.environ or processes * len(hosts) == 1:
        return None
    return [
        *(sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}"),
        *(f"--nnodes={len(hosts)}", f"--node-rank={hosts.index(this_host)}"),
        *(f"--master-addr={hosts[0]}", f"--master-port={MASTER_PORT}"),
        *("--module", "kfp_image_tuning.trainer", "train"),
    ]


def _train(root: Path, hyperparameters: Hyperparameters) -> None:
    from kfp_image_tuning.dataset.pixel_store import PixelStore
    from kfp_image_tuning.trainer.devices import process_group
    from kfp_image_tuning.trainer.training import train

    channels, height, width = hyperparameters.image_shape
    data = root / "input/data"
    records = [_record_files(data / name) for name in ("train", "validation")]
    checkpoints = root / "checkpoints"
    # One place for all processes of this machine, which then decode once.
    cache = Path(tempfile.gettempdir()) / "kfp-image-tuning"
    with process_group():
        training, validation = (
            PixelStore.open(paths, image_shape=(channels, height, width), cache_directory=cache) for paths in records
        )
        train(
            hyperparameters,
            training,
            validation,
            classes=[str(number) for number in range(hyperparameters.num_classes)],
            model_directory=root / "model",
            seed=0,
            initial_model=_find_model(data / "model"),
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


def _read_hosts(path: Path) -> tuple[list[str], str]:
    """The names of all machines, and this one's."""
    if not path.is_file():
        return ["localhost"], "localhost"
    resources = _read_object(path)
    hosts = resources.get("hosts")
    this = resources.get("current_host")
    if not isinstance(hosts, list) or this not in hosts:
        raise TrainingError(f"{path}: must hold hosts and the current_host among them, got {hosts} and {this}")
    return sorted(hosts), str(this)


def _read_object(path: Path) -> dict[str, object]:
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path}: cannot be read ({error}); SageMaker writes it") from None
    if not isinstance(values, dict):
        raise TrainingError(f"{path}: must be a JSON object, as SageMaker writes it")
    return values


def _record_files(channel: Path) -> list[Path]:
    found = sorted(channel.rglob("*.rec"))
    if not found:
        raise TrainingError(
            f"{channel}: holds no .rec file; the channel {channel.name} needs RecordIO in File or FastFile mode, as "
            "kfp-image-tuning prepare writes it"
        )
    return found


def _find_model(channel: Path) -> Path | None:
    """The model channel's content: an archive in it, or the folder itself."""
    if not channel.is_dir():
        return None
    archives = sorted(channel.glob("*.tar.gz"))
    return archives[0] if archives else channel


def _fail(root: Path, reason: str) -> int:
    print(reason, file=sys.stderr)
    (root / "output").mkdir(parents=True, exist_ok=True)
    (root / "output/failure").write_text(reason[:LONGEST_FAILURE])
    return 1
