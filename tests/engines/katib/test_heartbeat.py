"""Signs of life: a trial whose launcher is gone for good ends itself, and no other does."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from kfp_image_tuning.core.errors import StoreError
from kfp_image_tuning.engines.katib.pod.orphan_watch import FILE_NAME, OrphanWatch
from kfp_image_tuning.engines.katib.session.heartbeat import Heartbeat
from kfp_image_tuning.engines.katib.session.model_store import ModelStore
from tests.engines.katib.searches import make_options

MINUTE = 60.0
TIMEOUT = 30 * MINUTE


def beat(written_at: float, is_over: bool = False) -> bytes:
    return json.dumps({"written_at": written_at, "is_over": is_over}).encode()


CASES: list[tuple[str, Any, float | None]] = [
    # What is read at each minute; when the trial ends.
    ("launcher lives", lambda minute: beat(minute * MINUTE), None),
    ("clocks that differ by an hour do not matter", lambda minute: beat(minute * MINUTE - 3600), None),
    ("launcher is gone after ten minutes", lambda minute: beat(min(minute, 10) * MINUTE), 41),
    ("launcher comes back after twenty", lambda minute: beat((minute if not 10 < minute < 30 else 10) * MINUTE), None),
    ("trial starts when it is gone for hours", lambda minute: beat(-10_000), 4),
    ("trial starts when it is gone for minutes", lambda minute: beat(-600), 31),
    ("search is over and kept", lambda minute: beat(-10_000, is_over=True), None),
    ("there never was a launcher", lambda minute: None, None),
    ("something else is there", lambda minute: b"[]", None),
    ("store does not answer", lambda minute: StoreError("is away"), None),
    ("store answers again", lambda minute: StoreError("is away") if minute < 50 else beat(0), 54),
]


@pytest.mark.parametrize(("content", "ends_at"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_trial_ends_when_its_launcher_is_gone(content: Any, ends_at: float | None) -> None:
    minute = 0

    def read() -> bytes | None:
        found = content(minute)
        if isinstance(found, Exception):
            raise found
        return found  # type: ignore[no-any-return]

    watch = OrphanWatch(read, TIMEOUT, lambda _: None)
    ended = None
    for minute in range(120):  # read by the function above
        if watch.silence(1e6 + minute * MINUTE, minute * MINUTE):
            ended = minute
            break
    assert ended == ends_at


def test_a_launcher_gives_signs_until_it_ends(tmp_path: Path) -> None:
    folder = "pvc://models/search"
    heartbeat = Heartbeat(ModelStore(make_options(), tmp_path), folder, orphan_timeout_seconds=1.0)
    heartbeat.start()
    file = tmp_path / "search" / FILE_NAME
    first = file.read_bytes()
    deadline = time.monotonic() + 60
    while file.read_bytes() == first:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert heartbeat.take_problem() == ""
    heartbeat.end(is_over=True)
    assert json.loads(file.read_bytes())["is_over"]


def test_a_sign_that_cannot_be_written_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "search").write_text("in the way")
    heartbeat = Heartbeat(ModelStore(make_options(), tmp_path), "pvc://models/search", orphan_timeout_seconds=1.0)
    heartbeat.start()
    assert "sign of life cannot be written" in heartbeat.take_problem()
    time.sleep(0.3)
    assert heartbeat.take_problem() == ""
    heartbeat.end()


def test_signs_are_not_given_where_nobody_looks(tmp_path: Path) -> None:
    for mount, seconds in ((tmp_path, 0.0), (None, 60.0)):
        heartbeat = Heartbeat(ModelStore(make_options(), mount), "pvc://models/search", seconds)
        heartbeat.start()
        heartbeat.end(is_over=True)
    assert not list(tmp_path.iterdir())
