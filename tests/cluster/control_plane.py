"""A real Kubernetes control plane on this machine: etcd, API server, controllers and scheduler as child processes.

The binaries lie where ``make test-cluster`` looks for them (KUBERNETES_BIN, by default the user's cache). Everything
listens on the loopback alone, keeps its files in one folder, and ends with the test session.
"""

import os
import secrets
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client, config

CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
BINARIES = Path(os.environ.get("KUBERNETES_BIN", CACHE / "kfp-image-tuning" / "kubernetes" / "bin"))
NEEDED = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
CONTROLLERS = "job,garbagecollector,namespace,serviceaccount,serviceaccount-token,podgc,resourcequota"
PATIENCE = 120.0


def is_available() -> bool:
    """Whether the binaries are there."""
    return all(os.access(BINARIES / name, os.X_OK) for name in NEEDED)


class ControlPlane:
    """The running processes; also the way to disturb them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._token = secrets.token_hex(16)
        self._ports = dict(zip(("etcd", "peer", "api", "manager", "scheduler"), _free_ports(5), strict=True))
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.kubeconfig = folder / "kubeconfig"
        self._write_files()
        self._start_etcd()
        self.start_api_server()
        self._start_controllers()

    def client(self) -> client.ApiClient:
        """A connection as administrator."""
        configuration = client.Configuration()
        config.load_kube_config(str(self.kubeconfig), client_configuration=configuration)
        return client.ApiClient(configuration)

    def start_api_server(self) -> None:
        """Start it and wait until it is ready."""
        port = self._ports["api"]
        self._start(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{self._ports['etcd']}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={port}",
            f"--cert-dir={self._folder}/certificates",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--authorization-mode=RBAC",
            f"--token-auth-file={self._folder}/tokens.csv",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self._folder}/sa.pub",
            f"--service-account-signing-key-file={self._folder}/sa.key",
        )
        core = client.CoreV1Api(self.client())
        _wait(lambda: core.list_namespace(_request_timeout=2).items, "the API server", self._log("kube-apiserver"))

    def stop_api_server(self) -> None:
        """End it as a crash would."""
        process = self._processes.pop("kube-apiserver")
        process.kill()
        process.wait()

    def close(self) -> None:
        """End everything, in the reverse order of its start."""
        for process in reversed([*self._processes.values()]):
            process.kill()
            process.wait()

    def _write_files(self) -> None:
        for command in (
            ["openssl", "genrsa", "-out", "sa.key", "2048"],
            ["openssl", "rsa", "-in", "sa.key", "-pubout", "-out", "sa.pub"],
        ):
            subprocess.run(command, cwd=self._folder, check=True, capture_output=True)
        (self._folder / "tokens.csv").write_text(f'{self._token},admin,admin,"system:masters"\n')
        document: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "test",
                    "cluster": {"server": f"https://127.0.0.1:{self._ports['api']}", "insecure-skip-tls-verify": True},
                }
            ],
            "users": [{"name": "admin", "user": {"token": self._token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
            "current-context": "test",
        }
        self.kubeconfig.write_text(yaml.safe_dump(document))

    def _start_etcd(self) -> None:
        address = f"http://127.0.0.1:{self._ports['etcd']}"
        peer = f"http://127.0.0.1:{self._ports['peer']}"
        self._start(
            "etcd",
            f"--data-dir={self._folder}/etcd",
            f"--listen-client-urls={address}",
            f"--advertise-client-urls={address}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
        )

    def _start_controllers(self) -> None:
        self._start(
            "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig}",
            "--bind-address=127.0.0.1",
            "--port=0",
            f"--secure-port={self._ports['manager']}",
            f"--service-account-private-key-file={self._folder}/sa.key",
            f"--root-ca-file={self._folder}/certificates/apiserver.crt",
            "--leader-elect=false",
            f"--controllers={CONTROLLERS}",
        )
        self._start(
            "kube-scheduler",
            f"--kubeconfig={self.kubeconfig}",
            "--bind-address=127.0.0.1",
            "--port=0",
            f"--secure-port={self._ports['scheduler']}",
            "--leader-elect=false",
        )

    def _start(self, name: str, *options: str) -> None:
        with self._log(name).open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [BINARIES / name, *options], stdout=log, stderr=log, cwd=self._folder, start_new_session=True
            )

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"


def _wait(condition: Any, what: str, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    problem: object = None
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except Exception as error:
            problem = error
        time.sleep(0.2)
    raise TimeoutError(f"{what} is not ready: {problem}\n{log.read_text()[-2000:]}")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for item in sockets:
        item.bind(("127.0.0.1", 0))
    ports = [int(item.getsockname()[1]) for item in sockets]
    for item in sockets:
        item.close()
    return ports
