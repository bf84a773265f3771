"""A step's container as Kubeflow ends it: process group signalled, KFP's launcher dead at once, everything gone soon.

    unshare (the container's processes) ── PID 1, as Argo's emissary ── KFP's launcher ── the step

The emissary signals the group of KFP's launcher, which has no handler and reads the step's output. Some time later
PID 1 ends, and the kernel kills whatever is left in the container, processes in sessions of their own included.
"""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
DEATHS = (0.5, 0.9, 2.0)
"""Seconds from a step's signal to the death of all that is in its pod; 1 to 2 were seen on a cluster."""
SOON = 1.5
"""Seconds within which what a signal makes a step send has arrived; it takes 0.02 where nothing else runs.

In a container that is gone sooner, which sends nothing afterwards, the time that it has is the limit."""
_EMISSARY = """
import os, signal, subprocess, sys, time
step = subprocess.Popen([sys.executable, "-c", sys.argv[1], *sys.argv[2:]], stdin=subprocess.DEVNULL, process_group=0)
delay = float(sys.stdin.readline())
os.killpg(step.pid, signal.SIGTERM)
time.sleep(delay)
os._exit(0)
"""
_LAUNCHER = """
import subprocess, sys
step = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
for line in step.stdout:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()
sys.exit(1 if step.wait() else 0)
"""


class PodProcesses:
    """The processes of one container.

    Args:
        command: The step's own.
        environment: In addition to this process's; a name with an empty value is left out.
        log: Gets what the step writes, as long as somebody reads it.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        apart = ["unshare", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [*apart, "--pid", "--fork", "--kill-child", sys.executable, "-c", _EMISSARY, _LAUNCHER, *command],
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=file,
                cwd=ROOT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
            )

    def terminate(self, seconds: float) -> float:
        """End the container so many seconds after its signal; returns when the signal was asked for (monotonic)."""
        assert self._process.stdin is not None
        asked = time.monotonic()
        self._process.stdin.write(f"{seconds}\n".encode())
        self._process.stdin.flush()
        return asked

    def wait(self) -> None:
        """Wait until nothing is left of it."""
        self._process.wait(60)

    def close(self) -> None:
        """End it at once, whatever it does."""
        self._process.kill()
        self._process.wait()
