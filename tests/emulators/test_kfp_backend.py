"""The stand-in for KFP's backend: that it is as unkind as the real one was seen to be."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

import pytest
from kfp import dsl, kubernetes

from tests.emulators.kfp_backend import Backend, RequestRefused, Run
from tests.emulators.kfp_backend.artifact_store import SECRET_KEY
from tests.pipelines.compiled_documents import compile_plainly

pytestmark = pytest.mark.slow

METADATA = {"table": {"b": 1.0}, "many": [1, 2.5], "yes": True, "number": 3.0, "share": 0.5, "text": "words"}
component = dsl.component(base_image="python:3.11-slim", install_kfp_package=False)


@component
def make(metadata: dict, made: dsl.Output[dsl.Model], metrics: dsl.Output[dsl.Metrics]) -> str:  # type: ignore[type-arg]
    import pathlib

    folder = pathlib.Path(made.path)
    (folder / ".hidden").mkdir(parents=True)
    (folder / ".hidden" / "file").write_text("here")
    made.metadata.update(metadata)
    return str(made.path)


@component
def take(made: dsl.Input[dsl.Model]) -> dict:  # type: ignore[type-arg]
    import os

    return {"path": made.path, "name": made.name, "files": os.listdir(made.path), "metadata": made.metadata}


@component
def take_perhaps(made: Optional[dsl.Input[dsl.Model]] = None) -> None:  # noqa: UP045  # as it was written
    pass


@component
def look_around() -> dict:  # type: ignore[type-arg]
    import os
    import pathlib

    status = dict(line.split(":\t", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines())
    shared = os.statvfs("/dev/shm")
    return {
        "variables": dict(os.environ),
        "capabilities": status["CapEff"].strip(),
        "privileges": status["NoNewPrivs"].strip(),
        "shared_mib": shared.f_blocks * shared.f_frsize // 2**20,
        "writable": [path for path in ("/minio", "/s3", "/gcs", "/.cache", "/.config", "/tmp") if os.access(path, 2)],
    }


def program(name: str, text: str) -> Any:
    """A component of one Python program, which gets one argument."""

    def step(argument: str) -> dsl.ContainerSpec:
        return dsl.ContainerSpec(image="python:3.11-slim", command=["python3", "-c", text], args=[argument])

    step.__name__ = name
    return dsl.container_component(step)


@pytest.fixture(scope="module")
def claim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What pods have at /claim, if they mount it."""
    return tmp_path_factory.mktemp("claim")


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory, claim: Path) -> Iterator[Backend]:
    with Backend(
        tmp_path_factory.mktemp("backend"),
        Path(sys.executable).parent,
        claims={"claim": claim},
        death_seconds=1.0,
        pod_again_seconds=0.1,
    ) as backend:
        yield backend


def compiled(function: Any) -> Any:
    return compile_plainly(dsl.pipeline(function, name=function.__name__.replace("_", "-")))


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_metadata_comes_back_in_another_form_and_folders_whole(backend: Backend) -> None:
    def handing_on() -> None:
        take(made=make(metadata=METADATA).outputs["made"])

    run = backend.run(compiled(handing_on))
    assert run.state == "SUCCEEDED", run.explain()
    taken = run.task("take").parameters["Output"]
    session = taken["metadata"].pop("store_session_info")
    assert taken["metadata"] == {
        "table": {"struct": {"b": 1}},
        "many": {"list": [1, 2.5]},
        "yes": {"bool": True},
        "number": 3,
        "share": 0.5,
        "text": "words",
        "display_name": "made",
    }
    assert '"endpoint":"seaweedfs.kubeflow:' in session
    assert SECRET_KEY not in session
    assert taken["files"] == [".hidden"]
    assert taken["path"].startswith("/minio/mlpipeline/v2/artifacts/handing-on/")
    assert taken["name"].isdigit()
    assert "of metrics does not exist" in run.task("make").log
    assert "ExecutorOutput" in run.task("make").log


def test_optional_artifact_is_a_class_that_kfps_executor_cannot_make(backend: Backend) -> None:
    def optional() -> None:
        take_perhaps(made=make(metadata={}).outputs["made"])

    run = backend.run(compiled(optional))
    assert run.states == {"make": "SUCCEEDED", "take-perhaps": "FAILED"}
    assert "Cannot instantiate typing.Union" in run.task("take-perhaps").log


def test_step_sees_what_a_pod_of_kfp_sees(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of this machine")

    def looking() -> None:
        look_around()

    run = backend.run(compiled(looking))
    assert run.state == "SUCCEEDED", run.explain()
    seen = run.task("look-around").parameters["Output"]
    variables = seen.pop("variables")
    assert seen == {
        "capabilities": "0" * 16,
        "privileges": "1",
        "shared_mib": 64,
        "writable": ["/minio", "/s3", "/gcs", "/.cache", "/.config", "/tmp"],
    }
    assert variables["KFP_POD_NAME"] == run.task("look-around").pod.name
    assert variables["_KFP_RUNTIME"] == "true"
    assert "SEAWEEDFS_SERVICE_HOST" in variables
    assert not [name for name in variables if name.startswith("AWS_") or "NAMESPACE" in name]


def test_failure_has_no_text_in_the_api_and_no_exit_code_but_a_termination_log(backend: Backend) -> None:
    failing = program("failing", "import sys; open('/dev/termination-log', 'w').write('the reason'); sys.exit(7)")

    def failures() -> None:
        program("after", "")(argument="").after(failing(argument=""))

    run = backend.run(compiled(failures))
    assert run.states == {"failing": "FAILED"}
    assert (run.state, run.error, run.task("failing").error) == ("FAILED", None, None)
    assert run.task("failing").message == "Error (exit code 1): the reason"
    assert run.task("failing").log.endswith("failed to execute component: exit status 7\n")


def test_step_is_tried_again_as_often_as_it_says_and_after_its_pod_is_gone(backend: Backend, claim: Path) -> None:
    third = program(
        "third",
        "import pathlib, sys, time\n"
        "number = len(list(pathlib.Path('/claim').glob('try-*')))\n"
        "pathlib.Path(f'/claim/try-{number}').touch()\n"
        "time.sleep(60 if number == 0 else 0)\n"
        "sys.exit(number < 2)\n",
    )

    def tried() -> None:
        kubernetes.mount_pvc(third(argument="").set_retry(1), "claim", "/claim")

    run = backend.start(compiled(tried))
    wait_for(claim / "try-0")
    backend.delete_pod(run, "third")
    assert run.wait(60).state == "SUCCEEDED", run.explain()
    assert len(run.task("third").attempts) == 3


def test_loop_collects_in_the_order_of_its_items(backend: Backend) -> None:
    @component
    def wait(seconds: float) -> str:
        import time

        time.sleep(seconds)
        return str(seconds)

    @component
    def join(parts: list) -> str:  # type: ignore[type-arg]
        return " ".join(parts)

    def collecting() -> None:
        with dsl.ParallelFor([2.0, 0.0, 1.0]) as seconds:
            waited = wait(seconds=seconds)
        join(parts=dsl.Collected(waited.output))

    run = backend.run(compiled(collecting))
    assert run.state == "SUCCEEDED", run.explain()
    assert run.task("join").parameters == {"Output": "2 0 1"}


def test_run_with_caching_on_takes_from_the_cache_what_the_pipeline_wants_anew(backend: Backend) -> None:
    echo = program("echo", "")

    def anew() -> None:
        echo(argument="the same").set_caching_options(False)
        echo(argument=dsl.PIPELINE_JOB_ID_PLACEHOLDER).set_caching_options(False)

    documents = compiled(anew)
    states = [list(backend.run(documents, caching=caching).states.values()) for caching in (None, None, True)]
    assert states == [["SUCCEEDED", "SUCCEEDED"], ["SUCCEEDED", "SUCCEEDED"], ["CACHED", "SUCCEEDED"]]


def test_terminated_step_has_a_broken_pipe_and_some_seconds_to_live(backend: Backend, claim: Path) -> None:
    stubborn = program(
        "stubborn",
        "import pathlib, signal, time\n"
        "seen = pathlib.Path('/claim/seen').open('wb', buffering=0)\n"
        "def note(*_):\n"
        "    time.sleep(0.3)\n"
        "    try:\n"
        "        print('last words', flush=True)\n"
        "    except BrokenPipeError:\n"
        "        seen.write(b'broken pipe ')\n"
        "signal.signal(signal.SIGTERM, note)\n"
        "pathlib.Path('/claim/ready').touch()\n"
        "while True:\n"
        "    time.sleep(0.1)\n"
        "    seen.write(b'.')\n",
    )

    def terminated() -> None:
        kubernetes.mount_pvc(stubborn(argument=""), "claim", "/claim")

    # More than recorded, so that a loaded machine has the time to write its last words.
    backend.death_seconds = 3.0
    run = backend.start(compiled(terminated))
    wait_for(claim / "ready")
    began = time.monotonic()
    backend.terminate(run)
    assert run.wait(60).state == "FAILED"
    assert time.monotonic() - began > 2.9
    assert "last words" not in run.task("stubborn").log
    before, _, after = (claim / "seen").read_text().partition("broken pipe ")
    assert 0 < len(after) < 32
    time.sleep(0.3)
    assert (claim / "seen").read_text() == f"{before}broken pipe {after}"


def test_pod_waits_for_a_secret_that_is_not_there(backend: Backend) -> None:
    echo = program("echo", "")

    def waiting() -> None:
        kubernetes.use_secret_as_env(echo(argument=""), "late", {"key": "KEY"})

    run = backend.start(compiled(waiting))
    deadline = time.monotonic() + 60
    while not [task for task in run.tasks if task.attempts and task.pod.waits_for]:
        assert time.monotonic() < deadline, run.explain()
        time.sleep(0.02)
    with pytest.raises(TimeoutError, match="secret 'late' or its key not found"):
        run.wait(0.5)
    backend.namespace.secrets["late"] = {"key": "x"}
    assert run.wait(60).state == "SUCCEEDED"


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({}, "parameter number is required"),
        ({"number": 1, "other": 1}, "parameter other is not defined"),
        ({"number": "1"}, "number requires type NUMBER_INTEGER"),
        ({"number": 1, "text": "x" * 10_000}, "take more than 10000 bytes"),
    ],
)
def test_api_refuses_parameters_at_once(backend: Backend, parameters: dict[str, Any], words: str) -> None:
    @component
    def show(number: int, text: str) -> None:
        pass

    def asking(number: int, text: str = "") -> None:
        show(number=number, text=text)

    with pytest.raises(RequestRefused, match=words):
        backend.start(compiled(asking), parameters)


@pytest.mark.parametrize(("pinned", "replaced"), [(False, ("[[RunUUID]]", "[[CurrentTime]]")), (True, ())])
def test_macros_are_replaced_in_few_runs(backend: Backend, pinned: bool, replaced: tuple[str, ...]) -> None:
    macros = ("[[RunUUID]]", "[[CurrentTime]]", "[[ScheduledTime]]", "[[Index]]")
    echo = program("echo", "")

    def scheduled(first: str, second: str, third: str, fourth: str) -> None:
        echo(argument=first)

    names = ("first", "second", "third", "fourth")
    run: Run = backend.start(compiled(scheduled), dict(zip(names, macros, strict=True)), pinned=pinned)
    kept = [macro for name, macro in zip(names, macros, strict=True) if run.parameters[name] == macro]
    assert kept == [macro for macro in macros if macro not in replaced]
    assert pinned or run.parameters["first"] == run.run_id
