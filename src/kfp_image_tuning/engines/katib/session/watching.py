"""Follows objects of a cluster from a thread of its own: a list, then every change, for as long as it takes.

A watch continues from where it was (resourceVersion). When the API server has forgotten that place (410), restarts, or
the connection breaks, objects are listed again: nothing is lost, and what went meanwhile is told as deleted.
"""

import contextlib
import json
import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from kfp_image_tuning.core.backoff import pauses
from kfp_image_tuning.engines.katib.session.cluster import FIRST_PAUSE, LONGEST_PAUSE, Cluster

WATCH_SECONDS = 120
"""After so long the server ends a watch and the next one is opened; a connection that died unnoticed costs no more."""


@dataclass(frozen=True)
class Change:
    """One change.

    Attributes:
        plural: Kind of the object (``experiments``, ``trials``, ``pods``).
        object: The object as it is now; of a deleted one, as it was.
        deleted: Whether it is gone.
        problem: Why nothing can be seen at the moment; the object is empty then.
    """

    plural: str
    object: dict[str, Any]
    deleted: bool = False
    problem: str = ""


class Watcher:
    """Watches objects of one kind, by label.

    Args:
        cluster: Where.
        plural: Their kind.
        selector: Their labels.
        changes: Gets every change.
        known: Objects that were there before: what the first list lacks of them is told as deleted.
    """

    def __init__(
        self,
        cluster: Cluster,
        plural: str,
        selector: str,
        changes: "queue.Queue[Change]",
        known: Iterable[dict[str, Any]] = (),
    ) -> None:
        self._cluster = cluster
        self._plural = plural
        self._selector = selector
        self._changes = changes
        self._known = {item["metadata"]["uid"]: item for item in known}
        self._ended = threading.Event()
        self._stream: Any = None
        self._thread = threading.Thread(target=self._run, name=f"watch-{plural}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def end(self) -> None:
        """Watch no more."""
        self._ended.set()
        if self._stream is not None:
            # To close it would wait for the thread that reads it, and that one for the server.
            with contextlib.suppress(Exception):
                self._stream.shutdown()

    def _run(self) -> None:
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        waiting = pauses(FIRST_PAUSE, LONGEST_PAUSE)
        while not self._ended.is_set():
            try:
                version = self._list_anew()
                waiting = pauses(FIRST_PAUSE, LONGEST_PAUSE)
                while not self._ended.is_set():
                    version = self._watch(version)
            except _ExpiredError:
                continue
            except (ApiException, HTTPError, OSError, ValueError, AttributeError) as error:
                # AttributeError: urllib3's way to say that a stream was closed while it was being read.
                if self._ended.is_set():
                    return
                if isinstance(error, ApiException) and error.status == 410:
                    continue
                reason = f"{error.status} {error.reason}" if isinstance(error, ApiException) else type(error).__name__
                self._changes.put(Change(self._plural, {}, problem=reason))
                self._ended.wait(next(waiting))

    def _list_anew(self) -> str:
        items, version = self._cluster.snapshot(self._plural, self._selector)
        present = {item["metadata"]["uid"]: item for item in items}
        for uid, item in [*self._known.items()]:
            if uid not in present:
                self._tell(item, deleted=True)
        for uid, item in present.items():
            known = self._known.get(uid)
            if known is None or known["metadata"]["resourceVersion"] != item["metadata"]["resourceVersion"]:
                self._tell(item)
        return version

    def _watch(self, version: str) -> str:
        """Pass on changes until the server ends the watch; returns where to continue."""
        self._stream = self._cluster.open_watch(self._plural, self._selector, version, WATCH_SECONDS)
        for event in _read_events(self._stream):
            item = event["object"]
            if event["type"] == "ERROR":
                raise _ExpiredError if item.get("code") == 410 else OSError(str(item.get("message")))
            version = item["metadata"]["resourceVersion"]
            if event["type"] != "BOOKMARK":
                self._tell(item, deleted=event["type"] == "DELETED")
        return version

    def _tell(self, item: dict[str, Any], deleted: bool = False) -> None:
        if deleted:
            self._known.pop(item["metadata"]["uid"], None)
        else:
            self._known[item["metadata"]["uid"]] = item
        self._changes.put(Change(self._plural, item, deleted))


class _ExpiredError(Exception):
    """The server no longer has the changes since the version that was asked for."""


def _read_events(stream: Any) -> Iterator[dict[str, Any]]:
    """The JSON lines of a watch."""
    rest = b""
    for chunk in stream.stream(amt=None, decode_content=False):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield json.loads(line)
