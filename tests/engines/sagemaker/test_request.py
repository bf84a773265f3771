"""The request: what every option becomes, and that the same search always gives the same bytes."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kfp_image_tuning.core.errors import EngineError
from kfp_image_tuning.core.object_forms import find_misfits
from kfp_image_tuning.engines.sagemaker.request.job_names import request_hash
from kfp_image_tuning.engines.sagemaker.request.options import (
    InstanceConfig,
    SageMakerOptions,
    WarmStart,
)
from kfp_image_tuning.engines.sagemaker.request.parameter_ranges import exact_text
from kfp_image_tuning.engines.sagemaker.request.request import build_request
from kfp_image_tuning.engines.sagemaker.request.training_image import is_built_in, training_image
from kfp_image_tuning.search.budget import Budget
from kfp_image_tuning.search.search import DatasetSummary, Search
from kfp_image_tuning.search.search_space import SearchSpace
from tests.engines.sagemaker.tuning_jobs import OPTIONS, small_search


def flat(**options: Any) -> dict[str, Any]:
    return build_request(small_search(search_mode="flat"), replace(OPTIONS, **options))


def definition(**options: Any) -> dict[str, Any]:
    found: dict[str, Any] = flat(**options)["TrainingJobDefinition"]
    return found


def channels(**options: Any) -> dict[str, Any]:
    return {channel["ChannelName"]: channel for channel in definition(**options)["InputDataConfig"]}


def test_conditional_search_has_a_definition_for_each_optimizer_with_its_own_ranges() -> None:
    request = build_request(small_search(), OPTIONS)
    tuned = {
        entry["DefinitionName"]: {
            parameter["Name"]: parameter["ScalingType"]
            for kind in ("ContinuousParameterRanges", "IntegerParameterRanges")
            for parameter in entry["HyperParameterRanges"][kind]
        }
        for entry in request["TrainingJobDefinitions"]
    }
    shared = {"learning_rate": "Logarithmic", "mini_batch_size": "Logarithmic"}
    gradient = shared | {"momentum": "ReverseLogarithmic", "weight_decay": "Linear"}
    assert tuned == {
        "sgd": gradient,
        "nag": gradient,
        "adam": shared | {"beta_1": "ReverseLogarithmic", "beta_2": "ReverseLogarithmic", "eps": "Logarithmic"},
        "rmsprop": shared | {"gamma": "ReverseLogarithmic", "eps": "Logarithmic"},
    }
    statics = {e["DefinitionName"]: e["StaticHyperParameters"]["optimizer"] for e in request["TrainingJobDefinitions"]}
    assert statics == {name: name for name in tuned}
    assert "ParameterRanges" not in request["HyperParameterTuningJobConfig"]


def test_flat_search_tunes_the_optimizer_too() -> None:
    request = flat()
    ranges = request["HyperParameterTuningJobConfig"]["ParameterRanges"]
    assert ranges["CategoricalParameterRanges"] == [{"Name": "optimizer", "Values": ["sgd", "adam", "rmsprop", "nag"]}]
    assert len(ranges["ContinuousParameterRanges"]) == 7
    assert request["HyperParameterTuningJobConfig"]["TrainingJobEarlyStoppingType"] == "Auto"


def test_a_single_optimizer_is_a_single_definition_in_any_mode() -> None:
    request = build_request(small_search(changes={"optimizer": "adam", "beta_1": 0.9}), OPTIONS)
    statics = request["TrainingJobDefinition"]["StaticHyperParameters"]
    assert (statics["optimizer"], statics["beta_1"]) == ("adam", "0.9")
    assert not {"momentum", "weight_decay", "gamma"} & set(statics)
    assert request["HyperParameterTuningJobConfig"]["TrainingJobEarlyStoppingType"] == "Auto"


def test_every_static_hyperparameter_is_text() -> None:
    statics = definition()["StaticHyperParameters"]
    assert statics["image_shape"] == "3,28,28"
    assert (statics["num_classes"], statics["num_training_samples"], statics["epochs"]) == ("10", "4000", "3")
    assert (statics["multi_label"], statics["early_stopping"]) == ("0", "False")
    assert all(isinstance(text, str) for text in statics.values())


@pytest.mark.parametrize(
    ("number", "text"),
    [(1e-6, "1e-6"), (1e-08, "1e-8"), (0.0, "0.0"), (0.999, "0.999"), (512, "512"), (2.5e-07, "2.5e-7"), (1.0, "1.0")],
)
def test_bounds_are_exact_short_text(number: float, text: str) -> None:
    assert exact_text(number) == text
    assert float(text) == number


@pytest.mark.parametrize("preset", ["documented", "practical"])
def test_no_range_ever_gets_an_illegal_scaling(preset: Any) -> None:
    space = SearchSpace.customized({"optimizer": ["sgd", "adam", "rmsprop", "nag"]}, preset)
    dataset = DatasetSummary(
        fingerprint="f", num_classes=2, num_training_samples=900, num_validation_samples=9, image_shape=(3, 64, 64)
    )
    request = build_request(Search.for_dataset(space, dataset, budget=Budget()), OPTIONS)
    for entry in request["TrainingJobDefinitions"]:
        for number in entry["HyperParameterRanges"]["ContinuousParameterRanges"]:
            low, high = float(number["MinValue"]), float(number["MaxValue"])
            legal = {"Linear": True, "Logarithmic": low > 0, "ReverseLogarithmic": 0 <= low < high < 1}
            assert legal[number["ScalingType"]], number
            if preset == "practical" and number["Name"] == "weight_decay":
                assert number["ScalingType"] == "Logarithmic"


OPTION_CASES: list[tuple[str, dict[str, Any], Callable[[dict[str, Any]], Any], Any]] = [
    ("spot", {"spot": True}, lambda d: (d["EnableManagedSpotTraining"], d["StoppingCondition"], d["CheckpointConfig"]),
     (True, {"MaxRuntimeInSeconds": 21600, "MaxWaitTimeInSeconds": 43200}, {"S3Uri": "s3://images/models/checkpoints/"})),
    ("spot with its own places", {"spot": True, "max_wait_seconds": 30000, "checkpoints": "s3://images/c"},
     lambda d: (d["StoppingCondition"]["MaxWaitTimeInSeconds"], d["CheckpointConfig"]["S3Uri"]), (30000, "s3://images/c")),
    ("pending", {"pending_timeout_seconds": 3600}, lambda d: d["StoppingCondition"]["MaxPendingTimeInSeconds"], 3600),
    ("retries", {"retry_attempts": 3}, lambda d: d["RetryStrategy"], {"MaximumRetryAttempts": 3}),
    ("vpc", {"subnets": ("subnet-1",), "security_groups": ("sg-1", "sg-2")}, lambda d: d["VpcConfig"],
     {"SecurityGroupIds": ["sg-1", "sg-2"], "Subnets": ["subnet-1"]}),
    ("keys", {"volume_kms_key": "alias/v", "output_kms_key": "alias/o", "instance_type": "ml.p3.2xlarge"},
     lambda d: (d["ResourceConfig"]["VolumeKmsKeyId"], d["OutputDataConfig"]["KmsKeyId"]), ("alias/v", "alias/o")),
    ("no keys", {}, lambda d: ("VolumeKmsKeyId" in d["ResourceConfig"], "KmsKeyId" in d["OutputDataConfig"]),
     (False, False)),
    ("isolated by default", {}, lambda d: [name for name in d if name.startswith("Enable")],
     ["EnableNetworkIsolation"]),
    ("open and encrypted", {"network_isolation": False, "encrypt_traffic": True},
     lambda d: [name for name in d if name.startswith("Enable")], ["EnableInterContainerTrafficEncryption"]),
    ("environment", {"env": {"B": "2", "A": "1"}}, lambda d: list(d["Environment"]), ["A", "B"]),
    ("flexible machines", {"instance_configs": (InstanceConfig(instance_type="ml.g5.xlarge"),)},
     lambda d: ("ResourceConfig" in d, d["HyperParameterTuningResourceConfig"]),
     (False, {"AllocationStrategy": "Prioritized", "InstanceConfigs": [
         {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 50}]})),
    ("several machines are kept in step", {"nodes": 2}, lambda d: d["StaticHyperParameters"]["kv_store"],
     "dist_sync"),
    ("the built-in image brings its metrics", {}, lambda d: "MetricDefinitions" in d["AlgorithmSpecification"], False),
    ("another image needs metrics", {"image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/mine:1"},
     lambda d: [m["Name"] for m in d["AlgorithmSpecification"]["MetricDefinitions"]],
     ["validation:accuracy", "train:accuracy"]),
    ("streamed", {"input_mode": "Pipe"}, lambda d: d["AlgorithmSpecification"]["TrainingInputMode"], "Pipe"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "look", "expected"), [c[1:] for c in OPTION_CASES], ids=[c[0] for c in OPTION_CASES]
)
def test_option_stands_in_the_definition(options: dict[str, Any], look: Callable[[Any], Any], expected: object) -> None:
    assert look(definition(**options)) == expected


def test_record_channels_point_at_the_record_file_alone() -> None:
    found = channels()
    assert found["train"]["DataSource"]["S3DataSource"]["S3Uri"] == "s3://images/digits/train/train.rec"
    assert {channel["ContentType"] for channel in found.values()} == {"application/x-recordio"}


def test_shards_are_shared_out_between_machines() -> None:
    source = channels(record_shards=4, shard_data=True, nodes=2)["train"]["DataSource"]["S3DataSource"]
    assert (source["S3Uri"], source["S3DataDistributionType"]) == ("s3://images/digits/train/", "ShardedByS3Key")


def test_image_channels_come_with_their_lists() -> None:
    found = channels(content="images")
    assert list(found) == ["train", "validation", "train_lst", "validation_lst"]
    assert {channel["ContentType"] for channel in found.values()} == {"application/x-image"}


def test_augmented_manifest_names_image_then_label() -> None:
    train = channels(content="augmented_manifest", input_mode="Pipe")["train"]
    source = train["DataSource"]["S3DataSource"]
    assert (source["S3DataType"], source["AttributeNames"]) == ("AugmentedManifestFile", ["source-ref", "class"])
    assert (train["RecordWrapperType"], source["S3Uri"]) == ("RecordIO", "s3://images/digits/train.manifest")


def test_model_channel_is_never_streamed() -> None:
    model = channels(initial_model="s3://images/models/old/model.tar.gz", input_mode="Pipe")["model"]
    assert (model["InputMode"], model["ContentType"]) == ("File", "application/x-sagemaker-model")


def test_a_channel_may_lie_elsewhere() -> None:
    train = channels(channels={"train": "s3://other/place.rec"})["train"]
    assert train["DataSource"]["S3DataSource"]["S3Uri"] == "s3://other/place.rec"


def test_budget_becomes_limits_and_completion_criteria() -> None:
    budget = Budget(max_trials=40, parallel_trials=4, max_seconds=7200, target_objective=0.97, patience=9)
    config = build_request(
        small_search(budget=budget, seed=7), replace(OPTIONS, stop_on_convergence=True)
    )["HyperParameterTuningJobConfig"]  # fmt: skip
    assert config["ResourceLimits"] == {
        "MaxNumberOfTrainingJobs": 40,
        "MaxParallelTrainingJobs": 4,
        "MaxRuntimeInSeconds": 7200,
    }
    assert config["TuningJobCompletionCriteria"] == {
        "TargetObjectiveMetricValue": 0.97,
        "BestObjectiveNotImproving": {"MaxNumberOfTrainingJobsNotImproving": 9},
        "ConvergenceDetected": {"CompleteOnConvergence": "Enabled"},
    }
    assert config["RandomSeed"] == 7


def test_time_limit_is_always_set() -> None:
    config = build_request(small_search(trials=6), OPTIONS)["HyperParameterTuningJobConfig"]
    assert config["ResourceLimits"]["MaxRuntimeInSeconds"] == 3 * (21600 + 600)


def test_seed_zero_is_sent() -> None:
    assert flat()["HyperParameterTuningJobConfig"]["RandomSeed"] == 0


def test_hyperband_takes_its_resource_from_the_epochs() -> None:
    request = build_request(small_search(strategy="hyperband", epochs=27), OPTIONS)
    config = request["HyperParameterTuningJobConfig"]
    assert config["StrategyConfig"] == {"HyperbandStrategyConfig": {"MinResource": 1, "MaxResource": 27}}
    assert config["TrainingJobEarlyStoppingType"] == "Off"


def test_a_grid_leaves_the_number_of_trials_out() -> None:
    changes: dict[str, Any] = {"learning_rate": [0.1, 0.01], "mini_batch_size": [16, 32, 64], "optimizer": "sgd"}
    changes |= {"momentum": 0.9, "weight_decay": 1e-4}
    config = build_request(small_search(changes=changes, strategy="grid"), OPTIONS)["HyperParameterTuningJobConfig"]
    assert "MaxNumberOfTrainingJobs" not in config["ResourceLimits"]
    assert config["ParameterRanges"]["CategoricalParameterRanges"][0]["Values"] == ["0.1", "0.01"]


def test_warm_start_and_autotune() -> None:
    request = flat(
        warm_start=WarmStart(parents=("a", "b"), kind="TransferLearning"), autotune=True, auto_parameters=("epochs",)
    )
    assert request["WarmStartConfig"] == {
        "ParentHyperParameterTuningJobs": [
            {"HyperParameterTuningJobName": "a"},
            {"HyperParameterTuningJobName": "b"},
        ],
        "WarmStartType": "TransferLearning",
    }
    assert request["Autotune"] == {"Mode": "Enabled"}
    ranges = request["HyperParameterTuningJobConfig"]["ParameterRanges"]
    assert ranges["AutoParameters"] == [{"Name": "epochs", "ValueHint": "3"}]
    assert "epochs" not in request["TrainingJobDefinition"]["StaticHyperParameters"]


def test_same_search_gives_the_same_bytes() -> None:
    first, second = (json.dumps(build_request(small_search(), OPTIONS)) for _ in range(2))
    assert first == second


def test_name_comes_from_the_run_and_the_hash_from_the_request() -> None:
    one = flat(run="pipeline-7/tune")
    other = flat(run="pipeline-7/tune", instance_type="ml.p3.2xlarge")
    assert one["HyperParameterTuningJobName"] == other["HyperParameterTuningJobName"]
    assert request_hash(one) != request_hash(other)
    assert flat(run="pipeline-8/tune")["HyperParameterTuningJobName"] != one["HyperParameterTuningJobName"]
    assert {"Key": "kfp-image-tuning:request", "Value": request_hash(one)} in one["Tags"]
    assert {"Key": "kfp-image-tuning:run", "Value": "pipeline-7/tune"} in one["Tags"]


@pytest.mark.parametrize("prefix", ["ic", "", "A very Long Präfix_with--anything", "-", "ends-with-dash-", "x" * 40])
def test_name_is_always_one_that_sagemaker_takes(prefix: str) -> None:
    name = flat(name_prefix=prefix)["HyperParameterTuningJobName"]
    assert len(name) <= 32
    assert name == name.lower()
    assert name.replace("-", "").isalnum()
    assert not name.startswith("-")
    assert not name.endswith("-")


@pytest.mark.parametrize(
    ("region", "image"),
    [
        ("us-east-1", "811284229777.dkr.ecr.us-east-1.amazonaws.com/image-classification:1"),
        ("cn-north-1", "390948362332.dkr.ecr.cn-north-1.amazonaws.com.cn/image-classification:1"),
        ("us-iso-east-1", "490574956308.dkr.ecr.us-iso-east-1.c2s.ic.gov/image-classification:1"),
        ("us-gov-west-1", "226302683700.dkr.ecr.us-gov-west-1.amazonaws.com/image-classification:1"),
    ],
)
def test_image_of_each_partition(region: str, image: str) -> None:
    assert training_image(region) == image
    assert is_built_in(image)


def test_region_without_an_image_is_refused_with_a_way_out() -> None:
    with pytest.raises(EngineError, match=r"'mx-central-1' is not among the 37 regions.*give image"):
        training_image("mx-central-1")


def test_options_survive_their_json_form() -> None:
    options = replace(
        OPTIONS,
        instance_configs=(InstanceConfig(instance_type="ml.g5.xlarge"),),
        warm_start=WarmStart(parents=("a",)),
        tags={"team": "vision"},
    )
    assert SageMakerOptions.from_dict(json.loads(json.dumps(options.to_dict()))) == options


def test_misspelt_option_is_named_with_the_nearest() -> None:
    with pytest.raises(EngineError, match="instance_typ is unknown; did you mean instance_type"):
        SageMakerOptions.from_dict({"role": "r", "data": "d", "output_uri": "o", "instance_typ": "x"})


def test_options_in_the_documentation_are_known() -> None:
    root = Path(__file__).parents[3]
    text = "".join((root / name).read_text(encoding="utf-8") for name in ("README.md", "docs/sagemaker.md"))
    section = text[text.index("### Amazon SageMaker") :]
    examples = [json.loads(found) for found in re.findall(r"[`'](\{\".*?\})[`']", section)]
    assert len(examples) > 15
    for example in examples:
        assert find_misfits(SageMakerOptions, example, "options") == [], example
        complete = {"role": OPTIONS.role, "data": OPTIONS.data, "output_uri": OPTIONS.output_uri, **example}
        assert SageMakerOptions.from_dict(complete)
