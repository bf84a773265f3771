"""A pod's containers as processes of this machine: a stand-in for a kubelet's container runtime.

Like there, only a container's first process is told to end; when it is gone, whatever it has left running is killed. A
container that holds more memory than its limit is killed for lack of it.
"""

import contextlib
import datetime
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.emulators.katib_pods import expand

PAGE = os.sysconf("SC_PAGE_SIZE")
UNITS = {"": 1, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}
USUAL_GRACE = 30


class PodProcesses:
    """The containers of one pod, started at once.

    Args:
        pod: The pod.
        folder: For its files.
        images: Image to the folder that goes in front of PATH.
        volumes: Name of a volume to the folder that it is.
    """

    def __init__(
        self, pod: dict[str, Any], folder: Path, images: Mapping[str, Path], volumes: Mapping[str, Path]
    ) -> None:
        self._pod = pod
        self._folder = folder
        self._volumes = volumes
        self._images = images
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._ended: dict[str, dict[str, Any]] = {}
        self._started = now()
        self._began = time.monotonic()
        self._told = False
        self.failure = ""
        """Why the pod as a whole failed, in Kubernetes' word."""
        for container in pod["spec"]["containers"]:
            self._start(container)

    @property
    def is_running(self) -> bool:
        """Whether the trial itself, the first container, runs."""
        return next(iter(self._processes.values())).poll() is None

    @property
    def are_gone(self) -> bool:
        """Whether all processes are."""
        return all(process.poll() is not None for process in self._processes.values())

    def log_file(self, container: str) -> Path:
        """What a container wrote."""
        return self._folder / f"{container}.log"

    def look_after(self) -> None:
        """See what has ended, and end what has outgrown its limits."""
        deadline = self._pod["spec"].get("activeDeadlineSeconds")
        if deadline and time.monotonic() - self._began > deadline and not self.are_gone:
            self.failure = "DeadlineExceeded"
            self.kill()
        for container in self._pod["spec"]["containers"]:
            name = container["name"]
            process = self._processes[name]
            if name in self._ended:
                continue
            limit = ((container.get("resources") or {}).get("limits") or {}).get("memory")
            reason = ""
            if limit and process.poll() is None and _memory_of(process.pid) > _bytes(limit):
                send(process, signal.SIGKILL)
                process.wait()
                reason = "OOMKilled"
            status = process.poll()
            if status is not None:
                # What the first process has left behind goes with it.
                send(process, signal.SIGKILL)
                code = 128 - status if status < 0 else status
                ended = {"exitCode": code, "reason": reason or ("Error" if code else "Completed")}
                self._ended[name] = {**ended, "startedAt": self._started, "finishedAt": now()}

    def status(self) -> dict[str, Any]:
        """The pod's status now."""
        containers = self._pod["spec"]["containers"]
        running = [container["name"] for container in containers if container["name"] not in self._ended]
        failed = [ended for ended in self._ended.values() if ended["exitCode"]]
        phase = "Running" if running else "Failed" if failed or self.failure else "Succeeded"
        ready = "True" if len(running) == len(containers) else "False"
        states = [
            {
                "name": container["name"],
                "image": container["image"],
                "imageID": "",
                "ready": container["name"] in running,
                "restartCount": 0,
                "state": {"running": {"startedAt": self._started}}
                if container["name"] in running
                else {"terminated": self._ended[container["name"]]},
            }
            for container in containers
        ]
        conditions = [{"type": kind, "status": ready} for kind in ("Ready", "ContainersReady")]
        status = {"phase": phase, "startTime": self._started, "conditions": conditions, "containerStatuses": states}
        return status | ({"reason": self.failure} if self.failure and not running else {})

    def tell_to_end(self) -> None:
        """Begin to end all containers, with the time that the pod grants."""
        if not self._told:
            self._told = True
            for container in self._pod["spec"]["containers"]:
                threading.Thread(target=self._end, args=(container,), daemon=True).start()

    def kill(self) -> None:
        """End everything at once."""
        for process in self._processes.values():
            send(process, signal.SIGKILL)
            process.wait()

    def _end(self, container: dict[str, Any]) -> None:
        process = self._processes[container["name"]]
        deadline = time.monotonic() + self._pod["spec"].get("terminationGracePeriodSeconds", USUAL_GRACE)
        if process.poll() is None:
            process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=max(0.1, deadline - time.monotonic()))
        send(process, signal.SIGKILL)

    def _start(self, container: dict[str, Any]) -> None:
        mounts = self._mounts(container)
        words = [_localize(expand(word), mounts) for word in (*container["command"], *container.get("args", ()))]
        with self.log_file(container["name"]).open("wb") as log:
            self._processes[container["name"]] = subprocess.Popen(
                words,
                env=self._environment(container),
                cwd=self._folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _environment(self, container: dict[str, Any]) -> dict[str, str]:
        mounts = self._mounts(container)
        environment = {entry["name"]: _localize(entry.get("value", ""), mounts) for entry in container.get("env", ())}
        return environment | {"PATH": f"{self._images[container['image']]}:{os.environ['PATH']}"}

    def _mounts(self, container: dict[str, Any]) -> dict[str, Path]:
        """Place in the container to the folder that is there."""
        mounts = {
            mount["mountPath"]: self._volumes[mount["name"]] / mount.get("subPath", "")
            for mount in container.get("volumeMounts", ())
            if mount["name"] in self._volumes
        }
        for folder in mounts.values():
            folder.mkdir(parents=True, exist_ok=True)
        return mounts


def _localize(text: str, mounts: Mapping[str, Path]) -> str:
    """A command or a variable with this machine's folders in place of the container's."""
    if not mounts:
        return text
    # Whole folder names only, and not inside of a longer path.
    places = "|".join(re.escape(place) for place in sorted(mounts, key=len, reverse=True))
    return re.sub(rf"(?<![\w/.-])({places})(?![\w-])", lambda found: str(mounts[found[1]]), text)


def now() -> str:
    """The time in Kubernetes' form."""
    return datetime.datetime.now(datetime.UTC).isoformat().replace("+00:00", "Z")


def send(process: subprocess.Popen[bytes], number: int) -> None:
    """Signal a process and all that it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _memory_of(group: int) -> int:
    """Bytes that the processes of a group hold."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.getpgid(int(folder.name)) == group:
                total += int((folder / "statm").read_text().split()[1]) * PAGE
    return total


def _bytes(amount: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(\w*)", amount).groups()  # type: ignore[union-attr]
    return int(number) * UNITS[unit]
