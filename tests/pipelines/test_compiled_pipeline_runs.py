"""The compiled file does what it says: its own commands, run in order as the KFP launcher runs them.

They run in an environment that has the declared packages and not this project.
"""

import json
import os
import subprocess
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest
import yaml

from kfp_image_tuning.components.model_evaluation.evaluation import Evaluation
from kfp_image_tuning.dataset.document import Dataset
from kfp_image_tuning.pipelines.declared_packages import declared_kfp, declared_packages
from kfp_image_tuning.pipelines.delivery import compile_pipeline
from kfp_image_tuning.pipelines.image_tuning import PIPELINES
from kfp_image_tuning.trainer.model_files import load_model
from kfp_image_tuning.tuning.result import TuningResult
from tests.pipelines.component_environment import component_environment

Document = dict[str, Any]


class Launcher:
    """Resolves parameters and artifacts of a compiled pipeline in a folder, and runs each task's command.

    Args:
        document: The pipeline specification.
        parameters: The run's parameters.
        folder: Where artifacts go.
        bin_folder: Of the environment whose ``python3`` the commands find.
    """

    def __init__(self, document: Document, parameters: Document, folder: Path, bin_folder: Path) -> None:
        self.document = document
        definitions = document["root"]["inputDefinitions"]["parameters"]
        defaults = {name: d["defaultValue"] for name, d in definitions.items() if "defaultValue" in d}
        self.parameters = {**defaults, **parameters}
        self.folder = folder
        self.bin_folder = bin_folder
        self.outputs: dict[str, Document] = {}

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
            part.replace("{{$}}", json.dumps(executor_input)) for part in (*container["command"], *container["args"])
        ]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        environment |= {"PATH": f"{self.bin_folder}:{environment['PATH']}", "PYTHONNOUSERSITE": "1"}
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
        wanted = task["inputs"]
        values = {
            key: as_go_writes(self.parameters[source["componentInputParameter"]])
            for key, source in wanted.get("parameters", {}).items()
        }
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


def as_go_writes(value: Any) -> Any:
    """A number as the KFP launcher's JSON encoder writes it: whole ones without a fraction."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


@pytest.mark.timeout(900)
def test_commands_of_the_compiled_file_run_without_this_project(digits: Path, tmp_path: Path) -> None:
    packages = declared_packages(["local", "parquet", "train"])
    bin_folder = component_environment(packages, declared_kfp())
    ours = [str(bin_folder / "python"), "-c", "import kfp_image_tuning.tuning"]
    assert subprocess.run(ours, capture_output=True, check=False, cwd=tmp_path).returncode != 0

    document = next(yaml.safe_load_all(compile_pipeline(PIPELINES["local"])))
    parameters = {
        "data_images": str(digits),
        "data_test_fraction": 0.2,
        "tune_max_trials": 2,
        "tune_epochs": 4,
        # Every number inside an object reaches a component as a float.
        "tune_search_space": {"optimizer": "sgd", "mini_batch_size": 16.0, "learning_rate": {"min": 0.05, "max": 0.2}},
        "eval_min_accuracy": 1.0,
    }
    launcher = Launcher(document, parameters, tmp_path, bin_folder)
    launcher.run()

    prepared, tuned, evaluated = (
        launcher.outputs[name] for name in ("data-preparation", "local-tuning", "model-evaluation")
    )
    dataset = Dataset.load(prepared["paths"]["dataset"])
    assert prepared["parameterValues"] == {
        "num_classes": len(dataset.classes),
        "num_training_samples": dataset.split("train").images,
    }
    assert prepared["artifacts"]["dataset"]["artifacts"][0]["metadata"]["fingerprint"] == dataset.fingerprint
    result = TuningResult.load(tuned["paths"]["tuning_result"])
    assert result.best_trial is not None
    assert tuned["parameterValues"]["best_trial"] == result.best_trial.name
    assert tuned["parameterValues"]["best_objective"] == result.best_trial.objective
    assert load_model(tuned["paths"]["best_model"]).document.classes == dataset.classes
    evaluation = Evaluation.load(evaluated["paths"]["evaluation"])
    assert evaluated["parameterValues"]["accuracy"] == evaluation.accuracy
    assert evaluated["parameterValues"]["passed"] is (evaluation.accuracy == 1.0)
    metrics = evaluated["artifacts"]["classification_metrics"]["artifacts"][0]["metadata"]
    assert len(metrics["confusionMatrix"]["rows"]) == len(dataset.classes)
    for outputs in (tuned, evaluated):
        assert outputs["paths"]["report"].read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
