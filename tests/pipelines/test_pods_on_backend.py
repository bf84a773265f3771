"""What a step's pod gets on the stand-in for KFP's backend: of the run form, and of a team's values file."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from kfp import compiler, dsl

from kfp_image_tuning.dataset.document import Dataset
from kfp_image_tuning.delivery.compilation import compile_pipeline
from kfp_image_tuning.delivery.values_file import values_from
from kfp_image_tuning.pipelines.steps import check, prepare
from kfp_image_tuning.preparation.preparation import prepare_dataset
from tests.emulators.kfp_backend import Backend
from tests.pipelines.component_environment import declared_environment
from tests.pipelines.small_runs import config_maps

pytestmark = pytest.mark.slow

GPU = "nvidia.com/gpu"
USER = 1000 if os.getuid() == 0 else 0
"""Without root's rights a pod knows no other user than root."""
REPORT = """\
[ -e /team/tried ] || { touch /team/tried; echo "the first time it fails"; exit 1; }
mkdir -p "$(dirname "$0")"
echo "$TEAM, $KEY, $(cat /keys/id), $(cat /settings/mode), $(ls /team), $(id -u)" \
"$(df -m /dev/shm | tail -n 1 | awk '{print $2}')" >"$0"
"""


@dsl.container_component
def work() -> dsl.ContainerSpec:
    return dsl.ContainerSpec(image="busybox", command=["true"])


@dsl.container_component
def report(found: dsl.OutputPath(str)) -> dsl.ContainerSpec:  # type: ignore[valid-type]
    return dsl.ContainerSpec(image="busybox", command=["sh", "-ec", REPORT, found])


@dsl.pipeline
def sized(cpu: str, memory: str, accelerator: str, count: str, number: int) -> None:
    for amount in (count, number):
        task = work()
        task.set_cpu_limit(cpu).set_memory_request(memory)
        task.set_accelerator_type(accelerator).set_accelerator_limit(amount)


def install_package(backend: Backend) -> None:
    """Put our code into the namespace, as the manifests do."""
    there = backend.namespace.config_maps
    assert isinstance(there, dict)
    there.update(config_maps())


@pytest.fixture
def backend(tmp_path: Path) -> Any:
    claim = tmp_path / "claim"
    (claim / "tuning").mkdir(parents=True)
    (claim / "tuning").chmod(0o777)
    with Backend(
        tmp_path / "backend",
        declared_environment(),
        secrets={"team-s3": {"id": "AKIA", "key": "secret"}},
        config_maps={"settings": {"data": {"mode": "fast"}}},
        claims={"team-work": claim},
    ) as backend:
        yield backend


def test_amounts_of_the_run_are_the_pods(backend: Backend, tmp_path: Path) -> None:
    compiler.Compiler().compile(sized, str(tmp_path / "sized.yaml"))
    given = {"cpu": "500m", "memory": "4Gi", "accelerator": GPU, "count": "2", "number": 2}
    run = backend.run((tmp_path / "sized.yaml").read_text(), given)
    assert run.state == "SUCCEEDED", run.explain()
    by_text, by_number = (run.task(name).prepared for name in ("work", "work-2"))
    assert by_text is not None
    assert by_text.pod.resources == {"limits": {"cpu": "500m", GPU: "2"}, "requests": {"memory": "4Gi"}}
    # KFP's driver reads a whole number as an empty text.
    assert by_number is not None
    assert by_number.pod.resources == {"limits": {"cpu": "500m"}, "requests": {"memory": "4Gi"}}


@pytest.mark.parametrize("wrong", [{"cpu": ""}, {"memory": "16gb"}, {"count": "one"}])
def test_an_amount_that_the_driver_cannot_read_ends_the_step_without_a_pod(
    wrong: dict[str, str], backend: Backend, tmp_path: Path
) -> None:
    compiler.Compiler().compile(sized, str(tmp_path / "sized.yaml"))
    given = {"cpu": "1", "memory": "0", "accelerator": GPU, "count": "0", "number": 0, **wrong}
    run = backend.run((tmp_path / "sized.yaml").read_text(), given)
    assert run.state == "FAILED"
    step = run.task("work")
    assert not step.attempts
    assert "quantities must match" in step.message


def compile_preparation(values: dict[str, Any]) -> str:
    """The first two steps of a pipeline."""

    @dsl.pipeline
    def preparation_alone(data_images: str) -> None:
        given = {"data_images": data_images}
        prepare(check("local", given), given)

    return compile_pipeline(preparation_alone, values=values_from(values, "team.yaml"))


@pytest.mark.parametrize("step", ["all", "prepare"])
def test_images_are_named_by_their_claim(step: str, backend: Backend, digits: Path, tmp_path: Path) -> None:
    install_package(backend)
    shutil.copytree(digits, tmp_path / "claim" / "tuning" / "digits")
    mounts = {"volume_claims": [{"claim": "team-work", "mount_path": "/mnt/team", "sub_path": "tuning"}]}
    pipeline = compile_preparation({"all": mounts} if step == "all" else {"steps": {step: mounts}})
    run = backend.run(pipeline, {"data_images": "pvc://team-work/tuning/digits"})
    assert run.state == "SUCCEEDED", run.explain()
    dataset = Dataset.load(backend.fetch(run.task("data-preparation").artifact("dataset"), tmp_path))
    assert dataset.source.uri == "pvc://team-work/tuning/digits"
    assert dataset.source.fingerprint == prepare_dataset(str(digits), tmp_path / "here").source.fingerprint


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("pvc://photos/flowers", "the step sees of claims only pvc://team-work/tuning; compile the pipeline with"),
        ("pvc://team-work/other", "all: {volume_claims: [{claim: team-work, mount_path: /mnt/team-work}]}"),
        ("pvc://team-work/tuning/flowers", "there is no such file or folder on the claim"),
    ],
)
def test_a_claim_that_is_not_mounted_is_told_in_the_first_step(place: str, told: str, backend: Backend) -> None:
    install_package(backend)
    mounts = {"volume_claims": [{"claim": "team-work", "mount_path": "/mnt/team", "sub_path": "tuning"}]}
    run = backend.run(compile_preparation({"all": mounts}), {"data_images": place})
    assert (run.state, list(run.states)) == ("FAILED", ["preflight"])
    message = run.task("preflight").message
    assert "data_images: " in message
    assert told in message


def test_a_pod_gets_what_the_values_file_says(backend: Backend) -> None:
    @dsl.pipeline
    def reporting() -> str:
        return report().outputs["found"]  # type: ignore[no-any-return]

    settings = {
        "env": {"TEAM": "vision"},
        "secrets": [{"name": "team-s3", "env": {"KEY": "key"}, "mount_path": "/keys"}],
        "config_maps": [{"name": "settings", "mount_path": "/settings"}],
        "volume_claims": [{"claim": "team-work", "mount_path": "/team", "sub_path": "tuning"}],
        "shared_memory": "128Mi",
        "labels": {"team": "vision"},
        "annotations": {"sidecar.istio.io/inject": "false"},
        "node_selector": {"gpu": "a100"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "retries": {"count": 1},
        "security_context": {"run_as_user": USER},
    }
    run = backend.run(compile_pipeline(reporting, values=values_from({"all": settings}, "team.yaml")))
    assert run.state == "SUCCEEDED", run.explain()
    step = run.task("report")
    assert step.parameters == {"found": f"vision, secret, AKIA, fast, tried, {USER} 128\n"}
    assert len(step.attempts) == 2
    assert step.prepared is not None
    pod = step.prepared.pod
    assert pod.metadata == {"labels": settings["labels"], "annotations": settings["annotations"]}
    assert (pod.more["nodeSelector"], pod.more["tolerations"]) == (settings["node_selector"], settings["tolerations"])
