"""The file in which a search's record is, beside the models that its trials left."""

import json
import threading
from collections.abc import Mapping
from typing import Any

from kfp_image_tuning.core.errors import DocumentError, ImageTuningError
from kfp_image_tuning.core.wording import duration
from kfp_image_tuning.engines.katib.session.model_store import ModelStore
from kfp_image_tuning.engines.katib.session.search_record import SearchRecord

FILE_NAME = "search.json"


class RecordFile:
    """Where a search's record is.

    Args:
        store: Of the models; where it cannot be seen, nothing is kept.
        folder: The search's folder there, a URI.
        fingerprint: What it searches; a record of another search is none.
    """

    def __init__(self, store: ModelStore, folder: str, fingerprint: str) -> None:
        self.uri = f"{folder}/{FILE_NAME}"
        self._store = store
        self._folder = folder
        self._fingerprint = fingerprint
        self._writing: threading.Thread | None = None
        self._problem = ""

    @property
    def empty(self) -> SearchRecord:
        """A record without an Experiment."""
        return SearchRecord(self._fingerprint)

    def read(self) -> SearchRecord:
        """The record; empty if there is none.

        Raises:
            EngineError: If the object store does not answer.
            DocumentError: If something else is there.
        """
        content = self._store.read(self._folder, FILE_NAME)
        if content is None:
            return self.empty
        try:
            record = SearchRecord.from_dict(json.loads(content))
        except (ValueError, DocumentError) as error:
            raise DocumentError(f"{self.uri}: {error}; remove it to search again") from None
        return record if record.fingerprint == self._fingerprint else self.empty

    def write(self, record: SearchRecord, patience: float = 0.0) -> str:
        """Write the record, in a thread: a store that hangs must not keep a signal from being heard.

        Args:
            record: The record.
            patience: Seconds to wait for its end. Without, it is left out while an earlier one is on its way.

        Returns:
            What went wrong, as far as that is known by now; or nothing.
        """
        if not self._has_written(patience):
            return self._problem
        self._problem = ""
        self._writing = threading.Thread(target=self._write, args=(record.to_dict(),), daemon=True)
        self._writing.start()
        self._has_written(patience)
        return self._problem

    def _has_written(self, patience: float) -> bool:
        if self._writing is not None:
            self._writing.join(patience)
        is_over = self._writing is None or not self._writing.is_alive()
        if not is_over and patience:
            self._problem = f"{self.uri}: is not written after {duration(patience)}"
        return is_over

    def _write(self, document: Mapping[str, Any]) -> None:
        try:
            self._store.write(self._folder, FILE_NAME, document)
        except (ImageTuningError, OSError) as error:
            self._problem = str(error)
