"""Trials as Katib's pods run them: the wrapped command, the mounted code, real training."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kfp_image_tuning.core.errors import EngineError, StoreError
from kfp_image_tuning.core.installed_code import KEY, MOUNT_PATH
from kfp_image_tuning.core.object_store import open_place
from kfp_image_tuning.dataset.document import Dataset
from kfp_image_tuning.delivery.package_archive import build_archive
from kfp_image_tuning.engines.katib.pod.dataset_download import fetch_dataset
from kfp_image_tuning.engines.katib.pod.orphan_watch import FILE_NAME
from kfp_image_tuning.engines.katib.pod.trial import TrialSettings, training_command
from kfp_image_tuning.engines.katib.request.experiment import METRICS_FILTER, build_experiments
from kfp_image_tuning.model.model_files import load_model
from kfp_image_tuning.search.budget import Budget
from kfp_image_tuning.search.search import Search
from kfp_image_tuning.search.search_space import SearchSpace
from kfp_image_tuning.steps.tuning_settings import summarize
from tests.emulators.katib_pods import collect_metrics, make_trial_job, wrap_command
from tests.emulators.object_store import object_store
from tests.engines.katib.searches import make_options

pytestmark = pytest.mark.slow

ASSIGNMENTS = {
    "learning_rate": "0.01",
    "mini_batch_size": "16",
    "momentum_position": "0.3333",
    "weight_decay_position": "0",
}


class Pod:
    """A pod's files in a folder, and its container's command as a local process."""

    def __init__(self, folder: Path, dataset: Path, *, epochs: int, early_stopping: bool, **options: Any) -> None:
        prepared = Dataset.load(dataset)
        space = SearchSpace.customized({"optimizer": "sgd", "mini_batch_size": {"min": 8, "max": 64}})
        search = Search.for_dataset(space, summarize(prepared), epochs=epochs, budget=Budget(max_trials=3), seed=3)
        (experiment,) = build_experiments(search, make_options(namespace="team", run="r", **options))
        self.experiment = experiment.name
        self.job = make_trial_job(experiment.document, f"{experiment.name}-abc", ASSIGNMENTS)
        (container,) = self.job["spec"]["template"]["spec"]["containers"]
        self.scratch, self.models, self.log = folder / "scratch", folder / "models", folder / "log" / "metrics.log"
        for place in (self.scratch, self.models, self.log.parent):
            place.mkdir(parents=True)
        code = self._mount_code(folder)
        places = {MOUNT_PATH: str(code), "/trial/data": str(dataset), "/trial/models": str(self.models)}
        places["/trial/scratch"] = str(self.scratch)
        command = wrap_command(container["command"], early_stopping=early_stopping, metrics_file=str(self.log))
        self.command = [self._localize(word, places) for word in command]
        given = {
            entry["name"]: self._localize(entry["value"], places) for entry in container["env"] if "value" in entry
        }
        binaries = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        # What the image lacks is here already.
        self.environment = {**given, "PATH": binaries, "TRIAL_PACKAGES": "", "OMP_NUM_THREADS": "1"}

    @staticmethod
    def _localize(text: str, places: dict[str, str]) -> str:
        for place, local in places.items():
            if text.startswith(place) or f" {place}/" in text:
                return text.replace(f"{place}/", f"{local}/") if place in text[1:] else text.replace(place, local, 1)
        return text

    @staticmethod
    def _mount_code(folder: Path) -> Path:
        code = folder / "code"
        code.mkdir()
        (code / KEY).write_bytes(build_archive())
        return code

    def start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self.command, env=self.environment, cwd=self.scratch)

    def run(self) -> int:
        return self.start().wait(timeout=120)


def test_a_trial_trains_and_katib_collects_its_objective(tmp_path: Path, digits_dataset: Path) -> None:
    pod = Pod(tmp_path, digits_dataset, epochs=3, early_stopping=True)
    status = pod.run()
    log = pod.log.read_text()
    assert status == 0, log
    # The code that ran is the mounted one.
    assert (pod.scratch / "packages" / "kfp_image_tuning" / "trainer" / "training.py").is_file()
    document = load_model(pod.models / pod.experiment / f"{pod.experiment}-abc").document
    metrics = collect_metrics(log, ["Validation-accuracy", "Train-accuracy"], [METRICS_FILTER])
    assert float(metrics["Validation-accuracy"]["max"]) == pytest.approx(document.validation_accuracy, abs=1e-6)
    assert document.hyperparameters["learning_rate"] == "0.01"
    assert float(document.hyperparameters["momentum"]) == pytest.approx(0.9, abs=1e-3)
    assert float(document.hyperparameters["weight_decay"]) == 0
    (marker,) = pod.log.parent.glob("*.pid")
    assert marker.read_text() == "completed\n"


def test_a_failed_training_fails_the_container_and_says_why(tmp_path: Path, digits_dataset: Path) -> None:
    pod = Pod(tmp_path, digits_dataset, epochs=1, early_stopping=True, initial_model="/nowhere/model")
    assert pod.run() == 1
    assert "/nowhere/model" in pod.log.read_text()
    assert not list(pod.log.parent.glob("*.pid"))


def test_a_trial_whose_launcher_is_gone_ends_itself_and_leaves_its_best_epoch(
    tmp_path: Path, digits_dataset: Path
) -> None:
    pod = Pod(tmp_path, digits_dataset, epochs=5000, early_stopping=False, orphan_timeout_seconds=4.0)
    signs = Path(pod.environment["TRIAL_HEARTBEAT"], FILE_NAME)
    signs.parent.mkdir()
    process = pod.start()
    model = pod.models / pod.experiment / f"{pod.experiment}-abc" / "model.json"
    deadline = time.monotonic() + 120
    while not model.is_file() and process.poll() is None:
        assert time.monotonic() < deadline
        signs.write_text(json.dumps({"written_at": time.time(), "is_over": False}))
        time.sleep(0.2)
    last = time.monotonic()
    assert process.wait(120) == 128 + signal.SIGTERM
    assert time.monotonic() - last > 3.5
    assert "The launcher of this search has given no sign of life" in pod.log.read_text()
    load_model(model.parent)


def test_a_trial_that_is_ended_early_leaves_its_best_epoch(tmp_path: Path, digits_dataset: Path) -> None:
    pod = Pod(tmp_path, digits_dataset, epochs=500, early_stopping=True)
    process = pod.start()
    model = pod.models / pod.experiment / f"{pod.experiment}-abc" / "model.json"
    deadline = time.monotonic() + 120
    while not model.is_file() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # As the collector does: a marker, then a signal to the only child of the shell.
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    (pod.log.parent / f"{process.pid}.pid").write_text("early-stopped")
    os.kill(int(child), signal.SIGTERM)
    assert process.wait(timeout=120) == 0
    assert load_model(model.parent).document.epoch >= 0
    assert "complete" in (pod.log.parent / f"{process.pid}.pid").read_text()


def test_a_trial_whose_pod_is_told_to_end_leaves_its_best_epoch(tmp_path: Path, digits_dataset: Path) -> None:
    pod = Pod(tmp_path, digits_dataset, epochs=500, early_stopping=True)
    process = pod.start()
    model = pod.models / pod.experiment / f"{pod.experiment}-abc" / "model.json"
    deadline = time.monotonic() + 120
    while not model.is_file() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # As Kubernetes does, and no more: a signal to the container's first process, the shell.
    process.send_signal(signal.SIGTERM)
    # The branch for trials that failed ends with status 1.
    assert process.wait(timeout=120) == 1
    assert load_model(model.parent).document.epoch >= 0
    assert not list(pod.log.parent.glob("*.pid"))


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """An S3 server with an empty bucket."""
    with object_store("images") as access, pytest.MonkeyPatch.context() as patch:
        for name, value in access.items():
            patch.setenv(name, value)
        yield "minio://images"


def test_a_trial_works_from_and_to_an_object_store(tmp_path: Path, digits_dataset: Path, bucket: str) -> None:
    for folder in ("", "train", "validation"):
        names = [path.name for path in (digits_dataset / folder).iterdir() if path.is_file()]
        open_place(f"{bucket}/digits/{folder}".rstrip("/")).upload(digits_dataset / folder, names)
    options = {"data": f"{bucket}/digits", "output_uri": f"{bucket}/models", "pods": {"image": "ours"}}
    pod = Pod(tmp_path, digits_dataset, epochs=1, early_stopping=False, **options)
    pod.environment |= {name: os.environ[name] for name in os.environ if name.startswith("AWS_")}
    assert pod.run() == 0, pod.log.read_text()
    uri = f"{bucket}/models/{pod.experiment}/{pod.experiment}-abc"
    open_place(uri).download(("model.json", "model.safetensors"), tmp_path / "best")
    assert load_model(tmp_path / "best").document.epoch == 0


def test_a_data_set_that_is_not_there_is_named(tmp_path: Path, bucket: str) -> None:
    with pytest.raises(StoreError, match=r"minio://images/nothing/dataset.json: is not there .*check the bucket and"):
        fetch_dataset(f"{bucket}/nothing", tmp_path)


def settings(**environment: str) -> TrialSettings:
    needed = {"TRIAL_NAME": "t", "TRIAL_DATA": "/trial/data", "TRIAL_MODELS": "/trial/models", "HOME": "/trial/scratch"}
    hyperparameters = json.dumps({"fixed": {}, "tuned": {}})
    return TrialSettings.from_environment({**needed, "TRIAL_HYPERPARAMETERS": hyperparameters, **environment})


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, ["-m kfp_image_tuning.trainer"]),
        (
            {"TRIAL_PROCESSES": "4"},
            ["torch.distributed.run --standalone --nproc-per-node=4 -m kfp_image_tuning.trainer"],
        ),
        ({"PET_NNODES": "2", "TRIAL_PROCESSES": "4"}, ["-m torch.distributed.run -m kfp_image_tuning.trainer"]),
        ({"TRIAL_INITIAL_MODEL": "s3://a/b"}, ["--initial-model s3://a/b"]),
    ],
)
def test_a_trial_trains_on_all_its_gpus(environment: dict[str, str], words: list[str]) -> None:
    command = " ".join(training_command(settings(**environment), "/trial/data", Path("/trial/scratch/h.json")))
    for word in words:
        assert word in command


def test_only_the_first_machine_leaves_the_model() -> None:
    assert settings().is_first
    assert not settings(PET_NNODES="2", PET_NODE_RANK="1").is_first


def test_a_program_started_by_hand_says_what_is_missing() -> None:
    with pytest.raises(EngineError, match="TRIAL_NAME, TRIAL_HYPERPARAMETERS"):
        TrialSettings.from_environment({"TRIAL_DATA": "a", "TRIAL_MODELS": "b"})
