"""A stand-in for Katib's metrics collector, the second container of every trial's pod; the standard library alone.

It repeats the trial's lines with klog's mark in front, ends a trial whose objective breaks a stop rule (by SIGTERM to
the only child of the pod's first process, after leaving the mark ``early-stopped``), and fails unless the trial leaves
a mark of its end. Katib's own then sends the metrics to its database; the stand-in's are read from its log.
"""

import argparse
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

EARLY_STOPPED = "early-stopped"
POLL = 0.05
PATIENCE = 10.0
MOST_LOOKS = 5


class StopRule:
    """``NAME;VALUE;less|greater|equal;START_STEP``: judged once, when the metric is reported the START_STEPth time."""

    def __init__(self, text: str, maximizes: bool) -> None:
        self.name, value, self._comparison, start_step = text.split(";")
        self._value, self._left = float(value), int(start_step)
        self._better = max if maximizes else min
        self._best: float | None = None

    def is_broken_by(self, value: float) -> bool:
        """Take one more value; the best one so far counts."""
        self._best = value if self._best is None else self._better(self._best, value)
        self._left -= 1
        if self._left != 0:
            return False
        compared = {
            "less": self._best < self._value,
            "greater": self._best > self._value,
            "equal": self._best == self._value,
        }
        return compared[self._comparison]


def main() -> int:
    """Follow the trial to its end; return the exit status."""
    parser = argparse.ArgumentParser()
    for option in ("-t", "-m", "-o-type", "-path", "-f"):
        parser.add_argument(option, required=True)
    parser.add_argument("-stop-rule", action="append", default=[])
    given = vars(parser.parse_args())
    path = Path(given["path"])
    rules = [StopRule(text, given["o_type"] == "maximize") for text in given["stop_rule"]]
    trial = find_trial(path)
    filters = [re.compile(pattern) for pattern in given["f"].split(";")]
    stopped = False
    for line in follow(path, trial):
        say(line)
        for rule in [*rules]:
            for name, value in metrics_in(line, filters):
                if name == rule.name and rule.is_broken_by(value):
                    rules.remove(rule)
        if given["stop_rule"] and not rules and not stopped:
            stopped = True
            stop_early(path, trial)
    mark = path.parent / f"{trial}.pid"
    words = mark.read_text().split() if mark.is_file() else []
    if words[:1] in ([EARLY_STOPPED], ["completed"]):
        return 0
    say("Failed to wait for worker container: training container is failed", level="F")
    return 255


def find_trial(path: Path) -> int:
    """The first process of the trial's container: the shell that redirects into the metrics file."""
    deadline = time.monotonic() + PATIENCE
    looks = 0
    while time.monotonic() < deadline and looks < MOST_LOOKS:
        # Of a trial that has begun and is not there any more, only the mark can tell.
        looks += path.is_file()
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            if words[1:2] == ["-c"] and f"1>{path}" in words[2]:
                return int(folder.name)
        for mark in path.parent.glob("*.pid"):
            return int(mark.stem)
        time.sleep(POLL)
    return 0


def follow(path: Path, trial: int) -> Iterator[str]:
    """The lines of the metrics file, until the trial is gone."""
    read = 0
    while True:
        gone = not Path(f"/proc/{trial}").exists()
        text = path.read_bytes()[read:] if path.is_file() else b""
        end = len(text) if gone else text.rfind(b"\n") + 1
        read += end
        yield from text[:end].decode(errors="replace").splitlines()
        if gone:
            return
        time.sleep(POLL)


def metrics_in(line: str, filters: list[re.Pattern[str]]) -> Iterator[tuple[str, float]]:
    """Names and values of a line."""
    for pattern in filters:
        for found in pattern.finditer(line):
            yield found[1].strip(), float(found[2])


def stop_early(path: Path, trial: int) -> None:
    """End the trial, and leave word of it for the shell that waits for it."""
    say("Training container is early stopped")
    (path.parent / f"{trial}.pid").write_text(EARLY_STOPPED)
    children = Path(f"/proc/{trial}/task/{trial}/children").read_text().split()
    if len(children) != 1:
        say(f"Multiple children processes are not supported. Children processes: {children}", level="F")
        sys.exit(255)
    os.kill(int(children[0]), signal.SIGTERM)


def say(line: str, level: str = "I") -> None:
    """Write a line as klog does."""
    print(f"{level}{time.strftime('%m%d %H:%M:%S')}.000000      14 main.go:139] {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
