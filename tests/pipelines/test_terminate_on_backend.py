"""Terminate, retry and lost pods on the stand-in for KFP's backend, with a search in one pod."""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from kfp_image_tuning.delivery.compilation import compile_pipeline
from kfp_image_tuning.pipelines.image_tuning import PIPELINES
from kfp_image_tuning.search.result import TuningResult
from tests.emulators.kfp_backend import Backend, Run
from tests.emulators.pod_end import DEATHS
from tests.pipelines.component_environment import declared_environment
from tests.pipelines.small_runs import IMAGES, ONE_THREAD, SMALL_RUN, config_maps
from tests.pipelines.terminating import terminate, wait_for_phase

pytestmark = pytest.mark.slow

EPOCHS = 40
SEARCH: dict[str, Any] = {
    **SMALL_RUN,
    "tune_max_trials": 3,
    "tune_epochs": EPOCHS,
    "tune_parallel_trials": 1,
    "tune_stop_bad_trials": False,
}
FOUND = re.compile(r"Found (\d+) finished trials?(?: \(best [\d.]+\))?(?: and 1 that was cut off after (\d+) epochs?)?")


@pytest.fixture
def backend(digits: Path, tmp_path: Path) -> Iterator[Backend]:
    environment = declared_environment()
    with Backend(
        tmp_path / "backend", environment, environment=ONE_THREAD, config_maps=config_maps(), pod_again_seconds=0.5
    ) as backend:
        backend.store.put(digits, IMAGES)
        yield backend


def epochs_in(log: str) -> int:
    """How many epochs a search has done since it began."""
    return len(re.findall(r"trial-\d+ epoch \d+/", log))


def epochs_found(run: Run) -> int:
    """How many epochs, of finished trials and one that was cut off, a search has found when it began."""
    said = FOUND.search(run.task("local-tuning").log)
    return int(said[1]) * EPOCHS + int(said[2] or 0) if said else 0


@pytest.mark.timeout(1200)
def test_a_run_that_is_terminated_in_each_phase_goes_on_where_it_was(backend: Backend, tmp_path: Path) -> None:
    backend.death_seconds = DEATHS[0]
    run = backend.start(compile_pipeline(PIPELINES["local"]), SEARCH)
    for task in ("preflight", "data-preparation"):
        wait_for_phase(run, task, lambda log: True)
        terminate(backend, run)
        assert run.states[task] == "FAILED"
        backend.retry(run)
    found = 0
    for seconds, following in pairwise((*DEATHS, DEATHS[0])):
        wait_for_phase(run, "local-tuning", lambda log: epochs_in(log) >= 10)
        reached = found + epochs_in(run.task("local-tuning").log)
        terminate(backend, run)
        # Of the next pod.
        backend.death_seconds = following
        backend.retry(run)
        wait_for_phase(run, "local-tuning", lambda log: "Going on with" in log)
        before, found = found, epochs_found(run)
        print(f"gone {seconds} s after the signal, with {reached} epochs: the retry found {found}")
        assert found > before
    wait_for_phase(run, "local-tuning", lambda log: epochs_in(log) >= 10)
    backend.delete_pod(run, "local-tuning")
    run.wait(400)
    assert run.state == "SUCCEEDED", run.explain()
    assert epochs_found(run) > found
    result = TuningResult.load(backend.fetch(run.task("local-tuning").artifact("tuning_result"), tmp_path))
    assert [trial.status for trial in result.trials] == ["completed"] * 3
    assert [len(trial.history) for trial in result.trials] == [EPOCHS] * 3
