"""Images out of Parquet files: a column with the encoded bytes and one with the label.

Known are the layout of Hugging Face data sets (``image: struct<bytes, path>``, ``label`` with class names in the
schema's metadata) and a plain binary column. A file is read in batches of rows, never as a whole.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kfp_image_tuning.core.errors import DatasetError, EnvironmentLackError
from kfp_image_tuning.dataset.document import SkippedImage
from kfp_image_tuning.preparation.sources.csv_tables import (
    LABEL_COLUMNS,
    SPLIT_COLUMNS,
    read_split,
    split_labels,
)
from kfp_image_tuning.preparation.sources.folders import split_named_in
from kfp_image_tuning.preparation.sources.image_reference import ImageReference, ScratchImages

if TYPE_CHECKING:
    import pyarrow as pa

IMAGE_COLUMNS = ("image", "img", "bytes", "image_bytes", "data", "content")
ROWS_AT_A_TIME = 64


@dataclass(frozen=True)
class ParquetImages:
    """What a Parquet file holds.

    Attributes:
        references: The images.
        numbered: Whether their labels are class numbers.
        class_names: The names of the numbers, where the file knows them.
    """

    references: list[ImageReference]
    numbered: bool
    class_names: list[str] | None


def read_parquet(path: Path, name: str, scratch: ScratchImages, skipped: list[SkippedImage]) -> ParquetImages:
    """Copy the images of a Parquet file into the scratch file.

    Args:
        path: The file.
        name: Its name in the source, which may name a split.
        scratch: Takes the images.
        skipped: Gets the rows without image or label.

    Raises:
        DatasetError: If it is not a Parquet file of images.
        EnvironmentLackError: If pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise EnvironmentLackError(
            f"{name}: reading Parquet needs pyarrow; install it with: pip install 'kfp-image-tuning[parquet]'"
        ) from None
    references = []
    try:
        with pq.ParquetFile(path) as file:
            columns = _find_columns(file.schema_arrow, name)
            split = split_named_in(name)
            wanted = [column for column in columns if column is not None]
            number = 0
            for batch in file.iter_batches(batch_size=ROWS_AT_A_TIME, columns=wanted):
                for image, labels, row_split in _read_rows(batch, columns, name):
                    place = f"{name}#{number:08d}"
                    number += 1
                    if not image or not labels:
                        skipped.append(SkippedImage(place, f"has no {'label' if image else 'image bytes'}"))
                        continue
                    references.append(scratch.append(image, place, labels, row_split or split))
            kind = file.schema_arrow.field(columns[1]).type
            numbered = pa.types.is_integer(getattr(kind, "value_type", kind))
            return ParquetImages(references, numbered, _class_names(file.schema_arrow, columns[1]))
    except pa.ArrowException as error:
        raise DatasetError(f"{name}: is damaged or no Parquet file ({error}); copy or write it again") from None


def _find_columns(schema: "pa.Schema", name: str) -> tuple[str, str, str | None]:
    """Names of the columns with image, label and split."""
    import pyarrow as pa

    def holds_images(kind: "pa.DataType") -> bool:
        if pa.types.is_struct(kind):
            return bool(kind.get_field_index("bytes") >= 0)
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    images = [field.name for field in schema if holds_images(field.type)]
    image = _prefer(images, IMAGE_COLUMNS) or (images[0] if len(images) == 1 else None)
    label = _prefer(schema.names, LABEL_COLUMNS)
    if image is None or label is None:
        raise DatasetError(
            f"{name}: has the columns {', '.join(schema.names)}; needed are one with the image's bytes (binary, or a "
            f"struct with bytes, named {' or '.join(IMAGE_COLUMNS[:2])}) and one named {' or '.join(LABEL_COLUMNS)}"
        )
    return image, label, _prefer(schema.names, SPLIT_COLUMNS)


def _prefer(names: Sequence[str], preferred: Sequence[str]) -> str | None:
    return next((name for wanted in preferred for name in names if name.lower() == wanted), None)


def _read_rows(
    batch: "pa.RecordBatch", columns: tuple[str, str, str | None], name: str
) -> Iterator[tuple[bytes | None, tuple[str, ...], str | None]]:
    image_column, label_column, split_column = columns
    splits = batch.column(split_column).to_pylist() if split_column else [None] * batch.num_rows
    rows = zip(batch.column(image_column).to_pylist(), batch.column(label_column).to_pylist(), splits, strict=True)
    for image, label, split in rows:
        data = image.get("bytes") if isinstance(image, dict) else image
        yield data, _read_labels(label, name), read_split(str(split or ""), name)


def _read_labels(label: Any, name: str) -> tuple[str, ...]:
    """A label cell: a name, a number, or a list of either; an empty one is no label."""
    if label is None or isinstance(label, str):
        return split_labels(label or "")
    # Hugging Face marks unlabelled images by -1.
    values = label if isinstance(label, list) else [label] if label != -1 else []
    if not all(isinstance(value, str) or (isinstance(value, int) and value >= 0) for value in values):
        raise DatasetError(f"{name}: the label {label!r} is neither a name nor a number from 0; correct the column")
    return tuple(sorted({str(int(value) if isinstance(value, int) else value) for value in values}))


def _class_names(schema: "pa.Schema", label_column: str) -> list[str] | None:
    """The names that Hugging Face stores for numbered classes."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        feature = features[label_column]
        names = feature.get("names") or feature["feature"]["names"]
        return [str(value) for value in names]
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
