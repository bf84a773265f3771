"""Images out of Parquet and Arrow files: a column with the encoded bytes and one with the label.

Known are the layout of Hugging Face data sets (``image: struct<bytes, path>``, ``label`` with class names in the
schema's metadata, also as ``save_to_disk`` writes it) and a plain binary column. A file is read in batches of rows,
never as a whole.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kfp_image_tuning.core.errors import DatasetError, EnvironmentLackError
from kfp_image_tuning.dataset.document import SkippedImage
from kfp_image_tuning.preparation.sources.image_reference import ImageReference, ScratchImages
from kfp_image_tuning.preparation.sources.reading import Findings, Reading, enumerate_names
from kfp_image_tuning.preparation.sources.split_words import SPLIT_WORDS, split_named_in
from kfp_image_tuning.preparation.sources.table_cells import as_text, labels_in, split_in
from kfp_image_tuning.preparation.sources.table_columns import (
    LABEL_COLUMNS,
    SPLIT_COLUMNS,
    find_image_column,
    plain_name,
)

if TYPE_CHECKING:
    import pyarrow as pa

IMAGE_COLUMNS = ("image", "img", "bytes", "imagebytes", "data", "content")
ROWS_AT_A_TIME = 64


@dataclass(frozen=True)
class ParquetImages:
    """What a Parquet or Arrow file holds.

    Attributes:
        references: The images; labelled by name where the file names its numbered classes.
        numbered: Whether their labels are class numbers.
        class_names: The names of all numbered classes, also of those without images; None where the file has none.
    """

    references: list[ImageReference]
    numbered: bool
    class_names: list[str] | None


def read_parquet(path: Path, name: str, scratch: ScratchImages, reading: Reading, findings: Findings) -> ParquetImages:
    """Copy the images of a Parquet or Arrow file into the scratch file.

    Args:
        path: The file.
        name: Its name in the source, which may name a split.
        scratch: Takes the images.
        reading: Which columns the user names.
        findings: Gets the rows without image or label.

    Raises:
        DatasetError: If it is not such a file of images.
        EnvironmentLackError: If pyarrow is not installed.
    """
    try:
        import pyarrow as pa
    except ImportError:
        raise EnvironmentLackError(
            f"{name}: reading Parquet needs pyarrow; install it with: pip install 'kfp-image-tuning[parquet]'"
        ) from None
    references: list[ImageReference] = []
    missing: list[SkippedImage] = []
    paths_only = True
    try:
        with _open_batches(path, name) as (schema, batches_of):
            columns = _find_columns(schema, name, reading)
            names = None if reading.class_names else _class_names(schema, columns[1])
            split = split_named_in(name)
            if split:
                findings.name_split(split, name)
            number = 0
            for batch in batches_of([column for column in columns if column is not None]):
                for image, labels, row_split in _read_rows(batch, columns, name, names):
                    place = f"{name}#{number:08d}"
                    number += 1
                    paths_only &= not image
                    if not image or labels is None:
                        missing.append(SkippedImage(place, f"has no {'label' if image else 'image bytes'}"))
                        continue
                    references.append(scratch.append(image, place, labels, row_split or split))
            kind = schema.field(columns[1]).type
            value = getattr(kind, "value_type", kind)
    except pa.ArrowException as error:
        raise DatasetError(f"{name}: is damaged or no Parquet file ({error}); copy or write it again") from None
    if number and paths_only:
        raise DatasetError(
            f"{name}: the images are not embedded, its column {columns[0]} holds no bytes; write it again with the "
            "images in it, or give a CSV with path and label beside the image files"
        )
    findings.skipped += missing
    numbered = not names and (pa.types.is_integer(value) or pa.types.is_floating(value))
    return ParquetImages(references, numbered, names)


def read_paths(path: Path) -> tuple[list[str], list[list[Any]]] | None:
    """Header and rows of a Parquet file that names image files; None where it holds the images, or is no such file."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        return None
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            if any(_holds_images(field.type) for field in schema):
                return None
            rows = [list(row.values()) for batch in file.iter_batches() for row in batch.to_pylist()]
    except pa.ArrowException:
        return None
    names = [plain_name(column) for column in schema.names]
    return (schema.names, rows) if find_image_column(names, rows) is not None else None


def refuse_several_tables(names: Sequence[str], place: str) -> None:
    """Refuse a folder with several data sets, such as the configurations of a Hugging Face repository.

    Raises:
        DatasetError: If the files are in several folders that are not named after splits.
    """
    folders = {name.rpartition("/")[0] for name in names}
    folders = {folder for folder in folders if folder.rpartition("/")[2].lower() not in SPLIT_WORDS}
    if len(folders) > 1:
        raise DatasetError(
            f"{place}: holds several data sets, in {enumerate_names([folder or '.' for folder in folders])}; give one "
            "of these folders as --data"
        )


@contextmanager
def _open_batches(
    path: Path, name: str
) -> "Iterator[tuple[pa.Schema, Callable[[list[str]], Iterator[pa.RecordBatch]]]]":
    """The schema of a file, and a function that gives rows of some columns, some at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not name.lower().endswith(".arrow"):
        with pq.ParquetFile(path) as file:
            yield file.schema_arrow, lambda columns: file.iter_batches(batch_size=ROWS_AT_A_TIME, columns=columns)
        return
    with pa.memory_map(str(path)) as source:
        is_file = source.read(6) == b"ARROW1"
        source.seek(0)
        reader = pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)
        batches = (reader.get_batch(n) for n in range(reader.num_record_batches)) if is_file else iter(reader)
        yield (
            reader.schema,
            lambda columns: (
                batch.select(columns).slice(start, ROWS_AT_A_TIME)
                for batch in batches
                for start in range(0, batch.num_rows, ROWS_AT_A_TIME)
            ),
        )


def _find_columns(schema: "pa.Schema", name: str, reading: Reading) -> tuple[str, str, str | None]:
    """Names of the columns with image, label and split."""
    for option in ("image_column", "label_column", "split_column"):
        wanted = getattr(reading, option)
        if wanted and wanted not in schema.names:
            raise DatasetError(f"{option}: {name} has no column {wanted!r}; it has {', '.join(schema.names)}")
    images = [field.name for field in schema if _holds_images(field.type)]
    image = reading.image_column or _prefer(images, IMAGE_COLUMNS) or (images[0] if len(images) == 1 else None)
    label = reading.label_column or _prefer(schema.names, LABEL_COLUMNS)
    if image is None or label is None:
        raise DatasetError(
            f"{name}: has the columns {', '.join(schema.names)}; needed are one with the image's bytes (binary, or a "
            f"struct with bytes, named {' or '.join(IMAGE_COLUMNS[:2])}; --image-column) and one with the class "
            "(named label or class; --label-column)"
        )
    return image, label, reading.split_column or _prefer(schema.names, SPLIT_COLUMNS)


def _holds_images(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return bool(kind.get_field_index("bytes") >= 0)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _prefer(names: Sequence[str], preferred: Sequence[str]) -> str | None:
    return next((name for wanted in preferred for name in names if plain_name(name) == wanted), None)


def _read_rows(
    batch: "pa.RecordBatch", columns: tuple[str, str, str | None], name: str, names: Sequence[str] | None
) -> Iterator[tuple[bytes | None, tuple[str, ...] | None, str | None]]:
    image_column, label_column, split_column = columns
    splits = batch.column(split_column).to_pylist() if split_column else [None] * batch.num_rows
    rows = zip(batch.column(image_column).to_pylist(), batch.column(label_column).to_pylist(), splits, strict=True)
    for image, label, split in rows:
        data = image.get("bytes") if isinstance(image, dict) else image
        yield data, _read_labels(label, name, names), split_in(split, name)


def _read_labels(label: Any, name: str, names: Sequence[str] | None) -> tuple[str, ...] | None:
    """A label cell: a name, a number, or a list of either; an empty one is no label."""
    if label is None or isinstance(label, str):
        return labels_in(label)
    # Hugging Face marks unlabelled images by -1.
    values = [value for value in (label if isinstance(label, list) else [label]) if value != -1]
    texts = [as_text(value) for value in values]
    for value, text in zip(values, texts, strict=True):
        is_number = isinstance(value, (int, float)) and (text == "" or text.isdecimal())
        if not isinstance(value, str) and not is_number:
            raise DatasetError(f"{name}: the label {label!r} is neither a name nor a number from 0; correct the column")
        if names and text.isdecimal() and int(text) >= len(names):
            raise DatasetError(
                f"{name}: holds the class number {text}, but names {len(names)} classes only; write the file again, or "
                "name the classes with --class-names"
            )
    if names:
        texts = [names[int(text)] if text.isdecimal() else text for text in texts]
    return tuple(sorted(set(texts) - {""})) or None


def _class_names(schema: "pa.Schema", label_column: str) -> list[str] | None:
    """The names that Hugging Face stores for numbered classes."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        feature = features[label_column]
        names = feature.get("names") or feature["feature"]["names"]
        return [str(value) for value in names]
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
