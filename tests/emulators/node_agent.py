"""A node agent that runs pods' commands as local processes: a stand-in for the kubelet, for a cluster without machines.

Scheduling, Jobs and garbage collection are the real control plane's. The agent makes the nodes (with as many GPUs as a
test likes), starts what the scheduler binds to them, reports what becomes of it, and hands out logs as a kubelet does.
An image is a folder that goes in front of PATH: what ``python3`` is in a pod depends on it. An image that the agent
does not know cannot be pulled. A process that dies of SIGKILL counts as killed for lack of memory.
"""

import contextlib
import datetime
import os
import signal
import subprocess
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from kubernetes import client

from tests.emulators.katib_pods import expand
from tests.emulators.loopback_https import LoopbackServer

INTERVAL = 0.2


class NodeAgent:
    """Nodes and what runs on them."""

    def __init__(
        self, api: client.ApiClient, folder: Path, images: Mapping[str, Path], mounts: Mapping[str, Path]
    ) -> None:
        self._core = client.CoreV1Api(api)
        self._api = api
        self._folder = folder
        self._images = images
        self._mounts = mounts
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._reported: dict[str, str] = {}
        self._nodes: set[str] = set()
        self._ended = threading.Event()
        agent = self

        class Logs(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                address = urlsplit(self.path)
                _, _, namespace, pod, _ = address.path.split("/", 4)
                lines = agent.log_file(namespace, pod).read_text().splitlines(keepends=True)
                tail = int(parse_qs(address.query).get("tailLines", ["0"])[0])
                body = "".join(lines[-tail:]).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = LoopbackServer(Logs)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def add_node(self, name: str, gpus: int, memory: str = "64Gi") -> None:
        """A node that is ready at once."""
        capacity = {"cpu": "64", "memory": memory, "pods": "100", "nvidia.com/gpu": str(gpus)}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"zone": "a"}}}
        self._core.create_node(node)
        status = {
            "capacity": capacity,
            "allocatable": capacity,
            "conditions": [{"type": "Ready", "status": "True", "reason": "Agent", "lastHeartbeatTime": _now()}],
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._server.port}},
        }
        self._core.patch_node_status(name, {"status": status})
        # The API server itself taints new nodes until a controller that is not there finds them ready.
        self._core.patch_node(name, {"spec": {"taints": []}})
        self._nodes.add(name)

    def remove_node(self, name: str) -> None:
        """The node is gone, and nobody says what became of its pods."""
        self._nodes.discard(name)
        with contextlib.suppress(client.ApiException):
            self._core.delete_node(name)

    def log_file(self, namespace: str, pod: str) -> Path:
        return self._folder / namespace / pod / "log" / "metrics.log"

    @property
    def running(self) -> int:
        """Processes that run."""
        return sum(process.poll() is None for process in self._processes.values())

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        for process in self._processes.values():
            _signal(process, signal.SIGKILL)
            process.wait()
        for name in [*self._nodes]:
            self.remove_node(name)
        self._server.close()

    def _run(self) -> None:
        while not self._ended.wait(INTERVAL):
            # The API server may be away: the next round tries again.
            with contextlib.suppress(Exception):
                for pod in self._core.list_pod_for_all_namespaces(_request_timeout=5).items:
                    if pod.spec.node_name in self._nodes:
                        with contextlib.suppress(client.ApiException):
                            self._look_after(self._api.sanitize_for_serialization(pod))

    def _look_after(self, pod: dict[str, Any]) -> None:
        uid = pod["metadata"]["uid"]
        process = self._processes.get(uid)
        if pod["metadata"].get("deletionTimestamp"):
            self._end(pod, process)
        elif process is None and pod["status"].get("phase") == "Pending":
            self._start(pod)
        elif process is not None and process.poll() is not None and self._reported.get(uid) == "Running":
            self._report_end(pod, process.returncode)

    def _start(self, pod: dict[str, Any]) -> None:
        container = pod["spec"]["containers"][0]
        image = self._images.get(container["image"])
        if image is None:
            if self._reported.get(pod["metadata"]["uid"]) != "Pending":
                state = {"waiting": {"reason": "ErrImagePull", "message": f"{container['image']}: not found"}}
                self._report(pod, "Pending", state)
            return
        folder = self._folder / pod["metadata"]["namespace"] / pod["metadata"]["name"]
        places = {"/scratch": folder / "scratch", "/var/log/katib": folder / "log", **self._mounts}
        for name in ("/scratch", "/var/log/katib"):
            places[name].mkdir(parents=True, exist_ok=True)
        environment = {entry["name"]: _localize(entry.get("value", ""), places) for entry in container.get("env", ())}
        environment["PATH"] = f"{image}:{os.environ['PATH']}"
        command = [_localize(expand(word), places) for word in (*container["command"], *container.get("args", ()))]
        self._processes[pod["metadata"]["uid"]] = subprocess.Popen(
            command, env=environment, cwd=places["/scratch"], start_new_session=True
        )
        self._report(pod, "Running", {"running": {"startedAt": _now()}})

    def _report_end(self, pod: dict[str, Any], status: int) -> None:
        code = 128 - status if status < 0 else status
        ended: dict[str, Any] = {
            "exitCode": code,
            "reason": "Completed" if code == 0 else "Error",
            "finishedAt": _now(),
        }
        if (
            code == 128 + signal.SIGKILL
            or "Killed"
            in self.log_file(pod["metadata"]["namespace"], pod["metadata"]["name"]).read_text().splitlines()[-1:]
        ):
            ended |= {"reason": "OOMKilled", "exitCode": 137}
        self._report(pod, "Succeeded" if code == 0 else "Failed", {"terminated": ended})

    def _end(self, pod: dict[str, Any], process: subprocess.Popen[bytes] | None) -> None:
        uid = pod["metadata"]["uid"]
        if process is not None and process.poll() is None:
            if self._reported.get(uid) != "Ending":
                self._reported[uid] = "Ending"
                _signal(process, signal.SIGTERM)
            return
        self._core.delete_namespaced_pod(pod["metadata"]["name"], pod["metadata"]["namespace"], grace_period_seconds=0)

    def _report(self, pod: dict[str, Any], phase: str, state: dict[str, Any]) -> None:
        container = pod["spec"]["containers"][0]
        ready = phase == "Running"
        status = {
            "phase": phase,
            "startTime": pod["status"].get("startTime", _now()),
            "containerStatuses": [
                {
                    "name": container["name"],
                    "image": container["image"],
                    "imageID": "",
                    "ready": ready,
                    "restartCount": 0,
                    "state": state,
                }
            ],
        }
        metadata = pod["metadata"]
        self._core.patch_namespaced_pod_status(metadata["name"], metadata["namespace"], {"status": status})
        self._reported[metadata["uid"]] = phase


def _localize(text: str, places: Mapping[str, Path]) -> str:
    for place, local in places.items():
        text = text.replace(place, str(local))
    return text


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat().replace("+00:00", "Z")
