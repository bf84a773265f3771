"""Reading and writing the documents that pass between packages: JSON objects, written atomically."""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON object so that a reader sees the old file or the new one, never half of it.

    Raises:
        ValueError: If the document holds a number that is not finite, which JSON cannot express.
    """
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False, sort_keys=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
