"""A cluster of stand-ins on this machine: what a real one has, behind the same HTTP addresses.

Real: the Kubernetes API server with its controllers and scheduler, and all programs of ours. Stand-ins: KFP's backend
with Argo and the artifact store, Katib's controller, and the machines that pods run on.
"""

import contextlib
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kubernetes import client

from tests.cluster.control_plane import BINARIES, ControlPlane, missing_binaries
from tests.cluster.trainers import write_images
from tests.e2e.settings import Settings, SettingsError
from tests.emulators.katib_controller import WATCHED_LABELS, KatibStandIn, custom_resource_definitions
from tests.emulators.kfp_backend import Backend
from tests.emulators.kfp_backend.api import Api
from tests.emulators.kfp_backend.cluster_view import ClusterView
from tests.emulators.kfp_backend.namespace_objects import ConfigMaps
from tests.emulators.node_agent import NodeAgent
from tests.pipelines.component_environment import declared_environment

NAMESPACE = "kubeflow"
ADDRESS = "127.0.0.1"
RUNNER = "pipeline-runner"
SECRET = "mlpipeline-minio-artifact"
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
RUNNER_RULES = [
    {"apiGroups": ["kubeflow.org"], "resources": ["*"], "verbs": ["*"]},
    {"apiGroups": ["", "batch"], "resources": ["pods", "pods/log", "services", "jobs"], "verbs": ["*"]},
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]},
]
"""Of what KFP's manifests allow its service account; neither events nor ConfigMaps are in it."""


@contextlib.contextmanager
def stand_ins(**choices: Any) -> Iterator[Settings]:
    """Start everything; `choices` are further settings.

    Raises:
        SettingsError: If the control plane has not been built.
    """
    if missing := missing_binaries():
        raise SettingsError(f"{BINARIES} lacks {', '.join(missing)}; tests/cluster/build_control_plane.sh makes them")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kfp-image-tuning-stand-ins-")))
        plane = ControlPlane(made(folder / "kubernetes"))
        stack.callback(plane.close)
        api = plane.client()
        _make_namespace(client.CoreV1Api(api))
        _make_account(api)
        extensions = client.ApiextensionsV1Api(api)
        for definition in custom_resource_definitions():
            extensions.create_custom_resource_definition(definition)
        katib = KatibStandIn(api, ADDRESS)
        stack.callback(katib.close)
        agent = NodeAgent(api, folder / "pods", write_images(folder / "images"), {}, ADDRESS)
        stack.callback(agent.close)
        agent.add_node("trials", gpus=0)
        backend = stack.enter_context(
            Backend(
                folder / "kfp",
                declared_environment(),
                environment=ONE_THREAD,
                config_maps=ConfigMaps(api, NAMESPACE),
                # Trials' pods have this machine's names, the steps' pods their own.
                store_host=ADDRESS,
                service_account=_account_folder(made(folder / "account"), api, plane),
                api_server=plane.access["server"].removeprefix("https://"),
            )
        )
        _make_store_secret(client.CoreV1Api(api), backend.store.secret)
        view = ClusterView(backend, api, NAMESPACE)
        stack.callback(view.close)
        kfp = stack.enter_context(Api(backend))
        store = f"http://{backend.store.endpoint}"
        yield Settings(
            kubeconfig=plane.kubeconfig,
            kfp=kfp.url,
            store=store,
            store_in_cluster=store,
            namespace=NAMESPACE,
            callback=ADDRESS,
            katib_options={"pods": {"env": ONE_THREAD}},
            seconds=600.0,
            **choices,
        )


def made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _make_namespace(core: client.CoreV1Api) -> None:
    core.create_namespace({"metadata": {"name": NAMESPACE, "labels": WATCHED_LABELS}})
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(client.ApiException):
            core.read_namespaced_service_account("default", NAMESPACE)
            return
        time.sleep(0.1)


def _make_account(api: client.ApiClient) -> None:
    core, rbac = client.CoreV1Api(api), client.RbacAuthorizationV1Api(api)
    named = {"metadata": {"name": RUNNER}}
    core.create_namespaced_service_account(NAMESPACE, named)
    rbac.create_namespaced_role(NAMESPACE, {**named, "rules": RUNNER_RULES})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": RUNNER}
    subject = {"kind": "ServiceAccount", "name": RUNNER, "namespace": NAMESPACE}
    rbac.create_namespaced_role_binding(NAMESPACE, {**named, "roleRef": reference, "subjects": [subject]})


def _account_folder(folder: Path, api: client.ApiClient, plane: ControlPlane) -> Path:
    """What a kubelet mounts for a service account."""
    request = {"spec": {"audiences": [], "expirationSeconds": 7200}}
    answer = client.CoreV1Api(api).create_namespaced_service_account_token(RUNNER, NAMESPACE, request)
    files = {
        "token": answer.status.token,
        "namespace": NAMESPACE,
        "ca.crt": Path(plane.access["certificate-authority"]).read_text(encoding="utf-8"),
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def _make_store_secret(core: client.CoreV1Api, keys: Mapping[str, str]) -> None:
    core.create_namespaced_secret(NAMESPACE, {"metadata": {"name": SECRET}, "stringData": dict(keys)})
