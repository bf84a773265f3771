"""What a local search has reached, in the store of the run's artifacts.

A retried run, or the pod that Kubeflow makes after it lost one, continues with it.

A thread looks at the search's folder. After each finished trial, and between them as often as it takes no more than a
twentieth of the time, it uploads what is new: models of finished trials, checkpoints of running ones, and then, in one
object, the journal with a list of these files. A process may be killed at any moment: what is listed is whole.
"""

import contextlib
import hashlib
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kfp_image_tuning.core.errors import StoreError
from kfp_image_tuning.core.json_files import sha256_of
from kfp_image_tuning.core.object_store import StorePlace, is_remote, open_place, without_credentials
from kfp_image_tuning.core.store_address import find_address
from kfp_image_tuning.engines.local.journal import JOURNAL_NAME, read_records
from kfp_image_tuning.engines.local.trial_records import describe_records
from kfp_image_tuning.engines.naming import DIGEST_LENGTH
from kfp_image_tuning.search.search import Search

SCHEMA_VERSION = 1
FOLDER_NAME = "search-state"
"""Beside the artifacts of the run."""
STATE_NAME = "state.json"
LOOK_SECONDS = 0.5
SHORTEST_PAUSE = 2.0
"""Seconds from one upload to the next within a trial, at least."""
SHARE_OF_TIME = 20
"""The pause after an upload, in times what it took."""
_FINISHED = ("completed", "early_stopped")
_DAMAGE = (LookupError, ValueError, TypeError, AttributeError)


def find_interim_place(
    artifact: str, artifact_store: str, run_id: str, search: Search, initial_model: str
) -> StorePlace | None:
    """Where a search of a Kubeflow run keeps what it has reached; None outside of such a run.

    Args:
        artifact: Address of an output artifact of the step: ``minio://bucket/…/RUN/TASK/…``.
        artifact_store: What Kubeflow says about the store (``store_session_info``); empty: nothing.
        run_id: Kubeflow's identity of the run; empty: none.
        search: The search; another one of the same run has a place of its own.
        initial_model: Model that every trial starts from; empty: none.

    Raises:
        StoreError: If nobody says where the store is, or how it is entered.
    """
    before, found, _ = artifact.partition(f"/{run_id}/")
    if not run_id or not found or not is_remote(artifact):
        return None
    name = sha256_of([search.to_dict(), without_credentials(initial_model)])[:DIGEST_LENGTH]
    address = find_address(artifact, session_info=artifact_store, artifact=artifact)
    return open_place(f"{before}/{run_id}/{FOLDER_NAME}/{name}", address=address)


class InterimResults:
    """Keeps the state of a search in a store, and brings it back. A store that fails never fails the search.

    Args:
        place: The folder in the store.
        directory: The search's own folder.
        show: Takes one line for the reader.
    """

    def __init__(self, place: StorePlace, directory: Path, show: Callable[[str], None]) -> None:
        self._place, self._directory, self._show = place, directory, show
        self._stored: dict[str, Mapping[str, Any]] = {}
        self._known: dict[Path, tuple[int, Mapping[str, Any]]] = {}
        self._journal = b""
        self._has_failed = False
        self._may_replace = True
        self._over = threading.Event()

    def restore(self) -> None:
        """Bring what an earlier process has reached into the search's folder, and say what it is."""
        try:
            content = self._place.read(STATE_NAME)
            if content is None:
                return
            journal, files = _read_state(content)
            self._download(files)
            said = describe_records(read_records(journal))
        except (StoreError, OSError, *_DAMAGE) as error:
            shutil.rmtree(self._directory / "trials", ignore_errors=True)
            self._may_replace = not isinstance(error, StoreError)
            self._show(
                f"Warning: what an earlier attempt has reached is not used; the search starts from scratch: {error}"
            )
            return
        self._stored = files
        for best in self._directory.glob("trials/*/checkpoint/*/best"):
            shutil.copytree(best, best.parents[2] / "model", dirs_exist_ok=True)
        self._directory.mkdir(parents=True, exist_ok=True)
        (self._directory / JOURNAL_NAME).write_bytes(journal)
        self._show(f"Found {said} of this run in {self._place.uri}; going on with that.")

    def _download(self, files: Mapping[str, Any]) -> None:
        """Fetch what the state lists.

        Raises:
            ValueError: If it is not there as it was stored.
            StoreError: If the store does not answer.
        """
        if not self._place.holds(list(files)):
            raise ValueError("files of it are gone")
        self._place.download(list(files), self._directory)
        for name, file in files.items():
            if describe_file(self._directory / name) != file:
                raise ValueError(f"{name} is not what was stored")

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Upload what is new as long as the context lasts, and once more at its end."""
        thread = threading.Thread(target=self._keep_looking, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()
            self._keep()

    def _keep_looking(self) -> None:
        next_time, kept, is_well = 0.0, 0, True
        while not self._over.wait(LOOK_SECONDS):
            journal = self._read_journal()
            news = journal[kept:]
            started = time.monotonic()
            is_urgent = is_well and b'"event": "finished"' in news
            if news and (is_urgent or started >= next_time):
                is_well = self._keep()
                kept = len(journal) if is_well else kept
                took = time.monotonic() - started
                next_time = started + took + max(SHORTEST_PAUSE, SHARE_OF_TIME * took)

    def _read_journal(self) -> bytes:
        try:
            content = (self._directory / JOURNAL_NAME).read_bytes()
        except OSError:
            return b""
        return content[: content.rfind(b"\n") + 1]

    def _keep(self) -> bool:
        """Upload what is new; whether that worked."""
        try:
            self._upload(self._read_journal())
        except FileNotFoundError:
            # The search continues meanwhile: what was just replaced is seen next time.
            return False
        except Exception as error:
            if not self._has_failed:
                self._show(
                    "Warning: what this search reaches cannot be kept for a retry of the run; the search continues, "
                    f"and tries again: {error}"
                )
            self._has_failed = True
            return False
        return True

    def _upload(self, journal: bytes) -> None:
        """Files first, then their list with the journal, then away with what is no longer listed."""
        if not self._may_replace:
            # What could not be read at the start may be more than what this attempt has.
            if self._place.read(STATE_NAME) is not None:
                raise StoreError(f"{self._place.uri}: what an earlier attempt has reached stays there")
            self._may_replace = True
        files = {}
        for path in self._wanted_files(journal):
            name = path.relative_to(self._directory).as_posix()
            files[name] = self._describe(path)
            if self._stored.get(name) != files[name]:
                self._upload_file(path, name)
        if journal == self._journal:
            return
        state = {"schema_version": SCHEMA_VERSION, "journal": journal.decode(), "files": files}
        self._place.write(STATE_NAME, json.dumps(state).encode())
        self._journal = journal
        gone = [name for name in self._stored if name not in files]
        self._stored = files
        if gone:
            # What nobody may delete stays.
            with contextlib.suppress(StoreError):
                self._place.remove(gone)

    def _upload_file(self, path: Path, name: str) -> None:
        try:
            self._place.upload(self._directory, [name])
        except StoreError:
            if not path.exists():
                raise FileNotFoundError(name) from None
            raise
        self._stored[name] = self._describe(path)

    def _wanted_files(self, journal: bytes) -> list[Path]:
        """Models of finished trials, as far as the search keeps them, and checkpoints of the others."""
        ended = {record.trial.name for record in read_records(journal) if record.trial.status in _FINISHED}
        paths: list[Path] = []
        for trial in sorted(self._directory.glob("trials/*")):
            folders = [trial / "model"] if trial.name in ended else sorted(trial.glob("checkpoint/epoch-*"))
            paths += [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
        return paths

    def _describe(self, path: Path) -> Mapping[str, Any]:
        """As `describe_file`, of a file that has not changed from memory."""
        changed = path.stat().st_mtime_ns
        known = self._known.get(path)
        if known is None or known[0] != changed:
            self._known[path] = known = (changed, describe_file(path))
        return known[1]


def _read_state(content: bytes) -> tuple[bytes, dict[str, Any]]:
    """Journal and files of a state.

    Raises:
        ValueError: If it is of another release (or one of the errors of `_DAMAGE`).
    """
    state = json.loads(content)
    journal, files = str(state["journal"]).encode(), dict(state["files"])
    if state["schema_version"] != SCHEMA_VERSION:
        raise ValueError(f"its schema_version is {state['schema_version']!r}, this release reads {SCHEMA_VERSION}")
    if any(Path(name).is_absolute() or ".." in Path(name).parts for name in files):
        raise ValueError("it names files elsewhere")
    return journal, files


def describe_file(path: Path) -> dict[str, Any]:
    """Its size in bytes and its checksum."""
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
