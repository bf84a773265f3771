"""A real Kubernetes API server for the tests here; ``make test-cluster`` runs them.

Without the switch KFP_IMAGE_TUNING_CLUSTER nothing here is collected: the control plane wants minutes to be built,
once, and several hundred megabytes of memory.
"""

import os
import stat
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import urllib3

collect_ignore_glob = [] if os.environ.get("KFP_IMAGE_TUNING_CLUSTER") else ["test_*.py"]

if not collect_ignore_glob:
    from kubernetes import client

    from tests.cluster.control_plane import ControlPlane, is_available
    from tests.components.model_evaluation.digits import write_digits
    from tests.emulators.katib_controller import KatibStandIn, custom_resource_definitions
    from tests.emulators.node_agent import NodeAgent

    # Its certificates are its own, made at each start.
    urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)

QUICK_TRAINER = """#!/bin/sh
# Stands for python3 in the image "quick": prints what a training of two epochs prints, and leaves a model.
folder=$TRIAL_MODELS/$TRIAL_NAME
mkdir -p "$folder"
echo "Epoch[0] Train-accuracy=0.4"
echo "Epoch[0] Validation-accuracy=0.5"
sleep ${SLEEP:-0.3}
echo "Epoch[1] Train-accuracy=0.7"
echo "Epoch[1] Validation-accuracy=0.8"
echo '{}' > "$folder/model.json"
echo weights > "$folder/model.safetensors"
"""
FAILING_TRAINER = "#!/bin/sh\necho Reading the data set\necho cannot read train.rec\nexit 3\n"
GREEDY_TRAINER = "#!/bin/sh\necho Loading everything at once\nkill -9 $$\n"
SILENT_TRAINER = "#!/bin/sh\necho nothing to say\n"
TRAINERS = {"quick": QUICK_TRAINER, "failing": FAILING_TRAINER, "greedy": GREEDY_TRAINER, "silent": SILENT_TRAINER}


@pytest.fixture(scope="session")
def digits_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 training, 60 validation and 30 test digits, 8x8 pixels."""
    folder = tmp_path_factory.mktemp("digits") / "dataset"
    write_digits(folder, counts=(200, 60, 30), test_shards=1)
    return folder


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator["ControlPlane"]:
    """The control plane, with Katib's kinds in it."""
    assert is_available(), "the control plane's binaries are missing; see tests/cluster/control_plane.py"
    plane = ControlPlane(tmp_path_factory.mktemp("kubernetes"))
    try:
        extensions = client.ApiextensionsV1Api(plane.client())
        for definition in custom_resource_definitions():
            extensions.create_custom_resource_definition(definition)
        yield plane
    finally:
        plane.close()


@pytest.fixture(scope="session")
def katib(control_plane: "ControlPlane") -> Iterator["KatibStandIn"]:
    """What plays Katib's part."""
    stand_in = KatibStandIn(control_plane.client())
    yield stand_in
    stand_in.close()


@dataclass
class Place:
    """A namespace of its own, and the machines.

    Attributes:
        namespace: The namespace.
        models: The folder that pods see as ``/models``.
        agent: The machines.
    """

    namespace: str
    models: Path
    agent: "NodeAgent"


@pytest.fixture
def place(
    control_plane: "ControlPlane", katib: "KatibStandIn", tmp_path: Path, digits_dataset: Path
) -> Iterator[Place]:
    """A new namespace on one machine with two GPUs."""
    katib.paused = False
    images = {}
    for name, script in TRAINERS.items():
        program = tmp_path / "images" / name / "python3"
        program.parent.mkdir(parents=True)
        program.write_text(script)
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        images[name] = program.parent
    # An image with our trainer in it: this environment.
    images["trainer"] = Path(sys.executable).parent
    models = tmp_path / "volume"
    models.mkdir()
    core = client.CoreV1Api(control_plane.client())
    namespace = f"team-{uuid.uuid4().hex[:8]}"
    core.create_namespace({"metadata": {"name": namespace}})
    mounts = {"/models": models, "/data": digits_dataset}
    agent = NodeAgent(control_plane.client(), tmp_path / "pods", images, mounts)
    agent.add_node(f"node-{namespace}", gpus=2)
    for claim in ("images", "models"):
        _make_claim(core, namespace, claim)
    yield Place(namespace, models, agent)
    agent.close()
    core.delete_namespace(namespace)


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
