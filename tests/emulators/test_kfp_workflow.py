"""The stand-in's Workflow object: sizes and ends as recorded on KFP 2.17 with Argo 4.0.8.

The recorded pipelines were lightweight components; here each step has `FACE_BYTES` of text in place of their code.
"""

import random
import string
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from kfp import dsl

from tests.emulators.kfp_backend import Backend
from tests.pipelines.compiled_documents import compile_plainly

pytestmark = pytest.mark.slow

PYTHON = Path("/usr/bin")
FACE_BYTES = 3_200
UNTIL_TOLD = """
import pathlib, time
while not pathlib.Path('/told/end').exists():
    time.sleep(0.05)
pathlib.Path('/told/ended').touch()
"""
LETTERS = string.ascii_letters + string.digits + "!#%&()*+-;<=>?@^_`~:,./"
"""About as many as base85 has: what an archive in a command looks like."""


def make_step(name: str, archive_kb: float, program: str = "", face_bytes: int = FACE_BYTES) -> Any:
    """A component whose command carries an archive, which does not get smaller by compression."""
    archive = "".join(random.Random(archive_kb).choices(LETTERS, k=int(archive_kb * 1000)))

    def step(argument: str) -> dsl.ContainerSpec:
        command = ["python3", "-c", program, archive, "face " * (face_bytes // 5)]
        return dsl.ContainerSpec(image="python:3.11-slim", command=command, args=[argument])

    step.__name__ = name
    return dsl.container_component(step)


def make_pipeline(steps: Sequence[Any]) -> Any:
    """A pipeline of steps one after the other."""

    @dsl.pipeline(name="carrying")
    def carrying(argument: str = "a") -> None:
        before = None
        for step in steps:
            task = step(argument=argument)
            if before is not None:
                task.after(before)
            before = task

    return compile_plainly(carrying)


@pytest.mark.parametrize(("archive_kb", "recorded_kb"), [(70, 768), (90, 948)])
def test_a_step_is_stored_nine_times(archive_kb: int, recorded_kb: int, tmp_path: Path) -> None:
    steps = [make_step("all", archive_kb), *(make_step(f"use-{number}", 0) for number in range(3))]
    with Backend(tmp_path / "backend", PYTHON) as backend:
        run = backend.run(make_pipeline(steps))
    assert run.state == "SUCCEEDED", run.explain()
    assert run.workflow.bytes / 1000 == pytest.approx(recorded_kb, rel=0.02)


def test_a_step_that_carries_too_much_ends_the_run_without_a_word(tmp_path: Path) -> None:
    steps = [make_step("all", 105), *(make_step(f"use-{number}", 0) for number in range(3))]
    with Backend(tmp_path / "backend", PYTHON) as backend:
        run = backend.run(make_pipeline(steps))
    assert (run.state, run.error) == ("FAILED", None)
    assert "workflow is longer than maximum allowed size" in run.reason
    assert all(task.error is None for task in run.tasks)
    assert "FAILED" in run.states.values()


def test_three_steps_that_carry_their_own_code_end_as_recorded_while_the_pod_goes_on(tmp_path: Path) -> None:
    told = tmp_path / "told"
    told.mkdir()
    steps = [make_step("prepare", 51), make_step("search", 118, UNTIL_TOLD), make_step("evaluate", 87)]
    documents = make_pipeline(steps)
    mount = {"constant": "told", "pvcNameParameter": {"runtimeValue": {"constant": "told"}}, "mountPath": "/told"}
    executors = {"exec-search": {"pvcMount": [mount]}}
    documents.append({"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}})
    with Backend(tmp_path / "backend", PYTHON, claims={"told": told}) as backend:
        run = backend.run(documents)
        assert (run.state, run.reason) == ("FAILED", "etcdserver: request is too large")
        assert list(run.states) == ["prepare", "search"]
        (told / "end").touch()
        while run.task("search").pod.is_running:
            time.sleep(0.05)
    assert (told / "ended").exists()
    sizes = dict(run.workflow.history)
    for event, recorded_kb in (
        ("created", 293),
        ("prepare driver starts", 429),
        ("prepare starts", 768),
        ("search driver starts", 1021),
    ):
        assert sizes[event] / 1000 == pytest.approx(recorded_kb, rel=0.1), event


def test_without_argos_default_retries_the_third_of_them_is_too_much(tmp_path: Path) -> None:
    steps = [make_step("prepare", 51), make_step("search", 118), make_step("evaluate", 87)]
    with Backend(tmp_path / "backend", PYTHON, default_retries=False) as backend:
        run = backend.run(make_pipeline(steps))
    assert run.state == "FAILED"
    assert run.states["search"] == "SUCCEEDED"
    assert run.workflow.history[-1][0].startswith("evaluate")


def test_beyond_the_limit_text_is_stored_compressed_where_archives_do_not_get_smaller(tmp_path: Path) -> None:
    step = make_step("step", 0, face_bytes=20_000)

    @dsl.pipeline(name="loop")
    def loop() -> None:
        with dsl.ParallelFor(list("abcdefgh")) as argument:
            step(argument=argument)

    with Backend(tmp_path / "backend", PYTHON) as backend:
        run = backend.run(compile_plainly(loop))
    assert run.state == "SUCCEEDED", run.explain()
    assert run.workflow.stored_bytes < 300_000 < 1024 * 1024 < run.workflow.bytes
