"""The stand-in for KFP's API as `kfp.Client` finds it: two steps that want nothing but Python."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kfp
import kfp_server_api
import pytest
from kfp import compiler, dsl

from tests.emulators.kfp_backend import Backend
from tests.emulators.kfp_backend.api import Api

pytestmark = pytest.mark.slow

PYTHON = Path("/usr/bin")


@dsl.container_component
def greet(name: str, greeting: dsl.OutputPath(str)) -> dsl.ContainerSpec:  # type: ignore[valid-type]
    program = "import pathlib, sys; path = pathlib.Path(sys.argv[2]); path.write_text(sys.argv[1]); assert sys.argv[1]"
    return dsl.ContainerSpec(image="python:3.11-slim", command=["python3", "-c", program], args=[name, greeting])


@dsl.container_component
def wait(greeting: str, seconds: float) -> dsl.ContainerSpec:
    program = "import sys, time; print(sys.argv[1], flush=True); time.sleep(float(sys.argv[2]))"
    return dsl.ContainerSpec(image="python:3.11-slim", command=["python3", "-c", program], args=[greeting, seconds])


@dsl.pipeline(name="greeting")
def greeting_pipeline(name: str, seconds: float = 0.0) -> None:
    wait(greeting=greet(name=name).outputs["greeting"], seconds=seconds)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("package") / "pipeline.yaml")
    compiler.Compiler().compile(greeting_pipeline, path)
    return path


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with Backend(tmp_path / "backend", PYTHON, death_seconds=0.2) as backend, Api(backend) as api:
        yield api


@pytest.fixture
def client(api: Api) -> kfp.Client:
    return kfp.Client(host=api.url)


def wait_until(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def states(run: kfp_server_api.V2beta1Run) -> dict[str, str]:
    return {task.display_name: task.state for task in run.run_details.task_details}


def test_a_run_of_a_package_ends_and_tells_states_and_no_error(client: kfp.Client, package: str) -> None:
    made = client.create_run_from_pipeline_package(package, {"name": "Ada"}, experiment_name="one")
    run = client.wait_for_run_completion(made.run_id, 60, sleep_duration=1)
    assert (run.state, run.error, states(run)) == ("SUCCEEDED", None, {"greet": "SUCCEEDED", "wait": "SUCCEEDED"})
    failed = client.create_run_from_pipeline_package(package, {"name": ""}, experiment_name="one")
    run = client.wait_for_run_completion(failed.run_id, 60, sleep_duration=1)
    assert (run.state, run.error, states(run)["greet"]) == ("FAILED", None, "FAILED")
    assert {entry.run_id for entry in client.list_runs(experiment_id=run.experiment_id).runs} == {
        made.run_id,
        failed.run_id,
    }
    client.delete_run(made.run_id)
    with pytest.raises(kfp_server_api.ApiException, match="404"):
        client.get_run(made.run_id)
    with pytest.raises(kfp_server_api.ApiException, match="nobody is not defined"):
        client.create_run_from_pipeline_package(package, {"nobody": "x"}, experiment_name="one")


def test_a_terminated_run_fails_and_its_retry_keeps_what_has_ended(api: Api, client: kfp.Client, package: str) -> None:
    made = client.create_run_from_pipeline_package(package, {"name": "Ada", "seconds": 15.0}, experiment_name="one")
    wait_until(lambda: any("Ada\n" in task.log for task in api.backend.runs[0].tasks if task.name == "wait"))
    client.terminate_run(made.run_id)
    run = wait_until(lambda: (found := client.get_run(made.run_id)).state == "FAILED" and found)
    assert states(run) == {"greet": "SUCCEEDED", "wait": "FAILED"}
    client.runs.run_service_retry_run(made.run_id)
    assert client.wait_for_run_completion(made.run_id, 60, sleep_duration=1).state == "SUCCEEDED"
    (greeting, waiting) = api.backend.runs[0].tasks
    assert (len(greeting.attempts), len(waiting.attempts)) == (1, 2)


def test_a_recurring_run_with_a_pinned_version_replaces_no_macro_until_it_is_disabled(
    api: Api, client: kfp.Client, package: str
) -> None:
    pipeline = client.upload_pipeline(package, pipeline_name="greeting")
    (version,) = client.list_pipeline_versions(pipeline.pipeline_id).pipeline_versions
    experiment = client.create_experiment("weekly")
    recurring = client.create_recurring_run(
        experiment.experiment_id,
        "weekly",
        interval_second=1,
        params={"name": "[[RunUUID]]"},
        pipeline_id=pipeline.pipeline_id,
        version_id=version.pipeline_version_id,
    )
    runs = wait_until(lambda: client.list_runs(experiment_id=experiment.experiment_id).runs)
    client.disable_recurring_run(recurring.recurring_run_id)
    assert runs[0].recurring_run_id == recurring.recurring_run_id
    assert client.wait_for_run_completion(runs[0].run_id, 60, sleep_duration=1).state == "SUCCEEDED"
    assert "[[RunUUID]]" in api.backend.runs[0].task("wait").log
    assert client.get_recurring_run(recurring.recurring_run_id).status == "DISABLED"
    client.delete_recurring_run(recurring.recurring_run_id)
    with pytest.raises(kfp_server_api.ApiException, match="existing pipeline versions"):
        client.delete_pipeline(pipeline.pipeline_id)
    client.delete_pipeline_version(pipeline.pipeline_id, version.pipeline_version_id)
    client.delete_pipeline(pipeline.pipeline_id)
    assert client.get_pipeline_id("greeting") is None
