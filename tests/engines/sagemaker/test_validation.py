"""What is refused before anything is spent, and that nothing else is: the emulator's own rules must agree."""

import copy
import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from kfp_image_tuning.core.errors import BudgetError, EngineError
from kfp_image_tuning.engines.sagemaker.request.options import InstanceConfig, WarmStart
from kfp_image_tuning.engines.sagemaker.request.planning import plan_search
from kfp_image_tuning.engines.sagemaker.request.request import build_request
from kfp_image_tuning.engines.sagemaker.request.validation import check_request
from kfp_image_tuning.search.budget import Budget
from kfp_image_tuning.search.search import Search
from tests.emulators.sagemaker_checks import check_tuning_job
from tests.engines.sagemaker.tuning_jobs import OPTIONS, small_search

GRID = {"learning_rate": [0.1, 0.01], "mini_batch_size": [16, 32], "optimizer": ["sgd", "nag"], "momentum": 0.9}
GRID |= {"weight_decay": 1e-4}


def plan(search: dict[str, Any] | None = None, **options: Any) -> Any:
    return plan_search(small_search(**(search or {})), replace(OPTIONS, **options))


FLAT = {"search_mode": "flat"}

REFUSED: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("role", FLAT, {"role": "arn:aws:iam::123456789012:user/Development/*"}, r"RoleArn: .* such as arn:aws:iam::"),
    ("role of another partition", FLAT, {"region": "cn-north-1"}, r"region cn-north-1 needs a role of its own part"),
    ("machine", FLAT, {"instance_type": "ml.g4dn.large"}, r"InstanceType: must be one of .*such as ml.g4dn"),
    ("machine without GPU", FLAT, {"instance_type": "ml.m5.xlarge"}, r"GPU machines of the families p2, p3, g4dn, g5"),
    ("no machine", FLAT, {"nodes": 0}, r"InstanceCount: must be at least 1, got 0"),
    ("key on local disks", FLAT, {"volume_kms_key": "alias/v"}, r"ml.g4dn.xlarge has local NVMe disks"),
    ("too many choices of machines", FLAT, {"instance_configs": (InstanceConfig(instance_type="ml.p3.2xlarge"),) * 7},
     r"InstanceConfigs: must be at most 6 entries, got 7"),
    ("subnets without groups", FLAT, {"subnets": ("subnet-1",)}, r"SecurityGroupIds: must be at least 1 entries"),
    ("output", FLAT, {"output_uri": "/tmp/models"}, r"S3OutputPath: '/tmp/models' .* such as s3://bucket/folder"),
    ("early stopping", {}, {"early_stopping": "Auto"}, r"EarlyStoppingType: Auto works with a single .* \"flat\""),
    ("warm start", {}, {"warm_start": WarmStart(parents=("a",))}, r"WarmStartConfig: works with a single .* \"flat\""),
    ("parents", FLAT, {"warm_start": WarmStart(parents=tuple("abcdef"))}, r"must be at most 5 entries, got 6"),
    ("grid of ranges", {"strategy": "grid", **FLAT}, {}, r"learning_rate: a grid is made of choices, not of ranges"),
    ("hyperband with early stopping", {"strategy": "hyperband", **FLAT}, {"early_stopping": "Auto"}, r"Hyperband st"),
    ("hyperband's least", {"strategy": "hyperband"}, {"hyperband_min_epochs": 3}, r"3 .* must be below the 3 epochs"),
    ("hyperband without fixed epochs", {"strategy": "hyperband", "changes": {"epochs": {"min": 2, "max": 9}}}, {},
     r"Hyperband needs fixed epochs"),
    ("untunable", {"changes": {"top_k": {"min": 2, "max": 5}}}, {}, r"top_k: the built-in algorithm can tune .* only"),
    ("spot wait", FLAT, {"spot": True, "max_wait_seconds": 60}, r"at least MaxRuntimeInSeconds \(21600\), got 60"),
    ("run time", FLAT, {"max_trial_seconds": 3_000_000}, r"at most 28 days"),
    ("hard timeout", FLAT, {"max_seconds": 60}, r"MaxRuntimeInSeconds: must be at least 120, got 60"),
    ("long hard timeout", FLAT, {"max_seconds": 3_000_000}, r"at most 30 days"),
    ("pending", FLAT, {"pending_timeout_seconds": 60}, r"MaxPendingTimeInSeconds: must be at least 1800, got 60"),
    ("retries", FLAT, {"retry_attempts": 31}, r"MaximumRetryAttempts: must be at most 30, got 31"),
    ("trials", {"budget": Budget(max_trials=800), **FLAT}, {}, r"at most 750 with strategy Bayesian, got 800"),
    ("parallel", {"budget": Budget(max_trials=300, parallel_trials=200), **FLAT}, {}, r"ParallelTrainingJobs: at mos"),
    ("more at a time than in all", {"budget": Budget(max_trials=3, parallel_trials=4)}, {}, r"4 is more than the 3"),
    ("streamed images", FLAT, {"content": "images", "input_mode": "Pipe"}, r"train: image files cannot be streamed"),
    ("images without resize", FLAT, {"content": "images"}, r"resize: is required with image files .* such as 32"),
    ("manifest as file", FLAT, {"content": "augmented_manifest"}, r"can only be streamed; set input_mode to \"Pipe\""),
    ("streamed shards", FLAT, {"record_shards": 3, "input_mode": "Pipe"}, r"the index and list files too"),
    ("single file shared out", FLAT, {"shard_data": True, "nodes": 2}, r"a single file and cannot be shared"),
    ("nobody to share with", FLAT, {"shard_data": True, "record_shards": 4}, r"there is one machine, nothing to share"),
    ("auto without autotune", FLAT, {"auto_parameters": ("epochs",)}, r"epochs can be left .* set autotune"),
    ("tags", FLAT, {"tags": {f"tag-{n}": "x" for n in range(50)}}, r"Tags: must be at most 50 entries, got 51"),
    ("channel elsewhere", FLAT, {"channels": {"train": "/data/train.rec"}}, r"train: '/data/train.rec' is not an S3"),
    ("auto without a hint", FLAT, {"auto_parameters": ("momentum", "epochs"), "autotune": True},
     r"momentum is not fixed in the search space"),
    ("reserved tag", FLAT, {"tags": {"aws:team": "x"}}, r"starts with aws:, which is reserved"),
    ("tag text", FLAT, {"tags": {"team": "a#b"}}, r"Tags\[0\].Value: 'a#b' does not have the form"),
    ("secret", FLAT, {"env": {"DB_PASSWORD": "x"}}, r"DB_PASSWORD: looks like a secret"),
    ("environment", FLAT, {"env": {"1A": "x"}}, r"Environment key '1A'"),
    ("image elsewhere", FLAT, {"image": "811284229777.dkr.ecr.us-west-2.amazonaws.com/mine:1"},
     r"is in us-west-2, the training jobs run in us-east-1"),
]  # fmt: skip


@pytest.mark.parametrize(("search", "options", "reason"), [c[1:] for c in REFUSED], ids=[c[0] for c in REFUSED])
def test_refused_before_anything_is_spent(search: dict[str, Any], options: dict[str, Any], reason: str) -> None:
    wishes = dict(search)
    if "epochs" in wishes.get("changes", {}):
        wishes["epochs"] = None
    with pytest.raises(EngineError, match=reason):
        plan(wishes, **options)


EDITED: list[tuple[str, Callable[[dict[str, Any]], Any], str]] = [
    ("both kinds", lambda r: r.update(TrainingJobDefinitions=[r["TrainingJobDefinition"]]), "one of .* got both"),
    ("no definition", lambda r: r.pop("TrainingJobDefinition"), "exactly one of .* got neither"),
    ("unknown field", lambda r: r.update(Colour="red"), "Colour: is unknown to the service"),
    ("required", lambda r: r["TrainingJobDefinition"].pop("RoleArn"), "RoleArn: is required and missing"),
    ("type", lambda r: r["HyperParameterTuningJobConfig"].update(RandomSeed="0"), "RandomSeed: must be a integer"),
    ("strategy", lambda r: r["HyperParameterTuningJobConfig"].update(Strategy="Foo"), "one of Bayesian, Random, Hy"),
    ("long name", lambda r: r.update(HyperParameterTuningJobName="a" * 40), "at most 32 characters, got 40"),
    ("name", lambda r: r.update(HyperParameterTuningJobName="a_b"), "'a_b' does not have the form"),
    ("log from 0", lambda r: _continuous(r, "momentum").update(ScalingType="Logarithmic"), "needs a minimum above 0"),
    ("reverse to 1", lambda r: _continuous(r, "eps").update(ScalingType="ReverseLogarithmic"), "0 <= min and max < 1"),
    ("reverse integers", lambda r: _integer(r).update(ScalingType="ReverseLogarithmic"), "got integers 8 to 512"),
    ("bounds", lambda r: _continuous(r, "eps").update(MaxValue="1e-9"), "minimum must be below the maximum"),
    ("text", lambda r: _continuous(r, "eps").update(MaxValue="0,5"), "bounds must be numbers, got '1e-8' to '0,5'"),
    ("31 ranges", lambda r: _ranges(r)["ContinuousParameterRanges"].extend(
        [{**_continuous(r, "eps"), "Name": f"x{n}"} for n in range(24)]), "ParameterRanges: must be at most 30"),
    ("31 ranges of two kinds", lambda r: _ranges(r)["ContinuousParameterRanges"].extend(
        [{**_continuous(r, "eps"), "Name": f"x{n}"} for n in range(22)]), "31 ranges are more than the 30 allowed"),
    ("batch", lambda r: _statics(r).update(num_training_samples="100"), "512 is more than the 100 training images"),
    ("pretrained", lambda r: _statics(r).update(use_pretrained_model="1"), "pretrained networks take 3,224,224 only"),
    ("static and tuned", lambda r: _statics(r).update(eps="0.1"), "eps: is both tuned and fixed to '0.1'"),
    ("unknown hyperparameter", lambda r: _statics(r).update(dropout="0.1"), "dropout: is not a hyperparameter"),
    ("no classes", lambda r: _statics(r).pop("num_classes"), "num_classes: is required by the algorithm"),
    ("metric", lambda r: r["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"].update(Type="Minimize"),
     "tuned for validation:accuracy"),
    ("no validation", lambda r: r["TrainingJobDefinition"]["InputDataConfig"].pop(), "validation: is required"),
    ("no hard timeout", lambda r: r["HyperParameterTuningJobConfig"]["ResourceLimits"].pop("MaxRuntimeInSeconds"),
     "so that a forgotten tuning job ends"),
    ("both machines", lambda r: r["TrainingJobDefinition"].update(
        HyperParameterTuningResourceConfig={"InstanceConfigs": [
            {"InstanceType": "ml.p3.2xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1}], "InstanceCount": 1}),
     "InstanceConfigs and InstanceCount exclude each other"),
    ("grid's number", lambda r: r["HyperParameterTuningJobConfig"].update(Strategy="Grid"), "got 6|a grid is made"),
]  # fmt: skip


def _ranges(request: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = request["HyperParameterTuningJobConfig"]["ParameterRanges"]
    return found


def _continuous(request: dict[str, Any], name: str) -> dict[str, Any]:
    return next(entry for entry in _ranges(request)["ContinuousParameterRanges"] if entry["Name"] == name)


def _integer(request: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = _ranges(request)["IntegerParameterRanges"][0]
    return found


def _statics(request: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = request["TrainingJobDefinition"]["StaticHyperParameters"]
    return found


@pytest.mark.parametrize(("edit", "reason"), [c[1:] for c in EDITED], ids=[c[0] for c in EDITED])
def test_edited_request_is_refused(edit: Callable[[dict[str, Any]], Any], reason: str) -> None:
    request = copy.deepcopy(build_request(small_search(search_mode="flat"), OPTIONS))
    edit(request)
    with pytest.raises(EngineError, match=reason):
        check_request(request, "us-east-1")


def test_all_violations_come_at_once() -> None:
    with pytest.raises(EngineError) as caught:
        plan(
            role="nobody",
            output_uri="nowhere",
            spot=True,
            max_wait_seconds=1,
            early_stopping="Auto",
            tags={"aws:x": "y"},
        )
    text = str(caught.value)
    for part in ("RoleArn", "S3OutputPath", "MaxWaitTimeInSeconds", "TrainingJobEarlyStoppingType", "Tags"):
        assert part in text
    assert "TrainingJobDefinitions[*].RoleArn" in text


def test_grid_larger_than_the_budget_is_refused() -> None:
    with pytest.raises(BudgetError, match="the grid has 8 combinations, the budget 6 trials"):
        plan({"changes": GRID, "strategy": "grid", "trials": 6})


STRATEGIES = ("bayesian", "random", "hyperband", "grid")
DATA: tuple[dict[str, Any], ...] = (
    {},
    {"input_mode": "FastFile"},
    {"input_mode": "Pipe"},
    {"content": "images"},
    {"content": "augmented_manifest", "input_mode": "Pipe"},
    {"record_shards": 4, "shard_data": True, "nodes": 2},
    {"initial_model": "s3://images/models/old/model.tar.gz"},
    {"channels": {"train": "s3://other/train/part-", "validation": "s3://other/v.rec"}, "input_mode": "Pipe"},
)
MACHINES: tuple[dict[str, Any], ...] = (
    {},
    {"instance_type": "ml.p3.8xlarge", "nodes": 4, "volume_gb": 500, "encrypt_traffic": True},
    {"instance_configs": tuple(InstanceConfig(instance_type=t) for t in ("ml.g5.xlarge", "ml.g4dn.xlarge"))},
    {"instance_type": "ml.p2.xlarge", "volume_kms_key": "alias/v", "output_kms_key": "alias/o"},
)
REST: tuple[dict[str, Any], ...] = (
    {},
    {"spot": True, "max_wait_seconds": 40_000, "checkpoints": "s3://images/c", "pending_timeout_seconds": 7200},
    {"subnets": ("subnet-1", "subnet-2"), "security_groups": ("sg-1",), "network_isolation": False},
    {"retry_attempts": 30, "env": {"NCCL_DEBUG": "INFO"}, "tags": {"team": "vision", "Größe": "klein"}},
    {"stop_on_convergence": True, "run": "pipeline-1/tune step", "max_seconds": 86_400},
)
SINGLE: tuple[dict[str, Any], ...] = (
    {"early_stopping": "Off"},
    {"warm_start": WarmStart(parents=("parent-1", "parent-2"), kind="TransferLearning")},
    {"autotune": True},
)


def combinations() -> list[tuple[str, str, dict[str, Any]]]:
    found = []
    for strategy, mode, data, machines, rest in itertools.product(
        STRATEGIES, ("conditional", "flat"), DATA, MACHINES, REST
    ):
        found.append((strategy, mode, data | {k: v for k, v in machines.items() if k not in data} | rest))
    for strategy, single in itertools.product(STRATEGIES, SINGLE):
        found.append((strategy, "flat", single))
    return found


def test_every_documented_combination_is_planned_and_taken_by_the_service() -> None:
    """Two sets of rules, written apart, agree on more than a thousand requests."""
    cases = combinations()
    assert len(cases) > 1000

    @cache
    def search(strategy: Any, mode: Any, content: str) -> Search:
        changes: dict[str, Any] = dict(GRID) if strategy == "grid" else {}
        if content == "images":
            changes["resize"] = 32
        budget = Budget(max_trials=20, target_objective=0.99)
        return small_search(changes=changes, strategy=strategy, search_mode=mode, budget=budget)

    for strategy, mode, options in cases:
        if "instance_configs" in options and options.get("nodes"):
            options = {name: value for name, value in options.items() if name != "instance_configs"}
        plan = plan_search(search(strategy, mode, options.get("content", "")), replace(OPTIONS, **options))
        check_tuning_job(plan.request)
