"""The typed faces of the components: what the console shows and what all tuning components share."""

import ast
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from google.protobuf.json_format import MessageToDict
from kfp.compiler import Compiler

from tools.component_readmes import FOLDERS, definitions, face_of, write_readme

TUNING_FOLDERS = [folder for folder in FOLDERS if folder.name.endswith("_tuning")]

TUNING_ARTIFACTS = {
    "best_model": "system.Model",
    "tuning_result": "system.Artifact",
    "metrics": "system.Metrics",
}
TUNING_PARAMETERS = {"best_objective": "NUMBER_DOUBLE", "best_hyperparameters": "STRUCT", "best_trial": "STRING"}


@pytest.mark.parametrize("folder", TUNING_FOLDERS, ids=lambda folder: folder.name)
def test_every_tuning_component_has_the_same_outputs(folder: Path) -> None:
    artifacts = definitions(folder, "outputDefinitions", "artifacts")
    parameters = definitions(folder, "outputDefinitions", "parameters")
    assert {name: entry["artifactType"]["schemaTitle"] for name, entry in artifacts.items()} == TUNING_ARTIFACTS
    assert {name: entry["parameterType"] for name, entry in parameters.items()} == TUNING_PARAMETERS


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_everything_that_goes_in_and_comes_out_is_described(folder: Path) -> None:
    for direction in ("inputDefinitions", "outputDefinitions"):
        for kind in ("parameters", "artifacts"):
            for name, entry in definitions(folder, direction, kind).items():
                assert len(entry.get("description", "")) > 10, f"{folder.name}: {name} is not described"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_example_compiles_and_uses_the_component(folder: Path, tmp_path: Path) -> None:
    module = import_module(".example_pipelines", face_of(folder).python_func.__module__.rpartition(".")[0])
    path = tmp_path / "example.yaml"
    Compiler().compile(getattr(module, f"{folder.name}_example"), str(path))
    document = next(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    assert f"comp-{folder.name.replace('_', '-')}" in document["components"]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_versions_of_libraries_are_those_that_are_installed(folder: Path) -> None:
    metadata = yaml.safe_load((folder / "metadata.yaml").read_text(encoding="utf-8"))
    declared = (folder.parents[2] / "setup.cfg").read_text(encoding="utf-8")
    for service in metadata["dependencies"].get("external_services", []):
        library = service["name"].partition("(")[2].rstrip(")")
        assert f"    {library}{service['version'].removesuffix('.0')}\n" in declared


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_readme_is_up_to_date(folder: Path) -> None:
    written = (folder / "README.md").read_text(encoding="utf-8")
    assert written == write_readme(folder), "run `make generate` and commit the changes"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_no_input_is_annotated_as_optional(folder: Path) -> None:
    """KFP's backend names no type of an artifact, so its executor makes an object of the annotation."""
    tree = ast.parse((folder / "component.py").read_text(encoding="utf-8"))
    (face,) = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    annotations = [ast.unparse(argument.annotation) for argument in face.args.args if argument.annotation]
    assert not [annotation for annotation in annotations if "Optional" in annotation or "None" in annotation]


def test_components_of_torch_share_one_base_image() -> None:
    images = {}
    for folder in FOLDERS:
        executor = next(iter(MessageToDict(face_of(folder).pipeline_spec)["deploymentSpec"]["executors"].values()))
        images[folder.name] = executor["container"]["image"]
    assert len({image for image in images.values() if "torch" in image}) == 1
    assert not any("." in image.split("/")[0].split(":")[0] for image in images.values()), "a registry's host name"
