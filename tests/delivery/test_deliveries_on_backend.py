"""Pipelines by package and by image on the stand-in for KFP's backend; those with the ConfigMap are elsewhere."""

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from kfp_image_tuning.cli.command_line import main
from tests.emulators.kfp_backend import Backend, Run
from tests.pipelines.component_environment import declared_environment
from tests.pipelines.environments import make_environment
from tests.pipelines.small_runs import IMAGES, ONE_THREAD, SMALL_RUN

pytestmark = pytest.mark.slow

GPU = "nvidia.com/gpu"
NO_INDEX = "http://127.0.0.1:9/simple"
USER = 54321 if os.getuid() == 0 else 0
"""Without root's rights a pod knows no other user than root."""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def address(wheel: Path) -> Iterator[str]:
    """Our wheel on a web server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(wheel.parent)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/{wheel.name}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def hashed(address: str, wheel: Path) -> str:
    return f"{address}#sha256={hashlib.sha256(wheel.read_bytes()).hexdigest()}"


def compile_with(folder: Path, *options: str) -> str:
    file = folder / "pipeline.yaml"
    assert main(["compile", *options, "--output", str(file)]) == 0
    return file.read_text(encoding="utf-8")


def as_user(folder: Path) -> tuple[str, str]:
    """Options with which steps run as a user that has no name."""
    values = folder / "values.yaml"
    values.write_text(f"all: {{security_context: {{run_as_user: {USER}}}}}\n")
    return "--values", str(values)


def run_small(backend: Backend, pipeline: str, digits: Path) -> Run:
    backend.store.put(digits, IMAGES)
    run = backend.run(pipeline, SMALL_RUN)
    assert run.state == "SUCCEEDED", run.explain()
    print(f"the Workflow at its end: {run.workflow.bytes} bytes")
    assert run.workflow.bytes < 512 * 1024
    return run


@pytest.mark.timeout(600)
def test_pipeline_ends_with_our_wheel_from_a_web_server(hashed: str, digits: Path, tmp_path: Path) -> None:
    """The first step begins with pip and nothing else; the others have their packages, but not ours."""
    pipeline = compile_with(tmp_path, "--package", hashed)
    steps = ("data-preparation", "local-tuning", "model-evaluation")
    images = {step: make_environment(tmp_path / step, base=declared_environment()) for step in steps}
    images["preflight"] = make_environment(tmp_path / "preflight")
    with Backend(tmp_path / "backend", images["preflight"], bin_folders=images, environment=ONE_THREAD) as backend:
        run_small(backend, pipeline, digits)
    for image in images.values():
        assert list(image.parent.glob("lib/python*/site-packages/kfp_image_tuning/core/errors.py"))


@pytest.mark.parametrize(
    ("package", "options", "reason"),
    [
        ("{address}#sha256=" + "0" * 64, (), "THESE PACKAGES DO NOT MATCH THE HASHES"),
        ("kfp-image-tuning==0.1.0", ("--index-url", NO_INDEX), "Connection refused"),
        ("{address}.gone", (), "404"),
    ],
)
def test_package_that_cannot_be_had_is_told_as_pip_tells_it(
    package: str, options: tuple[str, ...], reason: str, address: str, tmp_path: Path
) -> None:
    pipeline = compile_with(tmp_path, "--package", package.format(address=address), *options)
    image = make_environment(tmp_path / "image", base=declared_environment())
    # This machine's own settings for pip would name another index.
    pip = {"PIP_CONFIG_FILE": "/dev/null", "PIP_RETRIES": "1"}
    with Backend(tmp_path / "backend", image, environment=pip) as backend:
        run = backend.run(pipeline, SMALL_RUN)
    assert (run.state, list(run.states)) == ("FAILED", ["preflight"])
    step = run.task("preflight")
    assert reason in step.message
    assert "kfp-image-tuning compile" in step.message
    assert reason in step.log


@pytest.mark.timeout(600)
def test_pipeline_ends_in_an_image_with_everything_as_a_user_of_no_name(
    wheel: Path, digits: Path, tmp_path: Path
) -> None:
    image = make_environment(tmp_path / "image", base=declared_environment())
    subprocess.run([image / "python", "-m", "pip", "install", "--quiet", "--no-deps", str(wheel)], check=True)
    values = tmp_path / "values.yaml"
    user = {"security_context": {"run_as_user": USER}}
    amounts = {"data_cpu": "2", "tune_memory": "8Gi", "eval_accelerator": GPU, "eval_accelerator_count": "1"}
    values.write_text(json.dumps({"all": user, "parameters": amounts}))
    pipeline = compile_with(tmp_path, "--image", "registry.example/kfp-image-tuning:1", "--values", str(values))
    with Backend(tmp_path / "backend", image, environment={"HOME": "/tmp", **ONE_THREAD}) as backend:
        run = run_small(backend, pipeline, digits)
        outputs = run.task("local-tuning").pod.log_file.parent / "layer" / "tmp" / "kfp"
    assert outputs.stat().st_uid == (USER or os.getuid())
    assert {task.name: task.prepared.pod.resources for task in run.tasks if task.prepared} == {
        "preflight": {},
        "data-preparation": {"limits": {"cpu": "2", "memory": "0"}},
        "local-tuning": {"limits": {"cpu": "0", "memory": "8Gi"}},
        "model-evaluation": {"limits": {"cpu": "0", "memory": "0", GPU: "1"}},
    }


def test_user_of_no_name_installs_into_its_home(hashed: str, tmp_path: Path) -> None:
    pipeline = compile_with(tmp_path, "--package", hashed, *as_user(tmp_path))
    image = make_environment(tmp_path / "image", base=declared_environment(), for_users=True)
    with Backend(tmp_path / "backend", image) as backend:
        run = backend.run(pipeline, {**SMALL_RUN, "data_images": "/nowhere"})
    assert run.states == {"preflight": "SUCCEEDED", "data-preparation": "FAILED"}, run.explain()
    assert "/nowhere" in run.task("data-preparation").message
