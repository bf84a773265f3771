"""Pipelines of others around ours: the one of the README, and one that sees whether pods reach this machine."""

from pathlib import Path
from typing import Any

from kfp import compiler, components, dsl

COMPOSITION = "e2e-composition"
DEPLOY = (
    "import json, pathlib, sys; files = sorted(path.name for path in pathlib.Path(sys.argv[1]).iterdir()); "
    "print(files); pathlib.Path(sys.argv[2]).write_text(json.dumps({'files': files}))"
)
CONNECT = "import socket, sys; [socket.create_connection(a.rsplit(':', 1), 10) for a in sys.argv[1:]]; print('reached')"


def write_composition(path: Path, package: Path, image: str) -> None:
    """Compile a pipeline that has ours as a step.

    Args:
        path: File for it.
        package: Ours, compiled.
        image: With Python, for the step after it.
    """

    @dsl.container_component
    def deploy(model: dsl.Input[dsl.Model], deployed: dsl.Output[dsl.Artifact]) -> dsl.ContainerSpec:
        return dsl.ContainerSpec(image=image, command=["python3", "-c", DEPLOY], args=[model.path, deployed.path])

    image_tuning: Any = components.load_component_from_file(str(package))

    @dsl.pipeline(name=COMPOSITION)
    def weekly_model(images: str, search_space: dict) -> None:  # type: ignore[type-arg]
        tuned = image_tuning(
            data_images=images,
            data_test_fraction=0.2,
            tune_max_trials=2,
            tune_epochs=2,
            tune_search_space=search_space,
            eval_min_accuracy=0.01,
        )
        with dsl.If(tuned.outputs["passed"] == True):  # noqa: E712
            deploy(model=tuned.outputs["best_model"])

    compiler.Compiler().compile(weekly_model, str(path))


def write_connection(path: Path, image: str, *addresses: str) -> None:
    """Compile a pipeline that ends well if its pod reaches all addresses (``HOST:PORT``)."""

    @dsl.container_component
    def connect() -> dsl.ContainerSpec:
        return dsl.ContainerSpec(image=image, command=["python3", "-c", CONNECT], args=list(addresses))

    @dsl.pipeline(name="e2e-connection")
    def connection() -> None:
        connect()

    compiler.Compiler().compile(connection, str(path))
