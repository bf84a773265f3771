"""``kfp-image-tuning predict``: what a model says of images."""

import argparse
import contextlib
import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from kfp_image_tuning.cli import option_types
from kfp_image_tuning.cli.outcome import Outcome
from kfp_image_tuning.core.console import printable_name, say
from kfp_image_tuning.core.durable_file import appearing

if TYPE_CHECKING:
    from kfp_image_tuning.steps.prediction import Prediction

_DESCRIPTION = """\
Classify images with a model that a search has made.

  kfp-image-tuning predict --model runs/photos/model holiday.jpg ~/new-photos
  kfp-image-tuning predict --model runs/photos/model --format jsonl --top 3 \\
      s3://bucket/new > predictions.jsonl
  curl -s https://example.org/cat.jpg | \\
      kfp-image-tuning predict --model runs/photos/model -

Images are read, turned and resized as for the evaluation. One that cannot be read gets its reason in place of a class,
the others get their classes, and the exit code is 1.
"""


def add_to(commands: "argparse._SubParsersAction[Any]") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "predict",
        help="classify images with a model",
        description=_DESCRIPTION,
    )
    parser.add_argument(
        "images",
        metavar="IMAGE",
        nargs="+",
        help="an image, a folder of them (searched to the bottom), an s3://, gs://, minio:// or https:// address, or -",
    )
    parser.add_argument(
        "--model", metavar="MODEL", required=True, help="the model's folder or .tar.gz; a path or an address"
    )
    parser.add_argument(
        "--top", type=option_types.positive, metavar="K", default=1, help="classes to tell of each image (default: 1)"
    )
    parser.add_argument("--format", choices=tuple(_WRITERS), default="table", help="default: table")
    parser.add_argument("--output", metavar="FILE", type=Path, help="where to write (default: standard output)")
    parser.add_argument(
        "--batch-size", type=option_types.positive, metavar="N", default=64, help="images at a time (default: 64)"
    )
    parser.set_defaults(execute=execute)


def execute(arguments: argparse.Namespace) -> Outcome:
    """Run the command."""
    from kfp_image_tuning.steps.prediction import predict

    taken = failed = 0

    def counted() -> "Iterator[Prediction]":
        nonlocal taken, failed
        for prediction in predict(
            arguments.model, arguments.images, top=arguments.top, batch_size=arguments.batch_size
        ):
            taken += 1
            failed += bool(prediction.error)
            yield prediction

    with _opened(arguments.output, sys.stderr if arguments.json else sys.stdout) as file:
        _WRITERS[arguments.format](counted(), file, arguments.top)
    if failed:
        say(f"{failed} of the images could not be classified; their reasons are in the output")
    files = {"files": {"predictions": str(arguments.output.resolve())}} if arguments.output else {}
    return Outcome({"classified_images": taken - failed, "failed_images": failed, **files}, 1 if failed else 0)


@contextlib.contextmanager
def _opened(path: Path | None, otherwise: IO[str]) -> Iterator[IO[str]]:
    if path is None:
        yield otherwise
    else:
        # Names of files may be anything that the system takes.
        with (
            appearing(path) as temporary,
            temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
        ):
            yield file


def _write_table(predictions: "Iterable[Prediction]", file: IO[str], _top: int) -> None:
    for prediction in predictions:
        told = [f"{printable_name(name)} {probability:.1%}" for name, probability in prediction.classes]
        print(f"{printable_name(prediction.image)}: {', '.join(told) or prediction.error}", file=file, flush=True)


def _write_json_lines(predictions: "Iterable[Prediction]", file: IO[str], _top: int) -> None:
    for prediction in predictions:
        row: dict[str, object] = {"image": prediction.image}
        if prediction.error:
            row["error"] = prediction.error
        else:
            row["predictions"] = [
                {"class": name, "probability": round(probability, 6)} for name, probability in prediction.classes
            ]
        print(json.dumps(row, ensure_ascii=False), file=file, flush=True)


def _write_csv(predictions: "Iterable[Prediction]", file: IO[str], top: int) -> None:
    writer = csv.writer(file, lineterminator="\n")
    more = [f"{column}_{number}" for number in range(2, top + 1) for column in ("class", "probability")]
    writer.writerow(["image", "class", "probability", *more, "error"])
    for prediction in predictions:
        cells = [cell for name, probability in prediction.classes for cell in (name, f"{probability:.6f}")]
        writer.writerow([prediction.image, *cells, *[""] * (2 * top - len(cells)), prediction.error])
        file.flush()


_WRITERS: dict[str, Callable[..., None]] = {"table": _write_table, "jsonl": _write_json_lines, "csv": _write_csv}
