"""The first process of a step's container: what containerd, kubelet and Argo's emissary do there.

Runs as process 1 of a process namespace and in a mount namespace of its own, so that nothing here touches this machine;
standard library alone. Recorded: the mounts, ``/dev/shm`` of 64 MiB, no capabilities and no new privileges; Terminate
signals the launcher's process group; when the launcher is gone, all that is left in the container is killed within
about a second.

The first argument names a JSON file (`PodSpec` of pod.py); lines on standard input are orders: ``terminate``, ``kill``.
"""

import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

MS_RDONLY, MS_NOSUID, MS_REMOUNT, MS_BIND, MS_REC = 1, 2, 32, 4096, 16384
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
HIDDEN = ("tmp", "root", "run", "dev", "proc", "home", "mnt", "media", "srv")
"""Folders of this machine that are no part of an image."""

libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str | Path, target: str | Path, kind: str = "none", flags: int = 0, options: str = "") -> None:
    if libc.mount(str(source).encode(), str(target).encode(), kind.encode(), flags, options.encode()):
        raise OSError(ctypes.get_errno(), f"cannot mount {source} on {target}")


def bind(source: str | Path, target: str | Path, *, read_only: bool = False) -> None:
    """Show a file or a folder at a place, which is made."""
    source, target = Path(source), Path(target)
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    mount(source, target, flags=MS_BIND | MS_REC)
    if read_only:
        mount(source, target, flags=MS_BIND | MS_REMOUNT | MS_RDONLY)


def build_root(spec: dict[str, Any]) -> Path:
    """A root folder of the pod's own over this machine's programs."""
    root = Path(spec["folder"]) / "root"
    root.mkdir(exist_ok=True)
    mount("tmpfs", root, "tmpfs", 0, "mode=755")
    for entry in os.scandir("/"):
        place = root / entry.name
        if entry.is_symlink():
            place.symlink_to(os.readlink(entry.path))
        elif entry.name in HIDDEN:
            place.mkdir(mode=0o755)
        elif entry.is_dir():
            bind(entry.path, place)
    build_devices(root)
    try:
        mount("proc", root / "proc", "proc")
    except OSError:
        mount("/proc", root / "proc", flags=MS_BIND | MS_REC)
    layer = Path(spec["folder"]) / "layer"
    for name in ("tmp", "root"):
        (layer / name).mkdir(parents=True, exist_ok=True)
        bind(layer / name, root / name)
    for path in spec["image_paths"]:
        if path.split("/")[1] in HIDDEN:
            bind(path, root / path[1:])
    (root / "tmp").chmod(0o1777)
    for entry in spec["mounts"]:
        place = root / entry["path"].lstrip("/")
        if "memory" in entry:
            place.mkdir(parents=True, exist_ok=True)
            mount("tmpfs", place, "tmpfs", MS_NOSUID, f"mode=1777,{entry['memory']}")
        else:
            bind(entry["source"], place, read_only=entry.get("read_only", False))
    bind(spec["termination_log"], root / "dev/termination-log")
    bind(spec["hosts"], root / "etc/hosts")
    return root


def build_devices(root: Path) -> None:
    for name in DEVICES:
        bind(f"/dev/{name}", root / "dev" / name)
    for name, target in (("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        (root / "dev" / name).symlink_to(f"/proc/self/{target}")
    (root / "dev/shm").mkdir()
    mount("tmpfs", root / "dev/shm", "tmpfs", MS_NOSUID, "mode=1777,size=64m")


def container_command(spec: dict[str, Any]) -> list[str]:
    """The launcher as the container's user without capabilities."""
    command = [spec["python"], "-I", spec["launcher"], spec["launcher_spec"]]
    if os.getuid() != 0 or not shutil.which("setpriv"):
        return command
    user = spec.get("user")
    ids = [f"--reuid={user}", f"--regid={spec.get('group', user)}", "--clear-groups"] if user else []
    return ["setpriv", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", *ids, *command]


def supervise(spec: dict[str, Any], process: subprocess.Popen[bytes]) -> int:
    """Obey orders until the launcher is gone; returns its exit code."""
    started = time.monotonic()
    told = 0.0
    while process.poll() is None:
        ready, _, _ = select.select([0], [], [], 0.02)
        order = os.read(0, 64).decode() if ready else ""
        if (ready and not order) or "kill" in order:
            os._exit(137)
        deadline = spec.get("deadline_seconds") and time.monotonic() - started > spec["deadline_seconds"]
        if ("terminate" in order or deadline) and not told:
            told = time.monotonic()
            os.killpg(process.pid, signal.SIGTERM)
        if told and time.monotonic() - told > spec["grace_seconds"]:
            os._exit(137)
    if told:
        # What the launcher leaves behind lives until this process is gone.
        time.sleep(max(0.0, told + spec["death_seconds"] - time.monotonic()))
    return process.wait()


def main() -> None:
    spec = json.loads(Path(sys.argv[1]).read_text())
    root = build_root(spec)
    os.chroot(root)
    os.chdir("/")
    process = subprocess.Popen(
        container_command(spec), env=spec["environment"], stdin=subprocess.DEVNULL, start_new_session=True
    )
    code = supervise(spec, process)
    sys.exit(code if code >= 0 else 128 - code)


main()
