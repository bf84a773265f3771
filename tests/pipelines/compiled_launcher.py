"""Plays the KFP backend and its launcher for a compiled pipeline: resolves inputs, runs each task's own command.

Tasks run in an environment that has the packages that components declare, and not this project.
"""

import json
import os
import subprocess
from collections.abc import Mapping
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from kfp_image_tuning.code_archive.config_map import KEY, MOUNT_PATH
from kfp_image_tuning.code_archive.package_archive import build_archive
from tests.pipelines.component_environment import declared_environment

RUN = "5f2c9c1e-5f0c-4f8e-9a51-8f1f3a2b7c60"
"""Kubeflow's identity of the run."""

Document = dict[str, Any]


class Launcher:
    """Resolves parameters and artifacts of a compiled pipeline in a folder, and runs each task's command.

    Args:
        document: The pipeline specification.
        parameters: The run's parameters.
        folder: Where artifacts go.
        environment: More environment variables of every task, as secrets and configuration give them to pods.
        task_config: What the backend fills into inputs of type ``dsl.TaskConfig``.
    """

    def __init__(
        self,
        document: Document,
        parameters: Document,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        task_config: Document | None = None,
    ) -> None:
        self.document = document
        definitions = document["root"]["inputDefinitions"]["parameters"]
        defaults = {name: d["defaultValue"] for name, d in definitions.items() if "defaultValue" in d}
        self.parameters = {**defaults, **parameters}
        self.folder = folder
        self.bin_folder = declared_environment()
        self.environment = dict(environment or {})
        self.task_config = task_config
        self.outputs: dict[str, Document] = {}
        self.mounted = folder / "kfp-image-tuning"
        self.mounted.mkdir()
        (self.mounted / KEY).write_bytes(build_archive())

    def run(self) -> None:
        tasks = self.document["root"]["dag"]["tasks"]
        order = TopologicalSorter({name: task.get("dependentTasks", []) for name, task in tasks.items()})
        for name in order.static_order():
            self.run_task(name, tasks[name])

    def run_task(self, name: str, task: Document) -> None:
        component = self.document["components"][task["componentRef"]["name"]]
        container = self.document["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
        executor_input = self.executor_input(name, task, component)
        command = [
            part.replace(f"{MOUNT_PATH}/", f"{self.mounted}/").replace("{{$}}", json.dumps(executor_input))
            for part in (*container["command"], *container["args"])
        ]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        environment |= {"PATH": f"{self.bin_folder}:{environment['PATH']}", "PYTHONNOUSERSITE": "1"}
        environment |= {entry["name"]: entry["value"] for entry in container.get("env", ())}
        environment |= self.environment
        done = subprocess.run(
            command, env=environment, cwd=self.folder, text=True, capture_output=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr
        self.outputs[name] = json.loads(Path(executor_input["outputs"]["outputFile"]).read_text(encoding="utf-8"))
        self.outputs[name]["paths"] = {
            key: Path(value["artifacts"][0]["uri"])
            for key, value in executor_input["outputs"].get("artifacts", {}).items()
        }

    def executor_input(self, name: str, task: Document, component: Document) -> Document:
        wanted = task.get("inputs", {})
        values = {key: self.value_of(source) for key, source in wanted.get("parameters", {}).items()}
        for key, definition in component.get("inputDefinitions", {}).get("parameters", {}).items():
            if definition["parameterType"] == "TASK_CONFIG" and self.task_config is not None:
                values[key] = self.task_config
        artifacts = {}
        for key, source in wanted.get("artifacts", {}).items():
            producer = source["taskOutputArtifact"]
            made = self.outputs[producer["producerTask"]]["artifacts"][producer["outputArtifactKey"]]
            # The component tells name, address and metadata; the type is what the backend knows of it.
            kind = component["inputDefinitions"]["artifacts"][key]["artifactType"]
            artifacts[key] = {"artifacts": [{**artifact, "type": kind} for artifact in made["artifacts"]]}
        folder = self.folder / name
        folder.mkdir()
        definitions = component["outputDefinitions"]
        return {
            "inputs": {"parameterValues": values, "artifacts": artifacts},
            "outputs": {
                "parameters": {
                    key: {"outputFile": str(folder / "parameters" / key)} for key in definitions.get("parameters", {})
                },
                "artifacts": {
                    key: {
                        "artifacts": [
                            {"name": key, "type": entry["artifactType"], "uri": str(folder / key), "metadata": {}}
                        ]
                    }
                    for key, entry in definitions.get("artifacts", {}).items()
                },
                "outputFile": str(folder / "executor_output.json"),
            },
        }

    def value_of(self, source: Document) -> Any:
        if "runtimeValue" in source:
            return str(source["runtimeValue"]["constant"]).replace("{{$.pipeline_job_uuid}}", RUN)
        return as_go_writes(self.parameters[source["componentInputParameter"]])


def as_go_writes(value: Any) -> Any:
    """A number as the KFP launcher's JSON encoder writes it: whole ones without a fraction."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
