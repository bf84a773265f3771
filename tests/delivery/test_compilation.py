"""Compiled pipelines: what the backend takes, what a pod is told to run, the same file from the same sources."""

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import compiler, components, dsl

from kfp_image_tuning.core.installed_code import ARCHIVE_PATH, MOUNT_PATH, config_map_name
from kfp_image_tuning.delivery.compilation import compile_pipeline
from kfp_image_tuning.delivery.declared_packages import declared_kfp, declared_packages
from kfp_image_tuning.delivery.specification import CompilationError, check_specification
from kfp_image_tuning.pipelines.image_tuning import PIPELINES

COMPILED = Path(__file__).parents[2] / "pipelines" / "compiled"
NEEDED = {"data_images", "tune_role", "tune_bucket"}
"""Parameters for which nothing can be assumed."""

Document = dict[str, Any]


@pytest.fixture(scope="module", params=sorted(PIPELINES))
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def text(engine: str) -> str:
    return compile_pipeline(PIPELINES[engine])


@pytest.fixture(scope="module")
def document(text: str) -> Document:
    return next(yaml.safe_load_all(text))


def containers(document: Document) -> dict[str, Document]:
    return {name: executor["container"] for name, executor in document["deploymentSpec"]["executors"].items()}


def evaluation_of(steps: Iterable[str]) -> str:
    return next(name for name in steps if name.endswith("-evaluation"))


def mounts(text: str) -> dict[str, list[Document]]:
    """ConfigMaps as volumes, by executor."""
    _, platform = yaml.safe_load_all(text)
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    return {name: settings.get("configMapAsVolume", []) for name, settings in executors.items()}


def test_committed_file_is_up_to_date(engine: str, text: str) -> None:
    committed = (COMPILED / f"{engine}.yaml").read_text(encoding="utf-8")
    assert list(yaml.safe_load_all(committed)) == list(yaml.safe_load_all(text)), (
        f"pipelines/compiled/{engine}.yaml is older than the pipeline: run `make compile` and commit it"
    )


@pytest.mark.slow
def test_every_process_compiles_the_same_bytes(engine: str, text: str, tmp_path: Path) -> None:
    for seed in ("1", "77"):
        path = tmp_path / f"{seed}.yaml"
        command = [sys.executable, "-m", "kfp_image_tuning.cli.command_line", "compile"]
        subprocess.run(
            [*command, "--engine", engine, "--output", str(path)],
            env={**os.environ, "PYTHONHASHSEED": seed, "TZ": "Asia/Tokyo"},
            check=True,
            capture_output=True,
            cwd=tmp_path,
        )
        assert path.read_text(encoding="utf-8") == text


def test_patch_release_of_the_sdk_changes_nothing(document: Document) -> None:
    assert document["sdkVersion"] == "kfp-2.17"


def test_every_step_mounts_the_config_map_and_fails_by_itself_without_it(document: Document, text: str) -> None:
    mounted = mounts(text)
    assert set(mounted) == set(containers(document))
    for (volume,) in mounted.values():
        assert volume["configMapNameParameter"]["runtimeValue"]["constant"] == config_map_name()
        assert (volume["mountPath"], volume["optional"]) == (MOUNT_PATH, True)
    for container in containers(document).values():
        assert ARCHIVE_PATH in container["command"][2]


def test_step_carries_little_more_than_its_own_face(document: Document) -> None:
    for name, container in containers(document).items():
        assert len(container["command"][2]) < 2_500, name


def test_each_step_installs_its_declared_packages_and_kfp_as_a_range(document: Document) -> None:
    steps = {name: container["command"][2] for name, container in containers(document).items()}
    preparation, evaluation = steps["exec-data-preparation"], steps[evaluation_of(steps)]
    for package in declared_packages(["parquet"]):
        assert f"'{package}'" in preparation
    assert "torch" not in preparation
    assert "'torch>=" in evaluation
    assert declared_kfp() == "kfp>=2.17,<3"
    assert preparation.count("'kfp>=2.17,<3'") == evaluation.count("'kfp>=2.17,<3'") == 1


def test_own_image_mounts_and_installs_nothing(engine: str) -> None:
    image = "example/image-tuning:1"
    documents = list(yaml.safe_load_all(compile_pipeline(PIPELINES[engine], image=image)))
    for container in containers(documents[0]).values():
        assert container["image"] == image
        assert container["command"][:2] == ["sh", "-ec"]
        assert not any("pip" in part for part in container["command"][:-1])
        assert {"name": "KFP_IMAGE_TUNING_IMAGE", "value": image} in container["env"]
    assert "configMapAsVolume" not in str(documents[1:])


def test_package_comes_from_the_index_that_is_named_into_the_image_that_is_named(engine: str) -> None:
    wheel = "http://mirror:8080/kfp_image_tuning-0.1.0-py3-none-any.whl"
    text = compile_pipeline(
        PIPELINES[engine],
        package=wheel,
        base_image="mirror:5000/torch:1",
        index_url="http://mirror:8080/simple",
        trusted_host="mirror:8080",
    )
    documents = list(yaml.safe_load_all(text))
    for container in containers(documents[0]).values():
        assert container["image"] == "mirror:5000/torch:1"
        given = {entry["name"]: entry["value"] for entry in container["env"]}
        assert given["KFP_IMAGE_TUNING_PACKAGE"] == wheel
        assert (given["PIP_INDEX_URL"], given["PIP_TRUSTED_HOST"]) == ("http://mirror:8080/simple", "mirror:8080")
    assert "configMapAsVolume" not in str(documents[1:])


@pytest.mark.parametrize(
    ("options", "messages"),
    [
        ({"image": "a", "package": "kfp-image-tuning", "index_url": "http://a"}, ["package: nothing is", "index: n"]),
        ({"index_url": "mirror/simple"}, ["is not an address"]),
        ({"index_url": "https://me:secret@mirror/simple"}, ["https://…@mirror/simple carries credentials"]),
        ({"package": "https://me:secret@mirror/a.whl"}, ["https://…@mirror/a.whl carries credentials"]),
        ({"package": "-r /etc/passwd"}, ["is not a requirement"]),
        ({"package": "kfp-image-tuning\n--index-url http://evil"}, ["is not a requirement"]),
        ({"trusted_host": "http://mirror"}, ["is not a host"]),
        ({"base_image": "two words"}, ["base image: 'two words' is not an image reference"]),
    ],
)
def test_delivery_that_cannot_be_is_refused(options: dict[str, Any], messages: list[str]) -> None:
    with pytest.raises(CompilationError) as raised:
        compile_pipeline(PIPELINES["local"], **options)
    assert all(message in str(raised.value) for message in messages), raised.value
    assert "secret@" not in str(raised.value)


@pytest.mark.parametrize("image", ["two words", "{{image}}", "$(IMAGE)"])
def test_image_that_is_no_reference_is_refused(image: str) -> None:
    with pytest.raises(CompilationError, match="is not an image reference"):
        compile_pipeline(PIPELINES["local"], image=image)


def test_names_of_public_images_have_no_registry(document: Document) -> None:
    images = {name: container["image"] for name, container in containers(document).items()}
    assert all("." not in image.split("/")[0].split(":")[0] for image in images.values()), images
    assert images[evaluation_of(images)].startswith("pytorch/pytorch:"), "torch need not be installed at each start"


def test_parameters_are_grouped_described_and_have_defaults(document: Document) -> None:
    parameters = document["root"]["inputDefinitions"]["parameters"]
    for name, definition in parameters.items():
        assert name.split("_")[0] in ("data", "tune", "eval"), name
        assert len(definition.get("description", "")) > 10, f"{name} has no description"
        assert "defaultValue" in definition or name in NEEDED, f"{name} has no default"


def test_what_nothing_reads_is_left_out(document: Document) -> None:
    for task in document["root"]["dag"]["tasks"].values():
        name = task["componentRef"]["name"]
        component = document["components"][name]
        declared = component["inputDefinitions"]["parameters"]
        given = task["inputs"]["parameters"]
        assert all(
            entry in given or definition["parameterType"] == "TASK_CONFIG" for entry, definition in declared.items()
        )
        assert all(entry in declared or entry.startswith("pipelinechannel--") for entry in given), given
        assert "description" not in json.dumps(component)
        (source,) = (part for part in containers(document)[component["executorLabel"]]["command"] if "def " in part)
        assert "#" not in source


def test_pipelines_outputs_are_typed(document: Document) -> None:
    outputs = document["root"]["outputDefinitions"]
    kinds = {name: entry["artifactType"]["schemaTitle"] for name, entry in outputs["artifacts"].items()}
    assert kinds == {
        "dataset": "system.Dataset",
        "best_model": "system.Model",
        "tuning_result": "system.Artifact",
        "evaluation": "system.Artifact",
        "report": "system.HTML",
    }
    types = {name: entry["parameterType"] for name, entry in outputs["parameters"].items()}
    assert types == {"accuracy": "NUMBER_DOUBLE", "best_hyperparameters": "STRUCT", "passed": "BOOLEAN"}


def test_tuning_is_never_answered_from_the_cache(engine: str, document: Document) -> None:
    tasks = document["root"]["dag"]["tasks"]
    assert not tasks[f"{engine}-tuning"]["cachingOptions"].get("enableCache")


def test_compiled_file_can_be_used_inside_another_pipeline(text: str, document: Document, tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_text(text, encoding="utf-8")
    image_tuning = components.load_component_from_file(str(path))

    @dsl.pipeline(name="outer")
    def outer(images: str) -> None:
        needed = dict.fromkeys(NEEDED & set(document["root"]["inputDefinitions"]["parameters"]), "given")
        image_tuning(**{**needed, "data_images": images, "tune_max_trials": 3})

    target = tmp_path / "outer.yaml"
    compiler.Compiler().compile(outer, str(target))
    compiled = list(yaml.safe_load_all(target.read_text(encoding="utf-8")))
    check_specification(compiled)
    assert containers(compiled[0]) == containers(document)
    assert mounts(target.read_text(encoding="utf-8")) == mounts(text)


def test_reading_and_compiling_again_changes_nothing(text: str, tmp_path: Path) -> None:
    path, again = tmp_path / "pipeline.yaml", tmp_path / "again.yaml"
    path.write_text(text, encoding="utf-8")
    compiler.Compiler().compile(components.load_component_from_file(str(path)), str(again))
    assert list(yaml.safe_load_all(again.read_text(encoding="utf-8"))) == list(yaml.safe_load_all(text))


def rename(document: Document) -> None:
    document["pipelineInfo"]["name"] = "Image Tuning"


def age(document: Document) -> None:
    document["schemaVersion"] = "2.0.0"


def misspell(document: Document) -> None:
    document["root"]["inputDefinition"] = {}


def bloat_defaults(document: Document) -> None:
    document["root"]["inputDefinitions"]["parameters"]["tune_search_space"]["defaultValue"] = {"x": "y" * 10_000}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (rename, "pipelineInfo.name"),
        (age, "schemaVersion: is 2.1.0"),
        (misspell, "inputDefinition"),
        (bloat_defaults, "the backend takes 10000"),
    ],
)
def test_what_the_backend_would_refuse_is_refused_here(
    damage: Callable[[Document], None], message: str, document: Document
) -> None:
    damaged = copy.deepcopy(document)
    damage(damaged)
    with pytest.raises(CompilationError, match=message):
        check_specification([damaged])


def test_typo_in_the_platform_document_is_refused(document: Document) -> None:
    executor = {"tolerations": [{"key": "nvidia.com/gpu"}], "nodeSelectors": {}}
    platform = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": {"exec-local-tuning": executor}}}}}
    with pytest.raises(CompilationError, match=r"exec-local-tuning: .*nodeSelectors"):
        check_specification([document, platform])
