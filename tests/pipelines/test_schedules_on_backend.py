"""Recurring runs and caching on the stand-in for KFP's backend: what runs again, what does not, and where."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from kfp import dsl
from PIL import Image

from kfp_image_tuning.components.data_processing.preflight import preflight
from kfp_image_tuning.delivery.compilation import compile_pipeline
from kfp_image_tuning.delivery.values_file import values_from
from kfp_image_tuning.pipelines.image_tuning import PIPELINES
from tests.emulators.kfp_backend import Backend, Run
from tests.pipelines.component_environment import declared_environment
from tests.pipelines.small_runs import IMAGES, ONE_THREAD, SMALL_RUN, config_maps

pytestmark = pytest.mark.slow

VALUES = {"steps": {"search": {"volume_claims": [{"claim": "work", "mount_path": "/searches"}]}}}


class Schedule(NamedTuple):
    """A backend, what its recurring runs run, and the claim that they work on."""

    backend: Backend
    pipeline: str
    claim: Path

    def start(self, **parameters: Any) -> Run:
        """One run, as a recurring run with a pinned version and caching on makes it."""
        return self.backend.start(self.pipeline, {**SMALL_RUN, **parameters}, caching=True, pinned=True)

    def states_when_searching(self, run: Run) -> dict[str, str]:
        """The run's states when its search is under way, or over; then it is terminated."""
        while (states := run.states).get("local-tuning", "PENDING") == "PENDING":
            assert run.state == "RUNNING", run.explain()
            time.sleep(0.05)
        self.backend.terminate(run)
        run.wait(60)
        return states


@pytest.fixture(scope="module")
def schedule(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Schedule]:
    folder = tmp_path_factory.mktemp("schedule")
    claim = folder / "claim"
    claim.mkdir()
    pipeline = compile_pipeline(PIPELINES["local"], values=values_from(VALUES, "values"))
    with Backend(
        folder / "backend",
        declared_environment(),
        environment=ONE_THREAD,
        config_maps=config_maps(),
        claims={"work": claim},
        death_seconds=0.1,
    ) as backend:
        yield Schedule(backend, pipeline, claim)


@pytest.mark.timeout(300)
def test_caching_answers_for_the_preparation_of_the_same_images_and_for_nothing_else(
    schedule: Schedule, digits: Path, tmp_path: Path
) -> None:
    schedule.backend.store.put(digits, IMAGES)
    first = schedule.start().wait()
    assert first.state == "SUCCEEDED", first.explain()
    assert set(first.states.values()) == {"SUCCEEDED"}

    assert schedule.states_when_searching(schedule.start()) == {
        "preflight": "SUCCEEDED",
        "data-preparation": "CACHED",
        "local-tuning": "RUNNING",
    }

    name = next(digits.glob("*/*.png")).relative_to(digits)
    Image.new("L", (8, 8), 77).save(tmp_path / "changed.png")
    schedule.backend.store.put(tmp_path / "changed.png", f"{IMAGES}/{name}")
    assert schedule.states_when_searching(schedule.start())["data-preparation"] == "SUCCEEDED"


@pytest.mark.timeout(300)
def test_each_run_searches_in_a_work_directory_of_its_own(schedule: Schedule, digits: Path) -> None:
    schedule.backend.store.put(digits, IMAGES)
    runs = [schedule.start(tune_work_directory="/searches/{run}") for _ in range(2)]
    while len(list(schedule.claim.glob("*/search"))) < 2:
        assert "FAILED" not in {run.state for run in runs}, runs[0].explain() + runs[1].explain()
        time.sleep(0.05)
    for run in runs:
        schedule.backend.terminate(run)
    assert {path.name for path in schedule.claim.iterdir()} == {run.run_id for run in runs}


def test_each_item_of_a_loop_may_have_a_work_directory_of_its_own(schedule: Schedule) -> None:
    @dsl.pipeline(name="loop")
    def loop() -> None:
        with dsl.ParallelFor(["roses", "tulips"]) as item:
            run, work = dsl.PIPELINE_JOB_ID_PLACEHOLDER, f"/work/{{run}}/{item}"
            preflight(engine="local", run_id=run, data_images=f"minio://images/{item}", tune_work_directory=work)

    run = schedule.backend.run(compile_pipeline(loop))
    assert run.state == "SUCCEEDED", run.explain()
    given = {task.parameters["tune_work_directory"] for task in run.tasks if task.name == "preflight"}
    assert given == {f"/work/{run.run_id}/roses", f"/work/{run.run_id}/tulips"}


def test_macro_that_a_recurring_run_leaves_as_it_is_is_refused_before_anything_is_spent(schedule: Schedule) -> None:
    run = schedule.start(tune_work_directory="/searches/[[RunUUID]]").wait()
    assert run.states == {"preflight": "FAILED"}
    message = run.task("preflight").message
    assert "tune_work_directory: '/searches/[[RunUUID]]' still holds [[RunUUID]]" in message
    assert "write {run} for the run's identity" in message
