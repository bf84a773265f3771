"""A real Kubernetes API server for the tests here; ``make test-cluster`` runs them.

Without the switch KFP_IMAGE_TUNING_CLUSTER nothing here is collected: the control plane wants minutes to be built,
once, and several hundred megabytes of memory. With KUBECONFIG the tests run on the cluster that it names.
"""

import base64
import os
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

collect_ignore_glob = [] if os.environ.get("KFP_IMAGE_TUNING_CLUSTER") else ["test_*.py"]
CALLBACK = os.environ.get("KFP_IMAGE_TUNING_CALLBACK", "127.0.0.1")
"""Where the API server reaches this machine."""

if not collect_ignore_glob:
    from kubernetes import client

    from kfp_image_tuning.delivery.config_map import build_config_map
    from kfp_image_tuning.engines.katib.session.cluster import GROUP, VERSION
    from tests.cluster.bench import Bench, Place
    from tests.cluster.control_plane import BINARIES, ControlPlane, missing_binaries
    from tests.cluster.given_cluster import GivenCluster
    from tests.cluster.launcher_process import LauncherProcess, install_role, make_launcher_kubeconfig
    from tests.cluster.trainers import write_images
    from tests.emulators.api_server_proxy import ApiServerProxy
    from tests.emulators.katib_controller import INJECTION, WATCHED_LABELS, KatibStandIn, custom_resource_definitions
    from tests.emulators.node_agent import NodeAgent
    from tests.evaluation.digits import write_digits
    from tests.pipelines.digit_images import write_digit_images


@pytest.fixture(scope="session")
def digits_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 training, 60 validation and 30 test digits, 8x8 pixels."""
    folder = tmp_path_factory.mktemp("digits") / "dataset"
    write_digits(folder, counts=(200, 60, 30), test_shards=1)
    return folder


@pytest.fixture(scope="session")
def digit_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of class folders."""
    folder = tmp_path_factory.mktemp("images")
    write_digit_images(folder)
    return folder


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator["ControlPlane | GivenCluster"]:
    """The cluster: our own, or the one that KUBECONFIG names."""
    given = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
    if not given and (missing := missing_binaries()):
        pytest.fail(f"{BINARIES} lacks {', '.join(missing)}; tests/cluster/build_control_plane.sh makes them")
    plane = GivenCluster(Path(given)) if given else ControlPlane(tmp_path_factory.mktemp("kubernetes"))
    yield plane
    plane.close()


@pytest.fixture
def control_plane(cluster: "ControlPlane | GivenCluster") -> "ControlPlane":
    """Our own control plane, for tests that break it, read its audit log, or want it to lose patience soon."""
    if not isinstance(cluster, ControlPlane):
        pytest.skip("needs a control plane of its own: it breaks it, reads its audit log, or wants its timeouts short")
    return cluster


@pytest.fixture(scope="session")
def has_katib(cluster: "ControlPlane | GivenCluster") -> bool:
    """Whether Katib itself is there."""
    kinds = client.ApiextensionsV1Api(cluster.client()).list_custom_resource_definition().items
    return any(kind.metadata.name == f"experiments.{GROUP}" for kind in kinds)


@pytest.fixture(scope="session")
def katib(cluster: "ControlPlane | GivenCluster", has_katib: bool) -> Iterator["KatibStandIn"]:
    """What plays Katib's part, with Katib's kinds."""
    if has_katib:
        pytest.skip("the cluster has Katib itself, which a stand-in would disturb")
    extensions, definitions = client.ApiextensionsV1Api(cluster.client()), custom_resource_definitions()
    for definition in definitions:
        extensions.create_custom_resource_definition(definition)
    stand_in = KatibStandIn(cluster.client(), CALLBACK)
    yield stand_in
    # Somebody else's cluster is left as it was; the finalizers of Experiments are the stand-in's to take off.
    custom, deadline = client.CustomObjectsApi(cluster.client()), time.monotonic() + 30
    while custom.list_cluster_custom_object(GROUP, VERSION, "experiments")["items"] and time.monotonic() < deadline:
        time.sleep(0.5)
    stand_in.close()
    for definition in definitions:
        extensions.delete_custom_resource_definition(definition["metadata"]["name"])


@pytest.fixture
def namespace(cluster: "ControlPlane | GivenCluster", has_katib: bool, request: pytest.FixtureRequest) -> Iterator[str]:
    """A new namespace, with Katib or its stand-in behind it."""
    if not has_katib:
        request.getfixturevalue("katib")
    core = client.CoreV1Api(cluster.client())
    name = f"team-{uuid.uuid4().hex[:8]}"
    core.create_namespace({"metadata": {"name": name, "labels": WATCHED_LABELS | INJECTION}})
    yield name
    core.delete_namespace(name)


@pytest.fixture
def place(
    cluster: "ControlPlane | GivenCluster",
    katib: "KatibStandIn",
    namespace: str,
    tmp_path: Path,
    digits_dataset: Path,
) -> Iterator["Place"]:
    """A new namespace on one machine with two GPUs."""
    katib.paused, katib.policy = False, ""
    claims = {"images": digits_dataset.parent, "models": tmp_path / "volume"}
    claims["models"].mkdir()
    core = client.CoreV1Api(cluster.client())
    agent = NodeAgent(cluster.client(), tmp_path / "pods", write_images(tmp_path / "images"), claims, CALLBACK)
    agent.add_node(f"node-{namespace}", gpus=2)
    for claim in claims:
        _make_claim(core, namespace, claim)
    core.create_namespaced_config_map(namespace, build_config_map(namespace))
    _wait_until_pods_are_taken(core, namespace)
    yield Place(namespace, claims["models"], agent)
    agent.close()
    for claim in claims:
        core.delete_persistent_volume(f"{namespace}-{claim}")


@pytest.fixture
def bench(cluster: "ControlPlane | GivenCluster", place: "Place", tmp_path: Path) -> "Bench":
    """What a test does with one search."""
    return Bench(cluster, place, tmp_path)


@pytest.fixture
def proxy(cluster: "ControlPlane | GivenCluster") -> Iterator["ApiServerProxy"]:
    """What stands between launchers and the API server."""
    proxy = ApiServerProxy(cluster.access["server"])
    yield proxy
    proxy.close()


@pytest.fixture
def launcher_kubeconfig(
    cluster: "ControlPlane | GivenCluster", place: "Place", proxy: "ApiServerProxy", tmp_path: Path
) -> Path:
    """Access as a service account with the Role of ``manifests/katib`` alone, through the proxy."""
    install_role(cluster.client(), place.namespace)
    path = tmp_path / "kubeconfig"
    access = {"server": proxy.server, "certificate-authority-data": base64.b64encode(proxy.certificate).decode()}
    make_launcher_kubeconfig(path, cluster.client(), place.namespace, access)
    return path


@pytest.fixture
def launch(
    place: "Place", launcher_kubeconfig: Path, digits_dataset: Path, tmp_path: Path
) -> Iterator[Callable[..., "LauncherProcess"]]:
    """Starts the launcher as a process; keyword arguments change its settings, ``pods`` the trials' pods."""
    started: list[LauncherProcess] = []

    def start(
        pods: dict[str, Any] | None = None,
        *,
        options: dict[str, Any] | None = None,
        run: str = "run-1",
        in_pod: bool = False,
        **changes: Any,
    ) -> LauncherProcess:
        settings = {"search_mode": "flat", "max_trials": 3, "parallel_trials": 2, "epochs": 9, **changes}
        more = {"namespace": place.namespace, "pods": {"image": "quick", **(pods or {})}, **(options or {})}
        placement: dict[str, Any] = {
            "storage": "pvc://models",
            "storage_mount": str(place.models),
            "data": "pvc://images/dataset",
        }
        placement |= {"run_id": run, "katib_options": more}
        folder = tmp_path / f"launcher-{len(started)}"
        started.append(LauncherProcess(folder, launcher_kubeconfig, settings, placement, digits_dataset, in_pod))
        return started[-1]

    yield start
    for launcher in started:
        launcher.kill()


def _wait_until_pods_are_taken(core: "client.CoreV1Api", namespace: str) -> None:
    """A new namespace has no service account for a moment."""
    pod = {"metadata": {"name": "try"}, "spec": {"containers": [{"name": "main", "image": "none"}]}}
    deadline = time.monotonic() + 30
    while True:
        try:
            core.create_namespaced_pod(namespace, pod, dry_run="All")
            return
        except client.ApiException:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def _make_claim(core: "client.CoreV1Api", namespace: str, name: str) -> None:
    """A claim that is bound at once, to a volume that is the agent's own folder."""
    metadata = {"name": name, "annotations": {"pv.kubernetes.io/bind-completed": "yes"}}
    size, modes = {"storage": "1Gi"}, ["ReadWriteMany"]
    wanted = {"accessModes": modes, "resources": {"requests": size}, "volumeName": f"{namespace}-{name}"}
    claim = core.create_namespaced_persistent_volume_claim(
        namespace, {"metadata": metadata, "spec": {**wanted, "storageClassName": ""}}
    )
    reference = {"namespace": namespace, "name": name, "uid": claim.metadata.uid}
    offered = {"capacity": size, "accessModes": modes, "hostPath": {"path": "/tmp"}, "claimRef": reference}
    core.create_persistent_volume({"metadata": {"name": f"{namespace}-{name}"}, "spec": offered})
    core.patch_persistent_volume_status(f"{namespace}-{name}", {"status": {"phase": "Bound"}})
    core.patch_namespaced_persistent_volume_claim_status(name, namespace, {"status": {"phase": "Bound"}})
