"""One pod of a step: its processes on this machine, its log, its end.

Recorded: names, variables and processes of such a pod; what Terminate and a node drain do to it; that text in
``/dev/termination-log`` becomes part of the message of Argo's node.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.emulators.kfp_backend.platform import (
    USUAL_PATH,
    Namespace,
    NotStarted,
    PodDescription,
    environment_of,
    mounts_of,
)

Document = dict[str, Any]
HERE = Path(__file__).parent
ROOT = HERE.parents[2]
GRACE_SECONDS = 30.0
HOSTS = "127.0.0.1 localhost\n"


@dataclass(frozen=True)
class Image:
    """What an image gives: programs and variables.

    Attributes:
        bin_folder: Goes in front of PATH; its ``python3`` is the image's.
        environment: More variables.
    """

    bin_folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """How a pod ended.

    Attributes:
        code: 0 or 1, as Argo sees it; None: the pod is gone.
        message: Of Argo's node.
        output: What the launcher read, after a success.
    """

    code: int | None
    message: str = ""
    output: Document = field(default_factory=dict)


class Pod:
    """A pod that is started when it is made.

    Args:
        name: Its name.
        folder: For its files.
        description: What the driver decided.
        namespace: Where it runs.
        image: What it runs in.
        command: The step's own command, placeholders replaced.
        work: What the launcher is told (`launcher.py`), without command and environment.
        death_seconds: From the signal to the killing of all that is left.
        uid: Its identity, if the API server has given it one.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        description: PodDescription,
        namespace: Namespace,
        image: Image,
        command: Sequence[str],
        work: Document,
        death_seconds: float,
        uid: str = "",
    ) -> None:
        self.name = name
        self.uid = uid or str(uuid.uuid4())
        self.death_seconds = death_seconds
        self._folder = folder
        self._description = description
        self._namespace = namespace
        self._image = image
        self._command = list(command)
        self._work = work
        self._process: subprocess.Popen[bytes] | None = None
        self._gone = threading.Event()
        self.waits_for = ""
        """Why the pod is not started, as ``kubectl describe`` has it."""
        folder.mkdir(parents=True)

    @property
    def log_file(self) -> Path:
        return self._folder / "log"

    @property
    def termination_log(self) -> Path:
        return self._folder / "termination-log"

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def run(self) -> Outcome:
        """Start the pod, wait for its end, and say how it was."""
        if not self._start():
            return Outcome(None, "pod deleted")
        assert self._process is not None
        code = self._process.wait()
        if self._gone.is_set():
            return Outcome(None, "pod deleted")
        text = self.termination_log.read_text(encoding="utf-8", errors="replace").strip()
        if code != 0:
            return Outcome(1, f"Error (exit code {code})" + (f": {text}" if text else ""))
        result = json.loads((self._folder / "empty-7" / "outputs.json").read_text(encoding="utf-8"))
        return Outcome(0, text, result)

    def terminate(self) -> None:
        """What Argo does to it when the run is terminated."""
        self._order("terminate")
        if not self.is_running:
            self._gone.set()

    def delete(self) -> None:
        """What a node drain does to it: the same, and the pod object is gone too."""
        self._gone.set()
        self._order("terminate")

    def kill(self) -> None:
        """End it at once, with all its processes."""
        self._gone.set()
        self._order("kill")

    def _order(self, order: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError, ValueError, OSError):
                self._process.stdin.write(f"{order}\n".encode())
                self._process.stdin.flush()

    def _start(self) -> bool:
        """Start it as soon as what it needs is there; False: it was deleted before."""
        while not self._gone.wait(0.0 if not self.waits_for else 0.1):
            try:
                mounts = mounts_of(self._description, self._namespace, self._folder)
                environment = self._environment()
            except NotStarted as error:
                self.waits_for = str(error)
                continue
            self.waits_for = ""
            self._launch(mounts, environment)
            return True
        return False

    def _environment(self) -> dict[str, str]:
        fields = {"metadata.name": self.name, "metadata.uid": self.uid, "metadata.namespace": "kubeflow"}
        argo = {
            "ARGO_CONTAINER_NAME": "main",
            "ARGO_NODE_ID": self.name,
            "ARGO_INCLUDE_SCRIPT_OUTPUT": "false",
            "ARGO_DEADLINE": "0001-01-01T00:00:00Z",
            "ARGO_PROGRESS_FILE": "/var/run/argo/progress",
        }
        return {
            "PATH": f"{self._image.bin_folder}:{USUAL_PATH}",
            # What containerd says where /etc/passwd does not know the user; KFP mounts folders there for it.
            "HOME": "/" if self._description.user else "/root",
            "LANG": "C.UTF-8",
            **self._image.environment,
            "HOSTNAME": self.name,
            **self._namespace.service_variables(),
            **argo,
            "_KFP_RUNTIME": "true",
            "KFP_POD_NAME": self.name,
            "KFP_POD_UID": self.uid,
            **environment_of(self._description, self._namespace, fields),
        }

    def _launch(self, mounts: list[Document], environment: dict[str, str]) -> None:
        files = {
            "launcher.json": json.dumps(
                {
                    **self._work,
                    "command": self._command,
                    "environment": environment,
                    "result": "/run/argo/outputs.json",
                }
            ),
            "hosts": HOSTS + "".join(f"127.0.0.1 {host}\n" for host in self._host_names()),
            "termination-log": "",
        }
        for name, text in files.items():
            (self._folder / name).write_text(text, encoding="utf-8")
        self.termination_log.chmod(0o666)
        mounts.append({"source": str(self._folder / "launcher.json"), "path": "/kfp-launcher/launcher.json"})
        mounts.append({"source": str(HERE / "launcher.py"), "path": "/kfp-launcher/launch", "read_only": True})
        spec = {
            "folder": str(self._folder),
            "mounts": mounts,
            "image_paths": visible_paths(self._image.bin_folder),
            "termination_log": str(self.termination_log),
            "hosts": str(self._folder / "hosts"),
            "python": sys.executable,
            "launcher": "/kfp-launcher/launch",
            "launcher_spec": "/kfp-launcher/launcher.json",
            "environment": environment,
            "user": self._description.user,
            "deadline_seconds": self._description.deadline_seconds,
            "grace_seconds": GRACE_SECONDS,
            "death_seconds": self.death_seconds,
        }
        (self._folder / "pod.json").write_text(json.dumps(spec), encoding="utf-8")
        user = [] if os.getuid() == 0 else ["--map-root-user"]
        namespaces = ["unshare", *user, "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
        with self.log_file.open("wb") as log:
            self._process = subprocess.Popen(
                [*namespaces, sys.executable, "-I", str(HERE / "pod_init.py"), str(self._folder / "pod.json")],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _host_names(self) -> list[str]:
        names = [service for service in self._namespace.services if service != "kubernetes"]
        return [f"{name}{suffix}" for name in names for suffix in ("", ".kubeflow", ".kubeflow.svc.cluster.local")]


def visible_paths(bin_folder: Path) -> list[str]:
    """What a pod must see of this machine's hidden folders: Pythons with their packages, and this checkout."""
    paths = [ROOT, bin_folder.parent, Path(sys.prefix), Path(sys.base_prefix)]
    kept = {path for path in paths if not any(other != path and path.is_relative_to(other) for other in paths)}
    return sorted(str(path) for path in kept)


def check_namespaces() -> None:
    """Say plainly where pods cannot run.

    Raises:
        RuntimeError: If this machine gives no namespaces.
    """
    user = [] if os.getuid() == 0 else ["--map-root-user"]
    command = ["unshare", *user, "--mount", "--pid", "--fork", "true"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise RuntimeError(
            "the stand-in for KFP's backend needs `unshare` (util-linux): it runs on Linux only"
        ) from None
    if done.returncode != 0:
        raise RuntimeError(
            "the stand-in for KFP's backend gives each pod namespaces of its own, and this machine refuses: "
            f"{done.stderr.strip()}; run the tests as root, or allow user namespaces (sysctl user.max_user_namespaces, "
            "kernel.apparmor_restrict_unprivileged_userns=0)"
        )
