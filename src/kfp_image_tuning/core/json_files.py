"""Reading and writing the documents that pass between packages: JSON objects, written atomically."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kfp_image_tuning.core.durable_file import write_durably
from kfp_image_tuning.core.errors import DocumentError


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        DocumentError: If the file is missing or holds no JSON object.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DocumentError(f"{path}: there is no such file") from None
    except (ValueError, OSError, RecursionError) as error:
        raise DocumentError(f"{path}: cannot be read as JSON ({error})") from None
    if not isinstance(document, dict):
        raise DocumentError(f"{path}: holds a JSON {type(document).__name__}, an object is needed")
    return document


def sha256_of(content: object) -> str:
    """The identity of JSON content, whatever the order of its names: 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON object so that a reader sees the old file or the new one, never half of it.

    Raises:
        ValueError: If the document holds a number that is not finite, which JSON cannot express.
    """
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False, sort_keys=False) + "\n"
    write_durably(path, text.encode())
