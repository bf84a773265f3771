"""The file in which a search's record lies, beside the models that its trials left."""

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kfp_image_tuning.katib.locations import Location
from kfp_image_tuning.katib.object_store import read_file, write_file
from kfp_image_tuning.katib.search_record import SearchRecord
from kfp_image_tuning.tuning.errors import DocumentError, ImageTuningError
from kfp_image_tuning.tuning.json_files import write_json

FILE_NAME = "search.json"


class RecordFile:
    """Where a search's record lies.

    Args:
        models: Where trials leave their models.
        mount: Where this process sees that, if it is on a volume; None: it does not, and nothing is kept.
        name: Of the search.
        fingerprint: What it searches; a record of another search is none.
    """

    def __init__(self, models: Location, mount: Path | None, name: str, fingerprint: str) -> None:
        self._fingerprint = fingerprint
        self.uri = models.below(name, FILE_NAME).uri
        self._folder = models.below(name).uri
        self._path = mount / name / FILE_NAME if models.is_volume and mount is not None else None
        self._is_seen = not models.is_volume or mount is not None
        self._writing: threading.Thread | None = None
        self._problem = ""

    def read(self) -> SearchRecord:
        """The record; empty if there is none.

        Raises:
            EngineError: If the object store does not answer.
            DocumentError: If something else lies there.
        """
        content = self._read() if self._is_seen else None
        if content is None:
            return SearchRecord(self._fingerprint)
        try:
            record = SearchRecord.from_document(json.loads(content))
        except (ValueError, DocumentError) as error:
            raise DocumentError(f"{self.uri}: {error}; remove it to search anew") from None
        return record if record.fingerprint == self._fingerprint else SearchRecord(self._fingerprint)

    def write(self, record: SearchRecord, patience: float = 0.0) -> str:
        """Write the record, in a thread: a store that hangs must not keep a signal from being heard.

        Args:
            record: The record.
            patience: Seconds to wait for its end. Without, it is left out while an earlier one is on its way.

        Returns:
            What went wrong, as far as that is known by now; or nothing.
        """
        if not self._is_seen:
            return ""
        if not self._has_written(patience):
            return self._problem
        self._problem = ""
        self._writing = threading.Thread(target=self._write, args=(record.to_document(),), daemon=True)
        self._writing.start()
        self._has_written(patience)
        return self._problem

    def _has_written(self, patience: float) -> bool:
        if self._writing is not None:
            self._writing.join(patience)
        is_over = self._writing is None or not self._writing.is_alive()
        if not is_over and patience:
            self._problem = f"{self.uri}: is not written after {patience:g} s"
        return is_over

    def _read(self) -> bytes | None:
        if self._path is None:
            return read_file(self._folder, FILE_NAME)
        return self._path.read_bytes() if self._path.is_file() else None

    def _write(self, document: Mapping[str, Any]) -> None:
        try:
            if self._path is None:
                write_file(self._folder, FILE_NAME, json.dumps(document).encode())
            else:
                write_json(self._path, document)
        except (ImageTuningError, OSError) as error:
            self._problem = str(error)
