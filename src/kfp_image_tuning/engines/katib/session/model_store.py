"""Where trials leave their models, as this process sees it: an object store, a mounted volume, or not at all."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kfp_image_tuning.core.errors import EngineError
from kfp_image_tuning.core.json_files import write_json
from kfp_image_tuning.engines.katib.request.locations import Location, open_from_here
from kfp_image_tuning.engines.katib.request.options import KatibOptions

MODEL_FILES = ("model.json", "model.safetensors")


class ModelStore:
    """The models of a search.

    Args:
        options: Where each trial leaves its own, and how that store is reached.
        mount: Where this process sees that folder, if it is on a volume; None: it does not.
    """

    def __init__(self, options: KatibOptions, mount: Path | None) -> None:
        self._options = options
        self._models = Location.parse("output_uri", options.output_uri)
        self._mount = mount

    @property
    def is_seen(self) -> bool:
        """Whether this process can look into it."""
        return not self._models.is_volume or self._mount is not None

    def holds(self, uri: str) -> bool:
        """Whether a whole model is there; True where that cannot be seen.

        Raises:
            StoreError: If the object store does not answer.
        """
        if not self.is_seen:
            return True
        if self._models.is_volume:
            return not self._missing(uri)
        return open_from_here(uri, self._options).holds(MODEL_FILES)

    def fetch(self, uri: str, folder: Path) -> None:
        """Copy a model into a folder; nothing happens where it cannot be seen.

        Raises:
            EngineError: If it is not on the volume.
            StoreError: If it is not in the store.
        """
        if not self.is_seen:
            return
        folder.mkdir(parents=True, exist_ok=True)
        if not self._models.is_volume:
            open_from_here(uri, self._options).download(MODEL_FILES, folder)
            return
        if missing := self._missing(uri):
            raise EngineError(f"{self._place(uri)}: the best trial's model is not there ({', '.join(missing)} missing)")
        for name in MODEL_FILES:
            shutil.copyfile(self._place(uri) / name, folder / name)

    def read(self, uri: str, name: str) -> bytes | None:
        """A small file beside the models, or None if it is not there or cannot be seen.

        Raises:
            StoreError: If the object store does not answer.
        """
        if not self.is_seen:
            return None
        if not self._models.is_volume:
            return open_from_here(uri, self._options).read(name)
        path = self._place(uri) / name
        return path.read_bytes() if path.is_file() else None

    def write(self, uri: str, name: str, document: Mapping[str, Any]) -> None:
        """Write a document beside the models; nothing happens where they cannot be seen.

        Raises:
            StoreError: If the object store does not take it.
            OSError: If the volume does not.
        """
        if not self.is_seen:
            return
        if self._models.is_volume:
            write_json(self._place(uri) / name, document)
        else:
            open_from_here(uri, self._options).write(name, json.dumps(document).encode())

    def _missing(self, uri: str) -> list[str]:
        return [name for name in MODEL_FILES if not (self._place(uri) / name).is_file()]

    def _place(self, uri: str) -> Path:
        assert self._mount is not None
        return self._mount / uri.removeprefix(self._models.uri).strip("/")
