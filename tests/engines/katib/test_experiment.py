"""Searches as Katib Experiments."""

import json
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from kubeflow_trainer_api.models.trainer_v1alpha1_train_job import TrainerV1alpha1TrainJob

from kfp_image_tuning.core.errors import BudgetError, EngineError, ImageTuningError, SearchSpaceError
from kfp_image_tuning.core.installed_code import MOUNT_PATH, config_map_name
from kfp_image_tuning.engines.epoch_log import VALIDATION_ACCURACY
from kfp_image_tuning.engines.katib.engine import KatibEngine
from kfp_image_tuning.engines.katib.request.algorithms import ALGORITHMS, choose_eta, count_hyperband_trials
from kfp_image_tuning.engines.katib.request.experiment import METRICS_FILTER, build_experiments
from kfp_image_tuning.engines.katib.request.names import LONGEST_EXPERIMENT_NAME, base_name, fingerprint_of
from kfp_image_tuning.engines.katib.request.options import KatibOptions, TrialPodOptions
from kfp_image_tuning.engines.katib.request.planning import plan_search
from kfp_image_tuning.engines.katib.request.trial_pod import TRIAL_PACKAGES
from kfp_image_tuning.engines.katib.request.validation import find_problems
from tests.engines.katib.searches import make_options, make_search

FULL_PODS: dict[str, Any] = {
    "gpus": 2,
    "gpu_resource": "nvidia.com/mig-1g.10gb",
    "cpu": "4",
    "memory": "16Gi",
    "scratch": "20Gi",
    "node_selector": {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-40GB"},
    "tolerations": ({"key": "team", "operator": "Equal", "value": "vision", "effect": "NoSchedule"},),
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}]
            }
        }
    },
    "priority_class": "batch",
    "service_account": "trainer",
    "image_pull_secrets": ("registry",),
    "queue": "team-queue",
    "env": {"HTTPS_PROXY": "http://proxy:3128", "TOKEN": {"valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}},
    "volumes": ({"name": "extra", "emptyDir": {}},),
    "volume_mounts": ({"name": "extra", "mountPath": "/extra"},),
    "annotations": {"team": "vision"},
}


def specs_of(search: Any, options: KatibOptions | None = None) -> list[dict[str, Any]]:
    return [dict(experiment.document["spec"]) for experiment in build_experiments(search, options or make_options())]


@pytest.mark.parametrize("mode", ["flat", "conditional"])
@pytest.mark.parametrize("preset", ["documented", "practical"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_takes_every_preset_in_both_modes(algorithm: str, preset: str, mode: str) -> None:
    search = make_search(preset=preset, search_mode=mode, max_trials=1100, max_failed_trials=3)
    for experiment in build_experiments(search, make_options(algorithm=algorithm)):
        assert find_problems(experiment.document) == []
        assert len(experiment.name) <= LONGEST_EXPERIMENT_NAME
        job = experiment.document["spec"]["trialTemplate"]["trialSpec"]
        named = {**job, "metadata": {"name": "trial", **job.get("metadata", {})}}
        kubernetes_validate.validate(named, "1.37", strict=True)


@pytest.mark.parametrize(
    ("strategy", "algorithm"),
    [("bayesian", "multivariate-tpe"), ("random", "random"), ("grid", "grid"), ("hyperband", "hyperband")],
)
def test_a_strategy_has_its_algorithm(strategy: str, algorithm: str) -> None:
    search = make_search({"optimizer": "sgd"}, strategy=strategy, max_trials=20)
    assert [spec["algorithm"]["algorithmName"] for spec in specs_of(search)] == [algorithm]


def test_the_seed_reaches_the_algorithm_and_the_training() -> None:
    (spec,) = specs_of(make_search(search_mode="flat", seed=11))
    assert spec["algorithm"]["algorithmSettings"] == [{"name": "random_state", "value": "11"}]
    environment = spec["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "TRIAL_SEED", "value": "11"} in environment


def test_a_conditional_search_shares_its_budget_among_the_optimizers() -> None:
    search = make_search(max_trials=10, parallel_trials=6, max_failed_trials=1)
    experiments = build_experiments(search, make_options(run="run-1"))
    assert [experiment.name.rpartition("-")[2] for experiment in experiments] == ["sgd", "adam", "rmsprop", "nag"]
    counts = [(e.document["spec"]["maxTrialCount"], e.document["spec"]["parallelTrialCount"]) for e in experiments]
    assert counts == [(3, 2), (3, 2), (2, 1), (2, 1)]
    assert [e.document["spec"]["maxFailedTrialCount"] for e in experiments] == [2, 2, 2, 2]
    names = [{parameter.name for parameter in experiment.parameters} for experiment in experiments]
    assert names[0] == {"learning_rate", "mini_batch_size", "momentum", "weight_decay"}
    assert names[1] == {"learning_rate", "mini_batch_size", "beta_1", "beta_2", "eps"}


def test_a_flat_search_is_one_experiment_with_the_optimizer_among_its_parameters() -> None:
    (experiment,) = build_experiments(make_search(search_mode="flat"), make_options(run="run-1"))
    assert "optimizer" in {parameter.name for parameter in experiment.parameters}
    assert experiment.decode({"optimizer": "adam", "eps": "0.01", "momentum_position": "1"}) == {
        "optimizer": "adam",
        "eps": 0.01,
        "momentum": 0.999,
    }


def test_the_same_run_has_the_same_names_and_another_run_others() -> None:
    def names(run: str) -> list[str]:
        return [experiment.name for experiment in build_experiments(make_search(), make_options(run=run))]

    assert names("run-1") == names("run-1")
    assert not set(names("run-1")) & set(names("run-2"))
    assert build_experiments(make_search(), make_options()) == build_experiments(make_search(), make_options())


@pytest.mark.parametrize("prefix", ["ic", "", "9", "A_Team's very long name for everything that it does", "-x-"])
def test_names_fit_katib_whatever_the_prefix(prefix: str) -> None:
    search = make_search()
    for experiment in build_experiments(search, make_options(name_prefix=prefix)):
        assert find_problems(experiment.document) == []
    assert base_name(prefix, "0" * 16)[0].isalpha()


def test_more_trials_keep_the_fingerprint_and_another_space_does_not() -> None:
    def fingerprint(**wishes: Any) -> str:
        return fingerprint_of(specs_of(make_search(search_mode="flat", **wishes), make_options(run="r"))[0])

    assert fingerprint(max_trials=20) == fingerprint(max_trials=40, parallel_trials=5)
    assert fingerprint() != fingerprint(changes={"momentum": 0.9})


def test_the_objective_is_the_best_epoch_of_the_trainers_own_line() -> None:
    import re

    (spec,) = specs_of(make_search(search_mode="flat", target_objective=0.97))
    assert spec["objective"]["goal"] == 0.97
    assert {"name": VALIDATION_ACCURACY, "value": "max"} in spec["objective"]["metricStrategies"]
    assert spec["metricsCollectorSpec"]["source"]["filter"]["metricsFormat"] == [METRICS_FILTER]
    lines = {
        "Epoch[3] Validation-accuracy=0.931200": ("Validation-accuracy", "0.931200"),
        "Epoch[12] Train-accuracy=1.000000": ("Train-accuracy", "1.000000"),
        "Epoch[0] Validation-accuracy=9.1e-05": ("Validation-accuracy", "9.1e-05"),
        "Epoch[3] Validation-accuracy=nan": None,
        "Storing the best model with validation accuracy: 0.253906": None,
    }
    for line, expected in lines.items():
        found = re.search(METRICS_FILTER, line)
        assert (found and found.groups()[:2]) == expected


@pytest.mark.parametrize(
    ("stop", "algorithm", "expected"),
    [(True, "random", True), (False, "random", False), (True, "hyperband", False)],
)
def test_median_stopping_is_on_where_it_does_no_harm(stop: bool, algorithm: str, expected: bool) -> None:
    search = make_search({"optimizer": "sgd"}, stop_bad_trials=stop)
    assert ("earlyStopping" in specs_of(search, make_options(algorithm=algorithm))[0]) == expected


def test_a_grid_has_as_many_steps_as_the_budget_allows() -> None:
    search = make_search({"optimizer": ["sgd", "adam"], "mini_batch_size": 32}, strategy="grid", max_trials=100)
    specs = specs_of(search)
    # sgd: 3 ranges, adam: 4; with two steps 8 + 16, with three 27 + 81.
    assert [spec["maxTrialCount"] for spec in specs] == [8, 16]
    rates = next(p for p in specs[0]["parameters"] if p["name"] == "learning_rate")["feasibleSpace"]["list"]
    # Equal ratios, as the range's scaling wants: at a quarter and three quarters of the way from 1e-6 to 0.5.
    assert [float(rate) for rate in rates] == pytest.approx([1e-6 * 5e5**0.25, 1e-6 * 5e5**0.75])


def test_hyperband_starts_a_bracket_that_katib_accepts() -> None:
    (spec,) = specs_of(make_search({"optimizer": "sgd"}, epochs=27, strategy="hyperband", max_trials=80))
    settings = {entry["name"]: entry["value"] for entry in spec["algorithm"]["algorithmSettings"]}
    assert settings == {"resource_name": "epochs", "r_l": "27", "eta": "3"}
    assert (spec["parallelTrialCount"], count_hyperband_trials(27, 3)) == (27, 40 + 18 + 8 + 4)
    epochs = next(parameter for parameter in spec["parameters"] if parameter["name"] == "epochs")
    assert epochs["feasibleSpace"]["max"] == "27"


@pytest.mark.parametrize(("epochs", "limit", "eta"), [(9, 9, 3), (30, 27, 3), (30, 20, 4), (30, 8, 6), (2, 2, 2)])
def test_hyperband_takes_the_eta_that_fits(epochs: int, limit: int, eta: int) -> None:
    assert choose_eta(epochs, limit) == eta


@pytest.mark.parametrize(
    ("search", "options", "error", "words"),
    [
        ({"max_trials": 3}, {}, BudgetError, "3 cannot be shared by 4 Experiments"),
        ({"parallel_trials": 2}, {}, BudgetError, "2 at a time cannot be shared by 4"),
        ({"strategy": "hyperband", "parallel_trials": 4}, {}, BudgetError, "at least 4 trials at once"),
        ({"strategy": "hyperband", "epochs": 1}, {}, BudgetError, "at least 2 epochs"),
        ({"strategy": "grid"}, {}, SearchSpaceError, "80 combinations, the budget 20"),
        ({}, {"algorithm": "cma"}, SearchSpaceError, "'cma' is none of Katib's"),
        ({"changes": {"optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0}},
         {"algorithm": "cmaes"}, EngineError, "at least 2 numeric parameters"),
        ({}, {"data": "https://host/data"}, EngineError, "is not a place that a pod can reach"),
        ({}, {"data": "s3://key:secret@bucket/x"}, EngineError, "is not a place"),
        ({}, {"data": "s3://a/b", "output_uri": "gs://a/b"}, EngineError, "stores of two kinds"),
        ({}, {"pods": {"user": 0}}, EngineError, "0 is root"),
        ({}, {"pods": {"nodes": 2}}, EngineError, "a Job trains on one machine"),
        ({}, {"pods": {"shared_memory": "2048Mi"}}, EngineError, '"2Gi"'),
        ({}, {"pods": {"tolerations": ({"keys": "x"},)}}, EngineError, "did you mean key"),
        ({}, {"algorithm_settings": {"gamma": "0.3"}}, EngineError, "no setting 'gamma'"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_before_anything_is_sent(
    search: dict[str, Any], options: dict[str, Any], error: type[ImageTuningError], words: str
) -> None:
    with pytest.raises(error) as raised:
        plan_search(make_search(**search), make_options(**options))
    assert words in str(raised.value)
    assert "key:secret" not in str(raised.value)


def test_everything_that_a_pod_can_be_given_is_in_the_job() -> None:
    options = make_options(pods=FULL_PODS, data="minio://images/digits", endpoint_url="", region="")
    (spec,) = specs_of(make_search(search_mode="flat", max_seconds=7200), options)
    assert find_problems(build_experiments(make_search(search_mode="flat"), options)[0].document) == []
    job = spec["trialTemplate"]["trialSpec"]
    kubernetes_validate.validate({**job, "metadata": {"name": "trial", **job["metadata"]}}, "1.37", strict=True)
    assert job["metadata"]["labels"] == {"kueue.x-k8s.io/queue-name": "team-queue"}
    assert job["spec"]["activeDeadlineSeconds"] == 7200
    pod = job["spec"]["template"]["spec"]
    assert [toleration["key"] for toleration in pod["tolerations"]] == ["team", "nvidia.com/gpu"]
    (container,) = pod["containers"]
    assert container["resources"]["limits"] == {"cpu": "4", "memory": "16Gi", "nvidia.com/mig-1g.10gb": "2"}
    environment = {entry["name"]: entry for entry in container["env"]}
    assert environment["AWS_ENDPOINT_URL"]["value"] == "http://seaweedfs.kubeflow:9000"
    secret = environment["AWS_SECRET_ACCESS_KEY"]["valueFrom"]["secretKeyRef"]
    assert secret == {"name": "mlpipeline-minio-artifact", "key": "secretkey"}
    assert environment["TRIAL_PROCESSES"]["value"] == "2"


def test_pods_are_restricted() -> None:
    (spec,) = specs_of(make_search(search_mode="flat"))
    pod = spec["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    security = pod["containers"][0]["securityContext"]
    assert security == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_a_train_job_spans_machines() -> None:
    options = make_options(pods={"kind": "TrainJob", "nodes": 2, "gpus": 4, "memory": "64Gi", "queue": "q"})
    (experiment,) = build_experiments(make_search(search_mode="flat"), options)
    assert find_problems(experiment.document) == []
    template = experiment.document["spec"]["trialTemplate"]
    assert template["primaryContainerName"] == "node"
    trainer = template["trialSpec"]["spec"]["trainer"]
    assert (trainer["numNodes"], trainer["resourcesPerNode"]["limits"]["nvidia.com/gpu"]) == (2, "4")


@pytest.mark.parametrize("image", ["", "registry/trainer:1"])
def test_kubeflow_trainers_own_types_lose_nothing_of_a_train_job(image: str) -> None:
    pods = {**FULL_PODS, "kind": "TrainJob", "nodes": 2, "image": image, "priority_class": ""}
    (experiment,) = build_experiments(make_search(search_mode="flat", max_seconds=3600), make_options(pods=pods))
    document = experiment.document["spec"]["trialTemplate"]["trialSpec"]
    assert json.loads(TrainerV1alpha1TrainJob.from_dict(document).to_json()) == document
    # Which is a witness, because they drop what they do not know.
    document["spec"]["trainer"]["numNodez"] = 1
    assert "numNodez" not in TrainerV1alpha1TrainJob.from_dict(document).to_json()


def trial_pod(**pods: Any) -> dict[str, Any]:
    plan = plan_search(make_search(search_mode="flat"), make_options(pods=pods))
    (document,) = plan.request["documents"]
    spec: dict[str, Any] = document["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]
    return spec


def code_volumes(pod: dict[str, Any]) -> list[Any]:
    return [volume["configMap"] for volume in pod["volumes"] if "configMap" in volume]


def test_trials_mount_the_namespaces_config_map_and_say_when_it_is_missing() -> None:
    pod = trial_pod()
    assert code_volumes(pod) == [{"name": config_map_name(), "optional": True}]
    assert f"kfp-image-tuning install --namespace {make_options().namespace}" in pod["containers"][0]["command"][-1]


def test_trials_in_an_image_of_ones_own_install_and_mount_nothing() -> None:
    pod = trial_pod(image="registry/trainer@sha256:0")
    assert code_volumes(pod) == []
    assert not {"TRIAL_PACKAGES", "PYTHONPATH"} & {entry["name"] for entry in pod["containers"][0]["env"]}
    assert "pip" not in pod["containers"][0]["command"][-1]


def test_trials_install_a_package_in_a_base_image_from_an_index() -> None:
    wheel = "http://index/kfp_image_tuning-0.1.0-py3-none-any.whl#sha256=abc"
    pod = trial_pod(package=wheel, base_image="mirror/torch:1", packages_index="http://index/simple")
    assert code_volumes(pod) == []
    (container,) = pod["containers"]
    given = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert (given["TRIAL_CODE_PACKAGE"], given["PIP_INDEX_URL"]) == (wheel, "http://index/simple")
    assert container["image"] == "mirror/torch:1"


def test_image_that_holds_everything_and_a_package_contradict_each_other() -> None:
    with pytest.raises(EngineError, match="package and base_image have no use"):
        trial_pod(image="ours", package="kfp-image-tuning==0.1.0")


def test_a_plan_says_what_katib_does_differently() -> None:
    plan = plan_search(make_search(max_trials=40, max_seconds=3600), make_options(algorithm="sobol"))
    assert [document["kind"] for document in plan.request["documents"]] == ["Experiment"] * 4
    text = "\n".join([*plan.summary, *plan.warnings])
    for words in (
        "metric strategy max",
        "best epoch",
        "at most 240.0 GPU-hours",
        "position",
        "takes none",
        "medianstop",
    ):
        assert words in text


def test_a_claim_that_a_task_mounts_twice_is_one_volume_of_its_trials() -> None:
    claim = {"name": "team", "persistentVolumeClaim": {"claimName": "team"}}
    mounts = [{"name": "team", "mountPath": f"/{folder}", "subPath": folder} for folder in ("data", "work")]
    pods = TrialPodOptions().with_task_config({"volumes": [claim, dict(claim)]})
    assert pods.volumes == (claim,)
    assert TrialPodOptions().with_task_config({"volume_mounts": mounts}).volume_mounts == tuple(mounts)


def test_the_code_that_a_task_mounts_is_mounted_into_its_trials_once() -> None:
    code = {"name": config_map_name(), "configMap": {"name": config_map_name(), "optional": True}}
    mount = {"name": config_map_name(), "mountPath": MOUNT_PATH}
    pods = TrialPodOptions().with_task_config({"volumes": [code], "volume_mounts": [mount]})
    assert (pods.volumes, pods.volume_mounts) == ((), ())


@pytest.mark.parametrize("nothing", ["0", 0, "0Gi"])
def test_no_limit_of_a_task_is_no_limit_of_its_trials(nothing: object) -> None:
    given = TrialPodOptions(cpu="4").with_task_config(
        {"resources": {"limits": {"cpu": nothing, "memory": nothing}, "requests": {"cpu": nothing}}}
    )
    assert (given.cpu, given.memory) == ("4", "")


def test_what_was_set_on_the_pipelines_task_reaches_the_pods() -> None:
    pods = TrialPodOptions(node_selector={"a": "1"}).with_task_config(
        {
            "resources": {"limits": {"cpu": "2", "nvidia.com/gpu": "4"}, "requests": {"memory": "8Gi"}},
            "tolerations": [{"key": "x", "operator": "Exists"}],
            "node_selector": {"b": "2"},
            "env": [
                {"name": "A", "value": "1"},
                {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            ],
            "affinity": None,
            "volumes": None,
        }
    )
    assert (pods.gpus, pods.gpu_resource, pods.cpu, pods.memory) == (4, "nvidia.com/gpu", "2", "8Gi")
    assert pods.node_selector == {"a": "1", "b": "2"}
    assert pods.env == {"A": "1", "B": {"valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}}
    assert [dict(toleration) for toleration in pods.tolerations] == [{"key": "x", "operator": "Exists"}]


def test_options_survive_their_json_form_and_name_what_they_do_not_know() -> None:
    options = make_options(pods=FULL_PODS, run="r", algorithm_settings={"gamma": "0.2"})
    assert KatibOptions.from_dict(json.loads(json.dumps(options.to_dict()))) == options
    with pytest.raises(EngineError) as raised:
        KatibOptions.from_dict({"data": "pvc://a", "outputuri": "x", "pods": {"gpu": 1}})
    for words in ("outputuri is unknown; did you mean output_uri?", "pods.gpu is unknown", "output_uri is required"):
        assert words in str(raised.value)


def test_what_a_public_image_gets_are_the_declared_versions() -> None:
    from importlib.metadata import requires

    declared = {text.replace(" ", "").partition(";")[0] for text in requires("kfp-image-tuning") or ()}
    assert set(TRIAL_PACKAGES) <= declared


def test_the_engine_plans_the_same_again_without_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nowhere"))
    search, options = make_search(), make_options()
    plan = KatibEngine(options, tmp_path / "model").plan(search)
    assert plan == KatibEngine(options, tmp_path / "model").plan(search)
    assert [experiment.document for experiment in plan.experiments] == plan.request["documents"]
    assert json.loads(json.dumps(plan.request)) == plan.request
    assert not list(tmp_path.iterdir())
