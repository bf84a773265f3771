"""Tables of one JSON object a line: JSON Lines, augmented manifests of SageMaker, import files of Vertex AI.

A manifest's line has ``source-ref``, a label attribute of any name, and ``ATTRIBUTE-metadata`` with the class's name.
"""

import json
from pathlib import Path
from typing import Any

from kfp_image_tuning.core.errors import DatasetError
from kfp_image_tuning.preparation.sources.reading import Findings, Reading
from kfp_image_tuning.preparation.sources.table_rows import TableRow, rows_of_table

SOURCE_REF = "source-ref"
VERTEX_URI = "imageGcsUri"
_METADATA = "-metadata"


def read_json_lines(path: Path, name: str, reading: Reading, findings: Findings) -> list[TableRow]:
    """Read all rows.

    Args:
        path: The file.
        name: What to call it in messages.
        reading: What the user says of its columns.
        findings: Gets the rows without a label, and what was decided.

    Raises:
        DatasetError: If it is no such table.
    """
    objects = _read_objects(path, name)
    if objects and VERTEX_URI in objects[0]:
        objects = [_flatten_vertex(item) for item in objects]
    if objects and SOURCE_REF in objects[0]:
        label = reading.label_column or _label_attribute(objects, name)
        objects = [_flatten(item, label, findings) for item in objects]
    header = list(dict.fromkeys(key for item in objects for key in item))
    cells = [[item.get(key) for key in header] for item in objects]
    return rows_of_table(header, cells, reading, findings, name)


def _read_objects(path: Path, name: str) -> list[dict[str, Any]]:
    objects = []
    try:
        text = path.read_bytes().decode("utf-8-sig")
        lines = _lines_of_array(text) if text.lstrip().startswith("[") else text.split("\n")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{name}: is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise DatasetError(f"{name}: cannot be read ({error.strerror}); check the path and its permissions") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            item = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DatasetError(f"{name}: line {number}: is not JSON ({error}); write one object a line") from None
        if not isinstance(item, dict):
            raise DatasetError(f"{name}: line {number}: is not a JSON object; write one object a line")
        objects.append(item)
    if not objects:
        raise DatasetError(f"{name}: is empty; write one JSON object a line")
    return objects


def _lines_of_array(text: str) -> list[str]:
    """One line for each element, where the whole file is one JSON array."""
    try:
        return [json.dumps(item) for item in json.loads(text)]
    except (ValueError, RecursionError):
        return text.split("\n")


def _flatten_vertex(item: dict[str, Any]) -> dict[str, Any]:
    """A line of Vertex AI's import files as image, label and split."""
    found = item.get("classificationAnnotations") or [item.get("classificationAnnotation")]
    labels = [note.get("displayName") for note in found if isinstance(note, dict)] if isinstance(found, list) else []
    use = item.get("dataItemResourceLabels")
    split = use.get("aiplatform.googleapis.com/ml_use") if isinstance(use, dict) else None
    return {"image": item.get(VERTEX_URI), "label": [label for label in labels if label], "split": split}


def _label_attribute(objects: list[dict[str, Any]], name: str) -> str:
    """The attribute that holds the classes."""
    keys = list(dict.fromkeys(key for item in objects for key in item if key != SOURCE_REF))
    described = [key for key in keys if f"{key}{_METADATA}" in keys]
    choice = described or [key for key in keys if not key.endswith(_METADATA)]
    if len(choice) != 1:
        raise DatasetError(
            f"{name}: has {'no label attribute' if not choice else 'the attributes ' + ', '.join(choice)} beside "
            f"{SOURCE_REF}; say which holds the classes with --label-column"
        )
    return choice[0]


def _flatten(item: dict[str, Any], label: str, findings: Findings) -> dict[str, Any]:
    """A manifest's line as image and label, by the class's name where the line tells it."""
    metadata = item.get(f"{label}{_METADATA}")
    metadata = metadata if isinstance(metadata, dict) else {}
    value = item.get(label)
    class_map = metadata.get("class-map")
    names: dict[str, Any] = class_map if isinstance(class_map, dict) else {}
    if isinstance(metadata.get("class-name"), str):
        names = {str(value): metadata["class-name"]}
    for number, class_name in names.items():
        if str(number).isdecimal():
            findings.class_numbers.setdefault(str(class_name), int(number))
    numbers = value if isinstance(value, list) else [value]
    labels = [names.get(str(number), number) for number in numbers if number is not None]
    return {SOURCE_REF: item.get(SOURCE_REF), label: labels}
