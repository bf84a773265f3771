"""The folder of a run: what is where, who works in it, and the description that a resumed run reads.

DIR/
  dataset/          the prepared data set
  result.json       every trial of the search
  model/            the best model
  evaluation.json   the model on images that no trial saw
  report.html       all of it on one page
  run.json          identity and options of the run, for --resume
  work/             the search's own state, for --resume
"""

import fcntl
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from kfp_image_tuning.core.console import say
from kfp_image_tuning.core.document_schema import find_violations
from kfp_image_tuning.core.errors import DocumentError, ImageTuningError
from kfp_image_tuning.core.json_files import read_json, write_json

SCHEMA_VERSION = 1
PATIENCE_SECONDS = 30.0
"""How long a resumed run waits for one that was just killed to let go."""

_RESULTS: Mapping[str, str] = {
    "tuning_result": "result.json",
    "best_model": "model",
    "evaluation": "evaluation.json",
    "report": "report.html",
}
"""Where the pipeline's artifacts go; the data set is prepared in its place."""


class RunDirectoryError(ImageTuningError):
    """A folder that a run cannot be started or resumed in."""

    code = "run-directory"
    way_out = "Give another folder, or `--resume` to continue with the run that is in it."


class RunDirectory:
    """One run's folder.

    Args:
        path: The folder; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.dataset = self.path / "dataset"
        self.result = self.path / "result.json"
        self.evaluation = self.path / "evaluation.json"
        self.report = self.path / "report.html"
        self.model = self.path / "model"
        self.work = self.path / "work"
        self.pipeline_root = self.work / "pipeline"
        self._description = self.path / "run.json"

    def refuse_if_used(self) -> None:
        """Refuse a folder that holds anything.

        Raises:
            RunDirectoryError: If it does, or is not a folder.
        """
        if self.path.exists() and not self.path.is_dir():
            raise RunDirectoryError(f"{self.path}: is a file; give a new folder as output")
        if self.path.exists() and any(self.path.iterdir()):
            way_out = (
                "give --resume to continue with the run in it, or another folder"
                if self.is_run
                else "give a new folder"
            )
            raise RunDirectoryError(f"{self.path}: is not empty; {way_out}")

    @property
    def is_run(self) -> bool:
        """Whether a run was started here."""
        return self._description.is_file()

    def save_options(self, options: Mapping[str, Any]) -> None:
        """Write down the options of the run, and at first its identity."""
        document = {"schema_version": SCHEMA_VERSION, "run": self.identity, "options": dict(options)}
        write_json(self._description, document)

    @cached_property
    def identity(self) -> str:
        """What tells this run from all others, also after a restart: an engine elsewhere finds its own search by it.

        Raises:
            DocumentError: If the run's description is damaged or of an unknown version.
        """
        return str(self._load()["run"]) if self.is_run else uuid.uuid4().hex

    def load_options(self) -> dict[str, Any]:
        """The options of the run that was started here.

        Raises:
            RunDirectoryError: If there is none.
            DocumentError: If its description is damaged or of an unknown version.
        """
        options: dict[str, Any] = self._load()["options"]
        return options

    def _load(self) -> dict[str, Any]:
        if not self.is_run:
            raise RunDirectoryError(f"{self.path}: holds no run to continue with; start one without --resume")
        document = read_json(self._description)
        version = document.get("schema_version")
        if version != SCHEMA_VERSION:
            raise DocumentError(
                f"{self._description}: schema_version is {version!r}, this release reads {SCHEMA_VERSION}; "
                "use the release that started the run"
            )
        schema = json.loads((Path(__file__).parent / "run.schema.json").read_text(encoding="utf-8"))
        if violations := find_violations(document, schema):
            raise DocumentError(
                f"{self._description}: is not a description of a run ({'; '.join(violations)}); start a new one in "
                "another folder"
            )
        return document

    def lock(self) -> int:
        """Make sure that no other run works here; waits a while for one that is about to end.

        Returns:
            A file descriptor: the folder is locked as long as any process has it open.

        Raises:
            RunDirectoryError: If another run continues working here.
        """
        self.work.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.work / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        deadline = time.monotonic() + PATIENCE_SECONDS
        told = False
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return descriptor
            except BlockingIOError:
                if time.monotonic() > deadline:
                    os.close(descriptor)
                    raise RunDirectoryError(
                        f"{self.path}: another run is at work here; wait for it, stop it, or give another folder"
                    ) from None
            if not told:
                say(f"Waiting for the earlier run in {self.path} to end.")
                told = True
            time.sleep(0.2)

    def clear_pipeline(self) -> None:
        """Remove what the last execution of the pipeline left; the search's state stays."""
        shutil.rmtree(self.pipeline_root, ignore_errors=True)

    def forget_if_empty(self) -> None:
        """Leave nothing of a run that came to nothing, so that the next one need not be told to continue with it."""
        if self.dataset.exists() or self.result.exists():
            return
        shutil.rmtree(self.work, ignore_errors=True)
        self._description.unlink(missing_ok=True)
        if not any(self.path.iterdir()):
            self.path.rmdir()

    def collect(self, artifacts: Mapping[str, str]) -> None:
        """Move the pipeline's results to their places.

        Args:
            artifacts: Path by name of the pipeline's output.
        """
        for name, place in _RESULTS.items():
            if name in artifacts:
                _move(Path(artifacts[name]), self.path / place)
        self.clear_pipeline()

    def collect_partial_result(self) -> None:
        """Move what a search wrote before it was stopped."""
        for path in sorted(self.pipeline_root.glob("*/*/tuning_result")):
            if path.is_file():
                _move(path, self.result)
        self.clear_pipeline()

    def with_places_kept(self, message: str) -> str:
        """A message of a step with the places at which its results are now."""
        return re.sub(
            rf"{re.escape(str(self.pipeline_root))}/\S*/({'|'.join(_RESULTS)})\b",
            lambda found: str(self.path / _RESULTS[found[1]]),
            message,
        )


def _move(source: Path, target: Path) -> None:
    """Rename within the folder, so that nothing is on the disk twice."""
    if target.is_dir():
        shutil.rmtree(target)
    os.replace(source, target)


def path_for_reader(path: Path) -> str:
    """A path as it can be typed from the current folder."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
