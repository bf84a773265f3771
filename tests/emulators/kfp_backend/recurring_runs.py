"""Recurring runs by interval: what KFP's controller for scheduled workflows does with them.

From reading: the first run comes one interval after the creation; at most ``max_concurrency`` runs at a time; runs are
named after the recurring run and numbered. Cron expressions are checked for their six fields, and not followed.
"""

import datetime
import threading
import uuid
from collections.abc import Callable
from typing import Any

Document = dict[str, Any]
INTERVAL = 0.2
"""Seconds between two looks at what is due."""


class RecurringRuns:
    """All of them, looked after in a thread until `close`.

    Args:
        create_run: Creates a run of a document; knows the recurring run as ``recurring``.
        is_running: Whether a run has not ended.
    """

    def __init__(self, create_run: Callable[..., Document], is_running: Callable[[str], bool]) -> None:
        self._create_run, self._is_running = create_run, is_running
        self.documents: dict[str, Document] = {}
        """Identity to what the API shows."""
        self._due: dict[str, datetime.datetime] = {}
        self._made: dict[str, list[str]] = {}
        self._ended = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def create(self, given: Document) -> Document:
        """Take one up.

        Raises:
            ValueError: If its trigger is none.
        """
        trigger = given.get("trigger") or {}
        interval = int((trigger.get("periodic_schedule") or {}).get("interval_second") or 0)
        cron = (trigger.get("cron_schedule") or {}).get("cron", "")
        if interval <= 0 and len(cron.split()) != 6:
            raise ValueError(f"Schedule cron is not supported: expected 6 fields, found {len(cron.split())}: {cron}")
        identity = str(uuid.uuid4())
        now = datetime.datetime.now(datetime.UTC)
        status = "ENABLED" if given.get("mode") == "ENABLE" else "DISABLED"
        kept = {"recurring_run_id": identity, "created_at": now.strftime("%Y-%m-%dT%H:%M:%SZ"), "status": status}
        self.documents[identity] = {**given, **kept}
        if interval > 0:
            self._due[identity] = now + datetime.timedelta(seconds=interval)
        return self.documents[identity]

    def switch(self, identity: str, mode: str) -> None:
        """Enable or disable one."""
        self.documents[identity] |= {"mode": mode.upper(), "status": f"{mode.upper()}D"}

    def close(self) -> None:
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.wait(INTERVAL):
            for identity, due in list(self._due.items()):
                document = self.documents.get(identity)
                now = datetime.datetime.now(datetime.UTC)
                if document is None:
                    del self._due[identity]
                elif now >= due and document["status"] == "ENABLED" and self._has_room(identity, document):
                    self._start(identity, document)
                    seconds = int(document["trigger"]["periodic_schedule"]["interval_second"])
                    self._due[identity] = now + datetime.timedelta(seconds=seconds)

    def _has_room(self, identity: str, document: Document) -> bool:
        running = sum(self._is_running(run) for run in self._made.get(identity, ()))
        return running < int(document.get("max_concurrency") or 1)

    def _start(self, identity: str, document: Document) -> None:
        made = self._made.setdefault(identity, [])
        name = f"{document['display_name']}-{len(made) + 1}-{uuid.uuid4().int % 10**10}"
        run = self._create_run({**document, "display_name": name}, recurring=identity)
        made.append(str(run["run_id"]))
