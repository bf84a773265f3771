"""A real Kubernetes control plane on this machine: etcd, API server, controllers and scheduler as child processes.

``build_control_plane.sh`` makes the binaries; they are in KUBERNETES_BIN, by default in the user's cache. Everything
listens on the loopback alone, keeps its files in one folder, and ends with the test session.
"""

import os
import secrets
import subprocess
import time
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from kubernetes import client, config

from tests.emulators.free_ports import free_ports

CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
BINARIES = Path(os.environ.get("KUBERNETES_BIN", CACHE / "kfp-image-tuning" / "kubernetes" / "bin"))
NEEDED = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
CONTROLLERS = (
    "job,garbagecollector,namespace,serviceaccount,serviceaccount-token,podgc,resourcequota,nodelifecycle,"
    "pvc-protection,pv-protection"
)
NODE_SILENCE = 10
"""Seconds after which a node that says nothing counts as lost."""
EVICTION = 5
"""Seconds after which its pods are given up; Kubernetes' own default is five minutes."""
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [{"level": "Metadata", "userGroups": ["system:serviceaccounts"]}, {"level": "None"}],
}
PATIENCE = 120.0


def missing_binaries() -> list[str]:
    """What has not been built."""
    return [name for name in NEEDED if not os.access(BINARIES / name, os.X_OK)]


class ControlPlane:
    """The running processes; also the way to disturb them.

    Attributes:
        kubeconfig: For the administrator.
        audit_log: What service accounts have asked of the API server, one JSON object a line.
        access: How to reach the API server, in a kubeconfig's form.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._token = secrets.token_hex(16)
        self._ports = dict(zip(("etcd", "peer", "api", "manager", "scheduler"), free_ports(5), strict=True))
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.kubeconfig = folder / "kubeconfig"
        self.audit_log = folder / "audit.log"
        self._certificate = folder / "certificates" / "apiserver.crt"
        self.access = {
            "server": f"https://127.0.0.1:{self._ports['api']}",
            "certificate-authority": str(self._certificate),
        }
        self._write_files()
        self._start_etcd()
        self.start_api_server()
        self._start_controllers()

    def client(self) -> client.ApiClient:
        """A connection as administrator."""
        return connect(self.kubeconfig)

    def start_api_server(self) -> None:
        """Start it and wait until it is ready."""
        port = self._ports["api"]
        self._start(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{self._ports['etcd']}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={port}",
            f"--cert-dir={self._certificate.parent}",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--authorization-mode=RBAC",
            f"--token-auth-file={self._folder}/tokens.csv",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self._folder}/sa.pub",
            f"--service-account-signing-key-file={self._folder}/sa.key",
            f"--default-not-ready-toleration-seconds={EVICTION}",
            f"--default-unreachable-toleration-seconds={EVICTION}",
            f"--audit-policy-file={self._folder}/audit-policy.yaml",
            f"--audit-log-path={self.audit_log}",
        )
        # It makes its certificate at its first start.
        _wait(self._certificate.exists, "the API server's certificate", self._log("kube-apiserver"))
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
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        (self._folder / "sa.key").write_bytes(private)
        (self._folder / "sa.pub").write_bytes(public)
        (self._folder / "tokens.csv").write_text(f'{self._token},admin,admin,"system:masters"\n')
        (self._folder / "audit-policy.yaml").write_text(yaml.safe_dump(AUDIT_POLICY))
        write_kubeconfig(self.kubeconfig, self.access, self._token)

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
            f"--root-ca-file={self._certificate}",
            "--leader-elect=false",
            f"--controllers={CONTROLLERS}",
            "--node-monitor-period=1s",
            f"--node-monitor-grace-period={NODE_SILENCE}s",
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


def connect(kubeconfig: Path) -> client.ApiClient:
    """A connection by a kubeconfig's current context."""
    configuration = client.Configuration()
    config.load_kube_config(str(kubeconfig), client_configuration=configuration)
    return client.ApiClient(configuration)


def write_kubeconfig(path: Path, access: dict[str, Any], token: str, namespace: str = "default") -> None:
    """Write a kubeconfig with one context.

    Args:
        path: Its file.
        access: How to reach the API server.
        token: Of the user.
        namespace: The context's.
    """
    document: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": access}],
        "users": [{"name": "test", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": namespace}}],
        "current-context": "test",
    }
    path.write_text(yaml.safe_dump(document))


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
