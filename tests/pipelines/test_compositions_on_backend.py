"""The compiled pipeline within larger ones, on the stand-in for KFP's backend; first as the documents say."""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import components, dsl

from kfp_image_tuning.components.data_processing.data_preparation import data_preparation
from kfp_image_tuning.components.training.katib_tuning import katib_tuning
from kfp_image_tuning.delivery.compilation import compile_pipeline
from kfp_image_tuning.delivery.values_file import read_values
from kfp_image_tuning.pipelines.image_tuning import PIPELINES
from tests.emulators.kfp_backend import Backend, Run
from tests.emulators.kfp_backend.api import Api
from tests.pipelines.compiled_documents import compile_plainly
from tests.pipelines.component_environment import declared_environment
from tests.pipelines.small_runs import IMAGES, ONE_THREAD, SMALL_SEARCH, config_maps

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
DONE_TWICE = ["SUCCEEDED", "SUCCEEDED"]


@dsl.component(base_image="python:3.11-slim", install_kfp_package=False)
def deploy(model: dsl.Input[dsl.Model]) -> str:
    import os

    return " ".join(sorted(os.listdir(model.path)))


@dsl.component(base_image="python:3.11-slim", install_kfp_package=False)
def best_of(accuracies: list) -> float:  # type: ignore[type-arg]  # KFP knows the bare type only
    assert len(accuracies) == 3
    return float(max(accuracies))


@dsl.component(base_image="python:3.11-slim", install_kfp_package=False)
def notify(status: dsl.PipelineTaskFinalStatus) -> str:
    return f"{status.pipeline_task_name} {status.state} {status.error_code} {status.error_message}"


def code_of(document: str, words: str) -> str:
    """The one block of Python in a document that has these words."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(encoding="utf-8"), re.DOTALL)
    (block,) = [block for block in blocks if words in block]
    return str(block)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a pipeline.yaml, whose searches are small as it stands."""
    folder = tmp_path_factory.mktemp("compositions")
    values = folder / "values.yaml"
    values.write_text(yaml.safe_dump({"parameters": dict(SMALL_SEARCH)}))
    text = compile_pipeline(PIPELINES["local"], values=read_values(values))
    (folder / "pipeline.yaml").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def backend(folder: Path, digits: Path) -> Iterator[Backend]:
    with Backend(
        folder / "backend", declared_environment(), environment=ONE_THREAD, config_maps=config_maps()
    ) as backend:
        backend.store.put(digits, IMAGES)
        yield backend


def report_size(run: Run) -> None:
    print(f"{run.pipeline.name}: the Workflow is {run.workflow.bytes} bytes, {run.workflow.stored_bytes} as stored")


@pytest.mark.timeout(300)
def test_composition_of_the_documents_deploys_the_model(
    backend: Backend, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    block, same = (code_of(document, "load_component_from_file") for document in ("README.md", "docs/kubeflow.md"))
    assert block == same
    smaller = block.replace("tune_max_trials=40", "tune_max_trials=2").replace("=0.95", "=0.01")
    names: dict[str, Any] = {"deploy": deploy}
    monkeypatch.chdir(folder)
    exec(smaller, names)
    run = backend.run(compile_plainly(names["weekly_model"]), {"images": IMAGES}, caching=True)
    assert run.state == "SUCCEEDED", run.explain()
    assert run.task("deploy").parameters == {"Output": "model.json model.safetensors"}
    report_size(run)


@pytest.mark.timeout(300)
def test_three_whole_pipelines_in_a_loop_are_compared_and_those_that_pass_are_deployed(
    backend: Backend, folder: Path
) -> None:
    image_tuning = components.load_component_from_file(str(folder / "pipeline.yaml"))

    @dsl.pipeline(name="fleet")
    def fleet(images: str) -> None:
        with dsl.ExitHandler(notify()):
            with dsl.ParallelFor([0.01, 0.02, 1.0]) as minimum:
                tuned = image_tuning(data_images=images, eval_min_accuracy=minimum)
                with dsl.If(tuned.outputs["passed"] == True):  # noqa: E712  # KFP makes a condition of it
                    deploy(model=tuned.outputs["best_model"])
            best_of(accuracies=dsl.Collected(tuned.outputs["accuracy"]))

    run = backend.run(compile_plainly(fleet), {"images": IMAGES}, caching=True)
    assert run.state == "SUCCEEDED", run.explain()
    evaluations = [task for task in run.tasks if task.name == "model-evaluation"]
    assert len(evaluations) == 3
    passed = sorted(task.parameters["passed"] for task in evaluations)
    assert passed == [False, True, True], "no model of a search as small as this one is always right"
    assert sorted(task.state for task in run.tasks if task.name.startswith("condition")) == ["SKIPPED", *DONE_TWICE]
    assert [task.state for task in run.tasks if task.name == "deploy"] == DONE_TWICE
    assert run.task("notify").parameters == {"Output": "exit-handler-1 COMPLETE None None"}
    assert run.task("best-of").parameters["Output"] == max(task.parameters["accuracy"] for task in evaluations)
    report_size(run)


def test_exit_handler_is_told_of_a_pipeline_that_failed_but_not_why(backend: Backend, folder: Path) -> None:
    image_tuning = components.load_component_from_file(str(folder / "pipeline.yaml"))

    @dsl.pipeline(name="handled")
    def handled() -> None:
        with dsl.ExitHandler(notify()):
            image_tuning(data_images="nowhere")

    run = backend.run(compile_plainly(handled))
    assert run.state == "FAILED"
    assert "is not an absolute path" in run.task("preflight").message
    assert run.task("notify").parameters == {"Output": "exit-handler-1 COMPLETE None None"}


def test_settings_of_a_task_reach_katibs_trials_as_the_documents_say() -> None:
    names: dict[str, Any] = {"dsl": dsl, "data_preparation": data_preparation, "katib_tuning": katib_tuning}
    lines = ["def composed(images: str):", "    prepared = data_preparation(images=images)"]
    exec("\n".join(lines) + "\n" + textwrap.indent(code_of("docs/kubeflow.md", "tuned.set_accel"), "    "), names)
    documents = list(yaml.safe_load_all(compile_pipeline(dsl.pipeline(names["composed"], name="composed"))))
    executor = documents[0]["deploymentSpec"]["executors"]["exec-katib-tuning"]["container"]
    assert executor["resources"]["accelerator"]["resourceCount"] == "1"
    assert "RESOURCES" in str(documents[0]["components"]["comp-katib-tuning"]["taskConfigPassthroughs"])


def test_upload_run_and_schedule_of_the_documents_are_taken_by_the_api(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Backend(tmp_path / "backend", declared_environment()) as backend, Api(backend) as api:
        names: dict[str, Any] = {}
        monkeypatch.chdir(ROOT)
        exec(code_of("docs/kubeflow.md", "client.upload_pipeline").replace("http://localhost:8888", api.url), names)
        exec(code_of("docs/kubeflow.md", "client.create_recurring_run"), names)
        run, recurring = names["run"], names["recurring"]
        assert backend.runs[0].run_id == run.run_id
        assert backend.runs[0].parameters["data_images"] == "s3://team-images/flowers"
        kept = names["client"].get_recurring_run(recurring.recurring_run_id)
        assert kept.status == "ENABLED"
        assert kept.runtime_config.parameters["tune_work_directory"] == "/work/{run}"
