"""The command line of the trainer: train one model."""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kfp_image_tuning.core.argument_parser import CommandParser
from kfp_image_tuning.core.errors import DefectError, HyperparameterError, TrainingError
from kfp_image_tuning.core.foreign_errors import as_own_error
from kfp_image_tuning.dataset.document import DOCUMENT_NAME, Dataset
from kfp_image_tuning.dataset.pixel_store import PixelStore
from kfp_image_tuning.search.hyperparameter_table import RULES, USED_BY_OPTIMIZER, format_value
from kfp_image_tuning.search.hyperparameters import Hyperparameters, defaults, required_names
from kfp_image_tuning.trainer.image_lists import check_resize, pack_images

DESCRIPTION = """\
Train one image classifier, as Amazon SageMaker's built-in Image Classification algorithm would.

The best epoch's model is written to --model-dir (model.safetensors, model.json). The log has the algorithm's
lines, such as "Epoch[3] Validation-accuracy=0.931200". Ends with 0 also when the training diverged; it says so.
"""

EXAMPLES = """\
examples:
  # on a prepared data set; num_classes, num_training_samples and image_shape are taken from it
  python -m kfp_image_tuning.trainer --dataset data --model-dir model --set num_layers=20 --set epochs=5

  # on record files, with hyperparameters in the form in which SageMaker passes them: {"num_layers": "20", …}
  python -m kfp_image_tuning.trainer --train train.rec --validation validation.rec \\
      --hyperparameters hyperparameters.json --model-dir model

  # on images with the list files that the algorithm takes (index<tab>label<tab>path); 256 pixels before the crop
  python -m kfp_image_tuning.trainer --train photos --train-lst train.lst --validation photos \\
      --validation-lst validation.lst --hyperparameters hyperparameters.json --set resize=256 --model-dir model

  # continue from a model with new data; with --set use_pretrained_model=1 only its last layer starts from scratch
  python -m kfp_image_tuning.trainer --dataset data --model-dir newer --initial-model model

  # on two GPUs (or two processes without one)
  torchrun --nproc-per-node 2 -m kfp_image_tuning.trainer --dataset data --model-dir model

  # as a container that Amazon SageMaker starts: everything comes from /opt/ml (or SAGEMAKER_BASE_DIR)
  python -m kfp_image_tuning.trainer train

kfp-image-tuning predict and export use the model; export --format mxnet writes the files that the algorithm itself
would have left behind.
"""

DEFAULT_CACHE = Path("~/.cache/kfp-image-tuning")


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit status.

    Args:
        arguments: Without the program's name.
    """
    try:
        _train(training_parser().parse_args(arguments))
    except Exception as error:
        own = as_own_error(error)
        if isinstance(own, DefectError):
            raise
        print(own, file=sys.stderr)
        return own.exit_code
    return 0


def training_parser() -> argparse.ArgumentParser:
    """The arguments of a training."""
    parser = CommandParser(
        prog="python -m kfp_image_tuning.trainer",
        description=DESCRIPTION,
        epilog=EXAMPLES + "\n" + _hyperparameter_table(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    data = parser.add_argument_group("data")
    data.add_argument("--dataset", type=Path, metavar="DIR", help="a prepared data set, for train and validation")
    role = "a .rec file, a folder of .rec files, or a data set (its split of this name)"
    data.add_argument("--train", type=Path, metavar="PATH", help=role)
    data.add_argument("--validation", type=Path, metavar="PATH", help=role)
    listed = "a .lst file of images; its paths are relative to the folder"
    data.add_argument("--train-lst", type=Path, metavar="FILE", help=f"{listed} that --train names")
    data.add_argument("--validation-lst", type=Path, metavar="FILE", help=f"{listed} that --validation names")
    data.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        default=DEFAULT_CACHE,
        help="where decoded images are kept for the next training on the same data (default: %(default)s)",
    )
    trial = parser.add_argument_group("trial")
    trial.add_argument(
        "--hyperparameters", type=Path, metavar="FILE", help="JSON object, name to value; all names of the algorithm"
    )
    trial.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="one hyperparameter; may be repeated, goes before the file",
    )
    trial.add_argument("--seed", type=int, default=0, help="of weights, order and augmentation (default: %(default)s)")
    trial.add_argument(
        "--initial-model",
        metavar="MODEL",
        help="model to start from: folder or .tar.gz, ours or the built-in algorithm's; path or URI (s3, gs, https)",
    )
    output = parser.add_argument_group("output")
    output.add_argument("--model-dir", type=Path, metavar="DIR", required=True, help="gets the best epoch's model")
    output.add_argument(
        "--checkpoint-dir",
        type=Path,
        metavar="DIR",
        help="keeps the training's state; the same command with the same folder continues after a kill",
    )
    # Read by __main__, before PyTorch is there; here for the help.
    parser.add_argument(
        "--threads", type=int, metavar="N", help="CPU threads (default: as many as the pod or machine allows)"
    )
    return parser


def _hyperparameter_table() -> str:
    """What the algorithm knows, a line each."""
    required = dict.fromkeys(required_names(), "required, or from --dataset")
    lines = ["hyperparameters (Amazon SageMaker developer guide, Image Classification Hyperparameters):"]
    for name, rule in RULES.items():
        default = required.get(name) or f"default {format_value(name, defaults()[name])}"
        users = f"; {', '.join(USED_BY_OPTIMIZER[name])} only" if name in USED_BY_OPTIMIZER else ""
        lines.append(f"  {name:26}{rule.describe()}; {default}{users}")
    return "\n".join(lines).replace("default None", "not set by default")


@dataclass(frozen=True)
class _Split:
    """The record files of one role, and what the data set that they are from says about itself."""

    record_paths: tuple[Path, ...]
    stored_size: tuple[int, int] | None = None
    dataset: Dataset | None = None

    @classmethod
    def find(cls, path: Path, name: str, images: Path | None, scratch: Path) -> "_Split":
        """Look for a data set's split, a folder's record files, one record file, or the images in a list.

        Args:
            path: Where to look.
            name: ``train`` or ``validation``.
            images: The list file.
            scratch: Folder for a record file of the images in it.
        """
        if images is not None:
            packed = scratch / f"{name}.rec"
            pack_images(images, path, packed)
            return cls((packed,))
        if (path / DOCUMENT_NAME).is_file():
            dataset = Dataset.load(path)
            split = dataset.split(name)
            return cls(split.record_paths, split.stored_size, dataset)
        if path.is_dir():
            found = tuple(sorted(path.glob("*.rec")))
            if not found:
                raise TrainingError(f"{path}: holds no .rec file and no {DOCUMENT_NAME}; give the folder that does")
            return cls(found)
        if not path.is_file():
            raise TrainingError(
                f"{path}: does not exist; --{name} takes a .rec file, a folder of them, a data set, or a folder of "
                f"images with --{name}-lst"
            )
        return cls((path,))

    def open(self, hyperparameters: Hyperparameters, cache: Path) -> PixelStore:
        """Map the decoded images."""
        channels, height, width = hyperparameters.image_shape
        return PixelStore.open(
            self.record_paths,
            image_shape=(channels, height, width),
            stored_size=self.stored_size,
            resize=hyperparameters.resize,
            cache_directory=cache.expanduser(),
        )


def read_hyperparameters(
    path: Path | None, assignments: Sequence[str], dataset: Dataset | None = None
) -> Hyperparameters:
    """Put the trial's hyperparameters together: single settings before the file before what the data set says.

    Raises:
        HyperparameterError: With everything that is wrong with them.
    """
    values: dict[str, object] = {}
    if dataset is not None:
        values = {
            "num_classes": len(dataset.classes),
            "num_training_samples": dataset.split("train").images,
            "image_shape": dataset.image_shape,
            "multi_label": int(dataset.multi_label),
        }
    if path is not None:
        values |= _read_object(path)
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise HyperparameterError(f"--set {assignment}: must have the form NAME=VALUE, such as --set epochs=5")
        values[name.strip()] = value.strip()
    return Hyperparameters.from_strings(values)


def _read_object(path: Path) -> dict[str, object]:
    try:
        values = json.loads(path.read_bytes())
    except OSError as error:
        raise HyperparameterError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    except (ValueError, RecursionError) as error:
        raise HyperparameterError(f"{path}: is not valid JSON ({error})") from None
    if not isinstance(values, dict):
        raise HyperparameterError(f'{path}: must be a JSON object such as {{"num_layers": "20"}}')
    return values


def _train(options: argparse.Namespace) -> None:
    paths = {name: getattr(options, name) or options.dataset for name in ("train", "validation")}
    if missing := " and ".join(f"--{name}" for name, path in paths.items() if path is None):
        raise TrainingError(f"{missing}: missing; give --dataset DIR, or --train PATH and --validation PATH")
    lists = {name: getattr(options, f"{name}_lst") for name in paths}
    with tempfile.TemporaryDirectory(prefix="records-") as scratch:
        splits = {name: _Split.find(path, name, lists[name], Path(scratch)) for name, path in paths.items()}
        dataset = splits["train"].dataset
        hyperparameters = read_hyperparameters(options.hyperparameters, options.set, dataset)
        if any(lists.values()):
            check_resize(hyperparameters)
        stores = [split.open(hyperparameters, options.cache) for split in splits.values()]
    # PyTorch takes seconds to import: wrong arguments are told before.
    from kfp_image_tuning.trainer.devices import process_group
    from kfp_image_tuning.trainer.training import train

    with process_group():
        train(
            hyperparameters,
            *stores,
            classes=dataset.classes if dataset else [str(number) for number in range(hyperparameters.num_classes)],
            model_directory=options.model_dir,
            seed=options.seed,
            initial_model=options.initial_model,
            checkpoint_directory=options.checkpoint_dir,
        )
