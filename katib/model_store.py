"""Where trials leave their models, as this process sees it: an object store, a mounted volume, or not at all."""

import shutil
from pathlib import Path

from kfp_image_tuning.katib.locations import Location
from kfp_image_tuning.katib.object_store import download_folder, holds_files
from kfp_image_tuning.tuning.errors import EngineError

MODEL_FILES = ("model.json", "model.safetensors")


class ModelStore:
    """The models of a search.

    Args:
        models: The folder under which each trial leaves its own.
        mount: Where this process sees that folder, if it is on a volume; None: it does not.
    """

    def __init__(self, models: Location, mount: Path | None) -> None:
        self._models = models
        self._mount = mount

    @property
    def is_seen(self) -> bool:
        """Whether this process can look into it."""
        return not self._models.is_volume or self._mount is not None

    def holds(self, uri: str) -> bool:
        """Whether a whole model lies there; True where that cannot be seen.

        Raises:
            EngineError: If the object store does not answer.
        """
        if not self.is_seen:
            return True
        if self._models.is_volume:
            return not self._missing(uri)
        return holds_files(uri, MODEL_FILES)

    def fetch(self, uri: str, folder: Path) -> None:
        """Copy a model into a folder; nothing happens where it cannot be seen.

        Raises:
            EngineError: If it is not there.
        """
        if not self.is_seen:
            return
        folder.mkdir(parents=True, exist_ok=True)
        if not self._models.is_volume:
            download_folder(uri, folder, MODEL_FILES)
            return
        if missing := self._missing(uri):
            raise EngineError(f"{self._place(uri)}: the best trial's model is not there ({', '.join(missing)} missing)")
        for name in MODEL_FILES:
            shutil.copyfile(self._place(uri) / name, folder / name)

    def _missing(self, uri: str) -> list[str]:
        return [name for name in MODEL_FILES if not (self._place(uri) / name).is_file()]

    def _place(self, uri: str) -> Path:
        assert self._mount is not None
        return self._mount / uri.removeprefix(self._models.uri).strip("/")
