"""Labels of WebDataset's archives: ``000017.jpg`` beside ``000017.cls`` with its class, or ``000017.json`` with one."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from kfp_image_tuning.dataset.document import SkippedImage
from kfp_image_tuning.preparation.sources.image_reference import ImageReference
from kfp_image_tuning.preparation.sources.reading import Findings, Reading
from kfp_image_tuning.preparation.sources.table_cells import labels_in
from kfp_image_tuning.preparation.sources.table_columns import LABEL_COLUMNS, plain_name

LABEL_SUFFIXES = (".cls", ".json")
MAXIMUM_LABEL_BYTES = 1 << 16


def label_by_samples(
    references: Sequence[ImageReference], contents: Mapping[str, bytes], reading: Reading, findings: Findings
) -> list[ImageReference] | None:
    """Label images by the files that are beside them under the same name.

    Args:
        references: Images of an archive.
        contents: Its small files by name.
        reading: The key of the label in JSON, if the user names it.
        findings: Gets the images without a label, and what was decided.

    Returns:
        The labelled images; None if the archive is none of WebDataset's.
    """
    labels: dict[str, tuple[str, ...] | None] = {}
    for name, content in contents.items():
        if name.lower().endswith(LABEL_SUFFIXES):
            labels[_key(name)] = _label(name, content, reading) or labels.get(_key(name))
    if not any(labels.get(_key(reference.name)) for reference in references):
        return None
    labelled = []
    for reference in references:
        if found := labels.get(_key(reference.name)):
            labelled.append(replace(reference, labels=found))
        else:
            findings.skipped.append(SkippedImage(reference.name, "has no label beside it (.cls or .json)"))
    findings.decide("the files beside the images (.cls or .json) label them, as in WebDataset")
    return labelled


def _key(name: str) -> str:
    """The name up to the first dot of the file, by which WebDataset groups files."""
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.partition(".")[0]


def _label(name: str, content: bytes, reading: Reading) -> tuple[str, ...] | None:
    text = content.decode("utf-8", "replace")
    if name.lower().endswith(".cls"):
        return labels_in(text.strip())
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    if reading.label_column:
        return labels_in(document.get(reading.label_column))
    plain = {plain_name(key): value for key, value in document.items()}
    return next((labels_in(plain[word]) for word in LABEL_COLUMNS if word in plain), None)
