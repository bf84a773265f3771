"""How our trainer comes into a public image: a ConfigMap with an archive of its code, mounted into the trial pods.

The archive is of the same form as the one that compiled pipelines carry; `code_collection` makes it.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from kfp_image_tuning.katib.names import labels_of
from kfp_image_tuning.tuning.errors import EngineError

MOUNT_PATH = "/kfp-image-tuning"
ARCHIVE_NAME = "code.txt"
UNPACKER_NAME = "unpack.py"
START_NAME = "start.py"
# Not written as one name in quotes: whatever holds that is taken to need the module, and with it the whole trainer.
ENTRY_MODULE = f"{__package__}.trial"
"""What runs in the pod; an archive holds it and all that it imports."""

LARGEST_CONFIG_MAP = 1 << 20
"""Kubernetes' limit for the data of a ConfigMap."""

TRIAL_PACKAGES = ("safetensors>=0.5", "simplejpeg>=1.8", "opencv-python-headless>=4.10", "obstore>=0.8")
"""What the trainer needs and a PyTorch image lacks; NumPy and Pillow are there."""


@dataclass(frozen=True)
class TrialCode:
    """The code that trials run.

    Attributes:
        archive: Text, as `unpacker` reads it from standard input.
        unpacker: Source of a program of the standard library alone, which takes the target folder as its argument.
        start: Source of the program that a pod starts with.
    """

    archive: str
    unpacker: str
    start: str

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a file."""
        Path(path).write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what `save` wrote.

        Raises:
            EngineError: If it is something else.
        """
        try:
            document = json.loads(Path(path).read_bytes())
            parts = {name: document[name] for name in ("archive", "unpacker", "start")}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EngineError(
                f"{os.fspath(path)}: is no code of a trial ({error!r}); give the output of the component trial_code"
            ) from None
        return cls(**{name: str(text) for name, text in parts.items()})

    def to_config_map(self, name: str, digest: str) -> dict[str, Any]:
        """The ConfigMap.

        Args:
            name: Its name.
            digest: Of the run.

        Raises:
            EngineError: If it would be too large.
        """
        data = {ARCHIVE_NAME: self.archive, UNPACKER_NAME: self.unpacker, START_NAME: self.start}
        size = sum(len(text.encode()) for text in data.values())
        if size >= LARGEST_CONFIG_MAP:
            raise EngineError(
                f"the trainer's code has {size:,} bytes, a ConfigMap holds less than {LARGEST_CONFIG_MAP:,}; "
                "use an image of your own (image)"
            )
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "labels": labels_of(digest)},
            "data": data,
        }
