"""The launcher as a process of its own, acting as the service account of ``manifests/katib`` and as nothing more.

``python -m tests.cluster.launcher_process FILE`` is what runs; `LauncherProcess` starts it, and ends it in bad ways.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client

from kfp_image_tuning.search.result import Trial, TuningResult
from tests.cluster.control_plane import write_kubeconfig
from tests.emulators.pod_end import PodProcesses

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "manifests" / "katib"


class LauncherProcess:
    """One launcher.

    Args:
        folder: For what it is given and what it writes.
        kubeconfig: Its access to the cluster.
        settings: Fields of `TuningSettings`.
        placement: Fields of `KatibConfig`.
        dataset: Folder of the data set.
        in_pod: Whether it runs as the step of a pod, which can be terminated.
    """

    def __init__(
        self,
        folder: Path,
        kubeconfig: Path,
        settings: dict[str, Any],
        placement: dict[str, Any],
        dataset: Path,
        in_pod: bool = False,
    ) -> None:
        folder.mkdir(parents=True)
        self.result = folder / "result.json"
        self.model = folder / "model"
        self._log = folder / "output.log"
        given = {"settings": settings, "placement": placement, "dataset": str(dataset)}
        given |= {"model": str(self.model), "result": str(self.result)}
        (folder / "given.json").write_text(json.dumps(given))
        self.pod: PodProcesses | None = None
        if in_pod:
            command = [sys.executable, "-m", "tests.cluster.launcher_process", str(folder / "given.json")]
            self.pod = PodProcesses(command, {"KUBECONFIG": str(kubeconfig)}, self._log)
            return
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.cluster.launcher_process", str(folder / "given.json")],
                cwd=ROOT,
                env=os.environ | {"KUBECONFIG": str(kubeconfig), "PYTHONUNBUFFERED": "1"},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def output(self) -> str:
        """What it has written so far."""
        return self._log.read_text()

    @property
    def trials(self) -> list[Trial]:
        """The trials of the result that it has written."""
        return list(TuningResult.load(self.result).trials)

    def wait(self, seconds: float = 90) -> int:
        """Wait for its end; returns its exit status."""
        try:
            return self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"the launcher did not end in {seconds} s:\n{self.output}") from None

    def kill(self) -> None:
        """End it as a lost node does: without a word."""
        if self.pod is not None:
            self.pod.close()
            return
        self.process.kill()
        self.process.wait()


def install_role(api: client.ApiClient, namespace: str) -> None:
    """Apply ``manifests/katib`` to a namespace, as ``kubectl apply -k`` does with that namespace in it."""
    core, rbac = client.CoreV1Api(api), client.RbacAuthorizationV1Api(api)
    create = {
        "ServiceAccount": core.create_namespaced_service_account,
        "Role": rbac.create_namespaced_role,
        "RoleBinding": rbac.create_namespaced_role_binding,
    }
    for document in read_manifests():
        for subject in document.get("subjects", ()):
            subject["namespace"] = namespace
        create[document["kind"]](namespace, document)


def read_manifests() -> list[dict[str, Any]]:
    """The documents that the kustomization names."""
    kustomization = yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text())
    return [yaml.safe_load((MANIFESTS / name).read_text()) for name in kustomization["resources"]]


def make_launcher_kubeconfig(path: Path, api: client.ApiClient, namespace: str, access: dict[str, Any]) -> None:
    """Write a kubeconfig with a token of the launcher's service account.

    Args:
        path: Its file.
        api: An administrator's connection.
        namespace: Of the service account.
        access: How to reach the API server, in a kubeconfig's form.
    """
    (name,) = [document["metadata"]["name"] for document in read_manifests() if document["kind"] == "ServiceAccount"]
    request = {"spec": {"audiences": [], "expirationSeconds": 3600}}
    answer = client.CoreV1Api(api).create_namespaced_service_account_token(name, namespace, request)
    write_kubeconfig(path, access, answer.status.token, namespace)


def main() -> None:
    """Launch what the file says, and fail as the component does."""
    from kfp_image_tuning.engines.katib.request.config import KatibConfig
    from kfp_image_tuning.steps.katib_tuning import launch
    from kfp_image_tuning.steps.plain_errors import plain_errors
    from kfp_image_tuning.steps.tuning_settings import TuningSettings

    given = json.loads(Path(sys.argv[1]).read_text())
    settings, placement = TuningSettings(**given.pop("settings")), KatibConfig(**given.pop("placement"))
    with plain_errors():
        launch(settings, placement, **given)


if __name__ == "__main__":
    main()
