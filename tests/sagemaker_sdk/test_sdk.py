"""The job as objects of the SageMaker SDK is the job that we send ourselves; the SDK knows the same images."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sagemaker.core import image_uris
from sagemaker.core.resources import HyperParameterTuningJob
from sagemaker.core.utils import utils

from kfp_image_tuning.core.errors import EngineError
from kfp_image_tuning.engines.sagemaker.request import training_image as images
from kfp_image_tuning.engines.sagemaker.request.options import InstanceConfig, WarmStart
from kfp_image_tuning.engines.sagemaker.request.sdk_objects import to_sagemaker_sdk
from kfp_image_tuning.engines.sagemaker.request.training_image import is_built_in, training_image
from kfp_image_tuning.search.budget import Budget
from kfp_image_tuning.search.search import Search
from tests.emulators.sagemaker import SageMakerEmulator
from tests.engines.sagemaker.test_validation import GRID
from tests.engines.sagemaker.tuning_jobs import OPTIONS, credentials, run_on, small_search

EVERYTHING: dict[str, Any] = {
    "instance_configs": (InstanceConfig(instance_type="ml.p3.2xlarge"), InstanceConfig(instance_type="ml.p2.xlarge")),
    "spot": True,
    "volume_kms_key": "alias/volumes",
    "output_kms_key": "alias/models",
    "subnets": ("subnet-1",),
    "security_groups": ("sg-1",),
    "encrypt_traffic": True,
    "retry_attempts": 2,
    "pending_timeout_seconds": 3600,
    "env": {"NCCL_DEBUG": "INFO", "EMPTY": ""},
    "tags": {"team": "vision"},
    "initial_model": "s3://images/old/model.tar.gz",
    "stop_on_convergence": True,
}
BUDGET = Budget(max_trials=20, parallel_trials=3, target_objective=0.99, patience=8)
JOBS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("one definition for each optimizer, seed 0", {}, {}),
    ("one definition", {"search_mode": "flat", "seed": 7}, {}),
    ("everything at once", {"budget": BUDGET}, EVERYTHING),
    ("open network", {}, {"network_isolation": False}),
    ("hyperband", {"strategy": "hyperband", "epochs": 9}, {}),
    ("grid", {"strategy": "grid", "changes": GRID, "budget": Budget(max_trials=20)}, {}),
    ("autotune", {"changes": {"momentum": 0.5}}, {"autotune": True, "auto_parameters": ("momentum",)}),
    ("images", {"search_mode": "flat", "changes": {"resize": 32}}, {"content": "images"}),
    ("augmented manifest", {}, {"content": "augmented_manifest", "input_mode": "Pipe"}),
    ("shards", {}, {"record_shards": 4, "shard_data": True, "nodes": 2}),
]


class Wire:
    """The emulator, and the requests for a tuning job that arrived there."""

    def __init__(self, emulator: SageMakerEmulator) -> None:
        self.emulator = emulator
        self.requests: list[dict[str, Any]] = []
        self._call = emulator.service.call
        emulator.service.call = self._note  # type: ignore[method-assign]

    def _note(self, operation: str, request: Any, region: str) -> dict[str, Any]:
        if operation == "CreateHyperParameterTuningJob":
            self.requests.append(json.loads(json.dumps(request)))
        return self._call(operation, request, region)

    def create_by_sdk(self, search: Search, **options: Any) -> HyperParameterTuningJob:
        return HyperParameterTuningJob.create(
            **to_sagemaker_sdk(search, replace(OPTIONS, **options)), region=OPTIONS.region
        )


@pytest.fixture(scope="module")
def emulator() -> Iterator[SageMakerEmulator]:
    """One for all: the SDK keeps the first client that it makes, for the whole process."""
    with SageMakerEmulator(seconds_per_poll=600.0) as running, credentials(AWS_ENDPOINT_URL_SAGEMAKER=running.url):
        yield running


@pytest.fixture
def wire(emulator: SageMakerEmulator) -> Iterator[Wire]:
    emulator.service.tuning_jobs.clear()
    call = emulator.service.call
    yield Wire(emulator)
    emulator.service.call = call  # type: ignore[method-assign]


@pytest.mark.parametrize(("search", "options"), [job[1:] for job in JOBS], ids=[job[0] for job in JOBS])
def test_sdk_sends_what_we_send(wire: Wire, tmp_path: Path, search: dict[str, Any], options: dict[str, Any]) -> None:
    sought = small_search(**search)
    run_on(wire.emulator, sought, tmp_path, **options)
    wire.emulator.service.tuning_jobs.clear()
    made = wire.create_by_sdk(sought, **options)
    ours, theirs = wire.requests
    assert json.dumps(theirs, sort_keys=True) == json.dumps(ours, sort_keys=True)
    assert made.hyper_parameter_tuning_job_name == ours["HyperParameterTuningJobName"]


def test_warm_start_is_sent_alike(wire: Wire, tmp_path: Path) -> None:
    parent = run_on(wire.emulator, small_search(search_mode="flat"), tmp_path).engine_details["tuning_job"]
    warm = WarmStart(parents=(parent,), kind="TransferLearning")
    child = small_search(search_mode="flat", seed=3)
    run_on(wire.emulator, child, tmp_path, warm_start=warm)
    _, ours = wire.requests
    del wire.emulator.service.tuning_jobs[ours["HyperParameterTuningJobName"]]
    wire.create_by_sdk(child, warm_start=warm)
    assert wire.requests[-1] == ours
    assert len(wire.requests) == 3


def test_our_launcher_attaches_to_a_job_of_the_sdk(wire: Wire, tmp_path: Path) -> None:
    wire.create_by_sdk(small_search())
    result = run_on(wire.emulator, small_search(), tmp_path)
    assert len(wire.emulator.service.tuning_jobs) == 1
    assert len(result.trials) == 6


def test_what_the_sdk_would_leave_out_is_refused() -> None:
    with pytest.raises(EngineError, match=r"would send another request than ours, it changes Tags\[0\]\.Value"):
        to_sagemaker_sdk(small_search(), replace(OPTIONS, tags={"team": ""}))


def test_sdk_drops_zeros_that_are_not_kept_for_it() -> None:
    """The trap for which zeros are wrapped; should this fail, the wrapping can go."""
    from sagemaker.core.shapes import HyperbandStrategyConfig

    assert utils.serialize(HyperbandStrategyConfig(min_resource=0, max_resource=1)) == {"MaxResource": 1}


def test_table_of_images_is_the_sdks() -> None:
    table = json.loads(Path(images.__file__).with_name("image_registries.json").read_text())
    for region in table["registries"]:
        assert training_image(region) == image_uris.retrieve("image-classification", region)
    configuration = Path(image_uris.__file__).with_name("image_uri_config") / "image-classification.json"
    known = json.loads(configuration.read_text())["versions"]["1"]["registries"]
    assert known == table["registries"]


def test_region_that_the_table_does_not_have_yet_comes_from_the_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = training_image("eu-west-1")
    table = json.loads(Path(images.__file__).with_name("image_registries.json").read_text())
    del table["registries"]["eu-west-1"]
    monkeypatch.setattr(images, "_registries", lambda: table)
    assert training_image("eu-west-1") == expected
    assert is_built_in(expected)
    with pytest.raises(EngineError, match="'nowhere-1' is not among the 36 regions"):
        training_image("nowhere-1")
