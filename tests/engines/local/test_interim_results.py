"""What a search has reached is in the store of the run's artifacts, and a retried run continues with it."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest

from kfp_image_tuning.core.object_store import StorePlace, open_place
from kfp_image_tuning.dataset.document import Dataset
from kfp_image_tuning.engines.local.interim_results import (
    SCHEMA_VERSION,
    STATE_NAME,
    InterimResults,
    find_interim_place,
)
from kfp_image_tuning.engines.local.journal import JOURNAL_NAME, Journal, read_records
from kfp_image_tuning.engines.local.trial_records import Record
from kfp_image_tuning.options.declared import LocalOptions
from kfp_image_tuning.search.result import TuningResult
from kfp_image_tuning.steps.local_tuning import launch
from kfp_image_tuning.steps.tuning_outcome import TuningOutcome
from kfp_image_tuning.steps.tuning_settings import TuningSettings
from tests.emulators.object_store import object_store

pytestmark = pytest.mark.slow

RUN = "5f2c9c1e-5f0c-4f8e-9a51-8f1f3a2b7c60"
SEARCH = TuningSettings(
    search_space={"optimizer": ["sgd"], "mini_batch_size": 16, "num_layers": 20},
    max_trials=2,
    parallel_trials=1,
    epochs=8,
    seed=3,
    stop_bad_trials=False,
)
HERE = "tests.engines.local.test_interim_results"


@pytest.fixture(autouse=True)
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty store that this process and its children reach."""
    with object_store("mlpipeline") as access:
        for name, value in access.items():
            monkeypatch.setenv(name, value)
        bucket = open_place("minio://mlpipeline/v2").store
        yield
        # moto keeps buckets of one name for all servers of a process.
        obstore.delete(bucket, [entry["path"] for entries in obstore.list(bucket) for entry in entries])


def search_in_pod(dataset: Path, folder: Path, attempt: str) -> TuningOutcome:
    """One attempt of the step; each has artifacts and files of its own, as pods have."""
    return launch(
        SEARCH,
        LocalOptions(),
        dataset=str(dataset),
        model=str(folder / attempt / "model"),
        result=str(folder / attempt / "result.json"),
        artifact=address(attempt),
        run_id=RUN,
    )


def address(attempt: str) -> str:
    return f"minio://mlpipeline/v2/artifacts/pipeline/{RUN}/local-tuning/{attempt}/best_model"


def kept_place(dataset: Path) -> StorePlace:
    place = find_interim_place(address("any"), "", RUN, SEARCH.to_search(Dataset.load(dataset)).with_prior(), "")
    assert place is not None
    return place


def kept_records(dataset: Path) -> list[Record]:
    state = kept_place(dataset).read(STATE_NAME)
    return [] if state is None else read_records(json.loads(state)["journal"].encode())


def kill_first_attempt(dataset: Path, folder: Path) -> list[Record]:
    """Kill a pod's process in its second trial, when some of that is kept; returns what is kept."""
    program = f"import sys; from pathlib import Path; from {HERE} import search_in_pod as search; "
    program += "search(Path(sys.argv[1]), Path(sys.argv[2]), 'first')"
    process = subprocess.Popen([sys.executable, "-c", program, str(dataset), str(folder)])
    try:
        deadline = time.monotonic() + 60
        while len(records := kept_records(dataset)) < 2 or not records[1].trial.history:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    return kept_records(dataset)


@pytest.mark.timeout(180)
def test_another_pod_of_the_run_goes_on_with_trials_and_epochs(
    digits_dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = kill_first_attempt(digits_dataset, tmp_path)
    capfd.readouterr()
    outcome = search_in_pod(digits_dataset, tmp_path, "second")
    said = capfd.readouterr().out
    first, second = (record.trial for record in before)
    assert f"Found 1 finished trial (best {first.objective:.4f}) and 1 that was cut off after " in said
    result = TuningResult.load(tmp_path / "second" / "result.json")
    assert [trial.status for trial in result.trials] == ["completed", "completed"]
    assert result.trials[0].finished_at == first.finished_at
    # Not trained again: the times of these epochs are the first pod's.
    assert result.trials[1].history[: len(second.history)] == second.history
    assert outcome.best_objective == max(trial.objective or 0.0 for trial in result.trials)
    model = json.loads((tmp_path / "second" / "model" / "model.json").read_bytes())
    assert model["validation_accuracy"] == outcome.best_objective


@pytest.mark.timeout(180)
def test_what_is_not_whole_is_not_used(digits_dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    search_in_pod(digits_dataset, tmp_path, "first")
    place = kept_place(digits_dataset)
    state = json.loads(place.read(STATE_NAME) or b"")
    models = [name for name in state["files"] if name.endswith("/model/model.safetensors")]
    assert len(models) == 2
    place.write(models[0], b"of somebody else")
    capfd.readouterr()
    search_in_pod(digits_dataset, tmp_path, "second")
    said = capfd.readouterr().out
    assert f"the search starts from scratch: {models[0]} is not what was stored" in said
    times = [
        TuningResult.load(tmp_path / attempt / "result.json").trials[0].started_at for attempt in ("first", "second")
    ]
    assert times[0] != times[1]


@pytest.mark.timeout(180)
def test_a_store_that_is_away_is_told_once_and_does_not_matter(
    digits_dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    outcome = search_in_pod(digits_dataset, tmp_path, "first")
    assert outcome.best_trial
    said = capfd.readouterr().out
    assert said.count("refuses the connection") == 2
    assert "cannot be kept for a retry of the run; the search continues" in said


def test_attempt_that_ended_before_its_first_checkpoint_leaves_its_journal_alone(
    digits_dataset: Path, tmp_path: Path
) -> None:
    journal = '{"event": "search", "schema_version": 1}\n'
    place = kept_place(digits_dataset)
    place.write(STATE_NAME, json.dumps({"schema_version": SCHEMA_VERSION, "journal": journal, "files": {}}).encode())
    InterimResults(place, tmp_path / "search", print).restore()
    assert (tmp_path / "search" / JOURNAL_NAME).read_text() == journal


def test_a_step_without_keys_searches_all_the_same(
    digits_dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    assert search_in_pod(digits_dataset, tmp_path, "first").best_trial
    assert "not kept for a retry of the run: minio://mlpipeline: there are no keys" in capfd.readouterr().out


@pytest.mark.timeout(180)
def test_what_could_not_be_read_at_the_start_is_not_replaced(
    digits_dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    search_in_pod(digits_dataset, tmp_path, "first")
    before = kept_place(digits_dataset).read(STATE_NAME)
    there = kept_place(digits_dataset)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    interim = InterimResults(kept_place(digits_dataset), tmp_path / "search", print)
    interim.restore()
    # The store is back.
    interim._place = there
    Journal(tmp_path / "search", SEARCH.to_search(Dataset.load(digits_dataset)).with_prior()).close()
    with interim.keeping():
        pass
    assert "what an earlier attempt has reached stays there" in capfd.readouterr().out
    assert before is not None
    assert there.read(STATE_NAME) == before


def test_only_the_same_search_of_the_same_run_is_found(digits_dataset: Path) -> None:
    search = SEARCH.to_search(Dataset.load(digits_dataset)).with_prior()
    place = kept_place(digits_dataset)
    assert place.uri.startswith(f"minio://mlpipeline/v2/artifacts/pipeline/{RUN}/search-state/")
    other = find_interim_place(address("any"), "", RUN, search, "s3://models/other")
    assert other is not None
    assert other.uri != place.uri
    assert find_interim_place(address("any"), "", "", search, "") is None
    assert find_interim_place("/tmp/artifacts/best_model", "", RUN, search, "") is None
