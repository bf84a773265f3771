"""The stand-in's executor inputs are, field by field, what the driver of KFP 2.17 was seen to hand to steps."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.emulators.kfp_backend.driver import make_executor_input
from tests.emulators.kfp_backend.metadata import Artifact, session_info

RECORDED = json.loads((Path(__file__).parents[1] / "data" / "kfp_executor_inputs.json").read_text())["executor_inputs"]
SESSION = session_info("seaweedfs.kubeflow:9000", "mlpipeline-minio-artifact")
Document = dict[str, Any]


def artifact_of(recorded: Document) -> Artifact:
    """The artifact as the step before it had put it out."""
    metadata = {
        name: value["struct"] if isinstance(value, dict) else value for name, value in recorded["metadata"].items()
    }
    name = metadata.pop("display_name")
    del metadata["store_session_info"]
    return Artifact(int(recorded["name"]), name, recorded["uri"], {}, metadata, SESSION, "type" not in recorded)


def component_of(outputs: Document) -> Document:
    """What the component puts out, by its specification."""
    artifacts = {name: {"artifactType": group["artifacts"][0]["type"]} for name, group in outputs["artifacts"].items()}
    del artifacts["executor-logs"]
    return {"outputDefinitions": {"parameters": dict(outputs.get("parameters", {})), "artifacts": artifacts}}


@pytest.mark.parametrize("step", sorted(RECORDED))
def test_executor_input_is_the_recorded_one(step: str) -> None:
    recorded = RECORDED[step]
    given = recorded["inputs"]
    artifacts = {name: [artifact_of(group["artifacts"][0])] for name, group in given.get("artifacts", {}).items()}
    place = recorded["outputs"]["outputFile"].removeprefix("/minio/").removesuffix("/output_metadata.json")
    made = make_executor_input(
        component_of(recorded["outputs"]), given.get("parameterValues", {}), artifacts, f"minio://{place}"
    )
    assert made == recorded
