"""A team's values file: what pods get of it, and what is refused before anything is compiled."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from kfp import dsl

from kfp_image_tuning.cli.command_line import main
from kfp_image_tuning.components.data_processing.data_preparation import data_preparation
from kfp_image_tuning.delivery.compilation import compile_pipeline
from kfp_image_tuning.delivery.specification import CompilationError
from kfp_image_tuning.delivery.values_file import read_values, values_from
from kfp_image_tuning.pipelines.image_tuning import PIPELINES
from tests.pipelines.backend_pods import pod_of

SCHEMA = Path(__file__).parents[2] / "docs" / "values.schema.json"
EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "values").glob("*.yaml"))
INDEX = "https://index.example/simple"
EXAMPLE_PIPELINES = [
    pytest.param(engine, path, id=f"{engine}-{path.stem}")
    for path in EXAMPLES
    # Its parameters are those of the search in one pod.
    for engine in (["local"] if path.stem == "gpu-node" else sorted(PIPELINES))
]
SEARCH = "exec-local-tuning"

EVERYTHING: dict[str, Any] = {
    "parameters": {"data_images": "s3://images/flowers", "tune_max_trials": 7, "data_test_fraction": 0.2},
    "all": {
        "env": {"TEAM": "vision", "PYTHONUNBUFFERED": "0"},
        "secrets": [{"name": "team-s3", "env": {"AWS_ACCESS_KEY_ID": "id"}, "mount_path": "/keys", "optional": True}],
        "volume_claims": [{"claim": "team", "mount_path": "/work", "sub_path": "work"}],
        "labels": {"team": "vision"},
        "image_pull_secrets": ["registry.example"],
        "retries": {"count": 1},
    },
    "steps": {
        "search": {
            "config_maps": [{"name": "proxy.settings", "env": {"HTTPS_PROXY": "https"}}],
            "volume_claims": [{"claim": "team", "mount_path": "/data", "sub_path": "data"}],
            "ephemeral_volumes": [{"mount_path": "/scratch", "size": "100Gi", "storage_class": "fast"}],
            "empty_folders": [{"mount_path": "/tmp/cache", "size": "20Gi"}],
            "shared_memory": "8Gi",
            "node_selector": {"gpu": "a100"},
            "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}],
            "affinity": {
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [
                            {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a", "b"]}]}
                        ]
                    },
                    "preferredDuringSchedulingIgnoredDuringExecution": [
                        {"weight": 5, "preference": {"matchExpressions": [{"key": "spot", "operator": "DoesNotExist"}]}}
                    ],
                }
            },
            "labels": {"step": "search"},
            "annotations": {"sidecar.istio.io/inject": "false"},
            "image_pull_policy": "Always",
            "timeout_seconds": 3600,
            "retries": {"count": 3, "wait_seconds": 30},
            "security_context": {"run_as_user": 1000, "run_as_non_root": True},
        },
        "evaluate": {"cache": False},
    },
}


def documents_with(values: dict[str, Any], engine: str = "local") -> list[dict[str, Any]]:
    text = compile_pipeline(PIPELINES[engine], values=values_from(values, "team.yaml"))
    return list(yaml.safe_load_all(text))


@pytest.fixture(scope="module")
def documents() -> list[dict[str, Any]]:
    return documents_with(EVERYTHING)


def test_step_gets_its_own_settings_and_those_of_all_steps(documents: list[dict[str, Any]]) -> None:
    pod = pod_of(documents, SEARCH)
    kubernetes_validate.validate(pod, "1.37", strict=True)
    spec = pod["spec"]
    container = spec["containers"][0]
    wanted = EVERYTHING["steps"]["search"]
    assert {volume["name"]: volume for volume in spec["volumes"] if volume["name"] in ("team", "team-s3")} == {
        "team": {"name": "team", "persistentVolumeClaim": {"claimName": "team"}},
        "team-s3": {"name": "team-s3", "secret": {"secretName": "team-s3", "optional": True}},
    }
    assert [volume["emptyDir"] for volume in spec["volumes"] if "emptyDir" in volume] == [
        {"sizeLimit": "20Gi"},
        {"medium": "Memory", "sizeLimit": "8Gi"},
    ]
    assert {mount["mountPath"]: mount.get("subPath") for mount in container["volumeMounts"]}.items() >= {
        ("/work", "work"),
        ("/data", "data"),
        ("/keys", None),
        ("/scratch", None),
        ("/tmp/cache", None),
        ("/dev/shm", None),
    }
    variables = {entry["name"]: entry for entry in container["env"]}
    assert len(variables) == len(container["env"])
    assert variables["TEAM"]["value"] == "vision"
    assert variables["AWS_ACCESS_KEY_ID"]["valueFrom"]["secretKeyRef"]["key"] == "id"
    assert variables["HTTPS_PROXY"]["valueFrom"]["configMapKeyRef"]["name"] == "proxy.settings"
    assert pod["metadata"]["labels"] == {"team": "vision", "step": "search"}
    assert pod["metadata"]["annotations"] == wanted["annotations"]
    assert spec["nodeSelector"] == wanted["node_selector"]
    assert spec["tolerations"] == wanted["tolerations"]
    assert spec["affinity"] == wanted["affinity"]
    assert spec["imagePullSecrets"] == [{"name": "registry.example"}]
    assert spec["activeDeadlineSeconds"] == 3600
    assert container["imagePullPolicy"] == "Always"
    assert container["securityContext"] == {"runAsUser": 1000, "runAsNonRoot": True}


def test_other_steps_get_what_all_steps_have_alone(documents: list[dict[str, Any]]) -> None:
    pod = pod_of(documents, "exec-data-preparation")
    kubernetes_validate.validate(pod, "1.37", strict=True)
    assert pod["metadata"]["labels"] == {"team": "vision"}
    assert not {"nodeSelector", "tolerations", "affinity", "activeDeadlineSeconds"} & pod["spec"].keys()
    assert "/scratch" not in {mount["mountPath"] for mount in pod["spec"]["containers"][0]["volumeMounts"]}


def test_a_variable_of_the_pipeline_gives_way_to_the_teams(documents: list[dict[str, Any]]) -> None:
    values = [
        entry["value"]
        for entry in pod_of(documents, SEARCH)["spec"]["containers"][0]["env"]
        if entry["name"] == "PYTHONUNBUFFERED"
    ]
    assert values == ["0"]


def test_tasks_get_retries_and_caching(documents: list[dict[str, Any]]) -> None:
    tasks = documents[0]["root"]["dag"]["tasks"]
    assert tasks["local-tuning"]["retryPolicy"] == {
        "maxRetryCount": 3,
        "backoffDuration": "30s",
        "backoffFactor": 2.0,
        "backoffMaxDuration": "3600s",
    }
    assert tasks["data-preparation"]["retryPolicy"]["maxRetryCount"] == 1
    assert not tasks["model-evaluation"]["cachingOptions"].get("enableCache", False)


def test_run_form_starts_with_the_teams_parameters(documents: list[dict[str, Any]]) -> None:
    inputs = documents[0]["root"]["inputDefinitions"]["parameters"]
    assert inputs["data_images"]["defaultValue"] == "s3://images/flowers"
    assert inputs["tune_max_trials"]["defaultValue"] == 7
    assert inputs["data_test_fraction"]["defaultValue"] == 0.2


def test_no_values_leave_the_pipeline_as_it_is() -> None:
    assert documents_with({}) == list(yaml.safe_load_all(compile_pipeline(PIPELINES["local"])))


@pytest.mark.parametrize(
    ("said", "team", "comes_to"),
    [
        ({}, {"image": "a/b:1"}, {"image": "a/b:1"}),
        ({}, {"base_image": "a/python:3.11", "index_url": INDEX}, {"base_image": "a/python:3.11", "index_url": INDEX}),
        ({"image": "a/b:2"}, {"image": "a/b:1"}, {"image": "a/b:2"}),
        ({"image": "a/b:2"}, {"package": "c==1", "index_url": INDEX}, {"image": "a/b:2"}),
        ({"package": "c==2"}, {"image": "a/b:1"}, {"package": "c==2"}),
        ({"package": "c==2"}, {"package": "c==1", "index_url": INDEX}, {"package": "c==2", "index_url": INDEX}),
    ],
)
def test_delivery_is_the_teams_where_nothing_else_is_said(
    said: dict[str, Any], team: dict[str, str], comes_to: dict[str, Any]
) -> None:
    values = values_from({"delivery": team}, "team.yaml")
    found = compile_pipeline(PIPELINES["local"], **said, values=values)
    assert found == compile_pipeline(PIPELINES["local"], **comes_to)


def test_an_index_is_not_said_for_a_teams_image() -> None:
    values = values_from({"delivery": {"image": "a/b:1"}}, "team.yaml")
    with pytest.raises(CompilationError, match=r"package index: nothing is installed .* \(a/b:1\)"):
        compile_pipeline(PIPELINES["local"], index_url=INDEX, values=values)


def test_each_step_can_have_settings_of_its_own() -> None:
    names = ("preflight", "prepare", "search", "evaluate")
    values = {"steps": {name: {"env": {"STEP": name}} for name in names}}
    executors = documents_with(values)[0]["deploymentSpec"]["executors"]
    steps = ("exec-preflight", "exec-data-preparation", SEARCH, "exec-model-evaluation")
    for step, name in zip(steps, names, strict=True):
        assert {"name": "STEP", "value": name} in executors[step]["container"]["env"]


def test_every_task_of_a_component_has_its_steps_settings() -> None:
    @dsl.pipeline
    def prepared_twice(images: str) -> None:
        data_preparation(images=images)
        data_preparation(images=images, seed=1)

    values = values_from({"steps": {"prepare": {"env": {"STEP": "prepare"}}}}, "team.yaml")
    document = next(yaml.safe_load_all(compile_pipeline(prepared_twice, values=values)))
    executors = document["deploymentSpec"]["executors"].values()
    assert [{"name": "STEP", "value": "prepare"} in executor["container"]["env"] for executor in executors] == [
        True
    ] * 2


@pytest.mark.parametrize(("engine", "example"), EXAMPLE_PIPELINES)
def test_example_makes_pods_that_kubernetes_takes(engine: str, example: Path) -> None:
    text = compile_pipeline(PIPELINES[engine], values=read_values(example))
    assert text == compile_pipeline(PIPELINES[engine], values=read_values(example))
    documents = list(yaml.safe_load_all(text))
    for executor in documents[0]["deploymentSpec"]["executors"]:
        kubernetes_validate.validate(pod_of(documents, executor), "1.37", strict=True)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"al": {}}, "team.yaml: al is unknown; did you mean all?"),
        ({"steps": {"tune": {}}}, "team.yaml: steps.tune is unknown"),
        ({"all": {"env": {"DEBUG": 1}}}, "all.env must be an object, of text each, got {'DEBUG': 1}"),
        ({"all": {True: "x"}}, "all: the name True is not text; write it in quotes"),
        ({"all": {"volume_claims": [{"claim": "a"}]}}, "all.volume_claims[0].mount_path is missing"),
        ({"all": {"volume_claims": [{"claim": "a", "mount_path": "/a", "read_only": True}]}}, "[0].read_only cannot"),
        ({"all": {"service_account": "x"}}, "all.service_account cannot be set here: KFP has one for a whole run"),
        ({"steps": {"search": {"memory": "8Gi"}}}, "steps.search.memory cannot be set here: steps ask for no"),
        ({"all": {"shared_memory": "8 GB"}}, "all.shared_memory: '8 GB' is not an amount of bytes in Kubernetes"),
        ({"all": {"secrets": [{"name": "Team"}]}}, "all.secrets[0].name: 'Team' is not a name in Kubernetes"),
        ({"all": {"secrets": [{"name": "team"}]}}, "all.secrets[0]: gives nothing to the step"),
        ({"all": {"volume_claims": [{"claim": "a", "mount_path": "/a", "sub_path": "../b"}]}}, "sub_path: '../b' must"),
        (
            {"all": {"tolerations": [{"key": "gpu", "efect": "NoSchedule"}]}},
            "tolerations[0].efect: Kubernetes",
        ),
        ({"all": {"tolerations": [{"key": "gpu", "effect": "No"}]}}, "tolerations[0].effect: is one of NoSchedule"),
        ({"all": {"tolerations": [{"effect": "NoSchedule"}]}}, "tolerations[0].key: is needed"),
        ({"all": {"affinity": {"podAffinity": {}}}}, "affinity: KFP takes nodeAffinity alone"),
        ({"all": {"labels": {"team": "a b"}}}, "all.labels.team: 'a b' is not a label"),
        ({"all": {"node_selector": {"": "a"}}}, "all.node_selector.: 'a' is not a label"),
        ({"all": {"timeout_seconds": 0}}, "timeout_seconds: must be at least 1, got 0"),
        ({"all": {"retries": {"count": -1}}}, "retries.count: must be 0 to 100, got -1"),
        ({"all": {"retries": {"wait_seconds": 1}}}, "all.retries.count is missing"),
        ({"all": {"security_context": {"run_as_user": 0, "run_as_non_root": True}}}, "run_as_user 0 is root"),
        ({"all": {"image_pull_policy": "Sometimes"}}, "must be one of Always, IfNotPresent, Never or null"),
        ({"steps": {"search": {"cache": True}}}, "steps.search.cache: this step is never reused"),
        ({"delivery": {"imag": "a"}}, "team.yaml: delivery.imag is unknown; did you mean image?"),
        ({"delivery": {"image": "two words"}}, "team.yaml: delivery: image: 'two words' is not an image reference"),
        ({"delivery": {"image": "a/b:1", "package": "c"}}, "team.yaml: delivery: package: nothing is installed"),
        ({"parameters": {"tune_max_trails": 5}}, "parameters.tune_max_trails: the pipeline has no such parameter; did"),
        ({"parameters": {"tune_max_trials": "5"}}, "parameters.tune_max_trials: must be a whole number, got '5'"),
        ({"all": {"env": {"1A": "x"}}}, "'1A' is not a name of an environment variable"),
        ({"all": {"volume_claims": [{"claim": "a.b", "mount_path": "/a"}]}}, "volume claim 'a.b' cannot be mounted"),
        ({"all": {"env": {"A": "x"}, "secrets": [{"name": "s", "env": {"A": "k"}}]}}, "variable A is set 2 times"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(values: dict[str, Any], words: str) -> None:
    with pytest.raises(CompilationError) as refusal:
        documents_with(values)
    assert words in str(refusal.value)


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(CompilationError) as refusal:
        documents_with({"all": {"service_account": "x", "lables": {}, "shared_memory": 8}, "step": {}})
    assert len(refusal.value.problems) == 4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("all: {env: {A: x}, env: {B: y}}", "is not valid YAML: the name 'env' stands twice"),
        ("all: [", "is not valid YAML"),
        ("- a", "must be an object with parameters, all and steps"),
    ],
)
def test_file_that_cannot_be_read_is_refused(
    text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "team.yaml"
    path.write_text(text, encoding="utf-8")
    assert main(["compile", "--values", str(path), "--output", str(tmp_path / "pipeline.yaml")]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "pipeline.yaml").exists()


def test_missing_file_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "--values", str(tmp_path / "none.yaml"), "--output", str(tmp_path / "p.yaml")]) == 2
    assert "none.yaml: cannot be read (No such file or directory)" in capsys.readouterr().err


@pytest.mark.parametrize("document", [EVERYTHING, *(yaml.safe_load(path.read_text()) for path in EXAMPLES)])
def test_schema_takes_what_the_reader_takes(document: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8"))).validate(document)


def test_schema_refuses_what_the_reader_refuses() -> None:
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    documents: list[dict[str, Any]] = [
        {"al": {}},
        {"all": {"env": {"A": 1}}},
        {"all": {"volume_claims": [{"claim": "a"}]}},
    ]
    for document in documents:
        assert not validator.is_valid(document)
