"""What a reader sees of a plan before anything is spent."""

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from kfp_image_tuning.core.errors import EngineError
from kfp_image_tuning.engines.sagemaker.request.options import InstanceConfig
from kfp_image_tuning.engines.sagemaker.request.planning import plan_search
from kfp_image_tuning.search.budget import Budget
from kfp_image_tuning.search.search import DatasetSummary, Search
from kfp_image_tuning.search.search_space import SearchSpace
from tests.engines.sagemaker.tuning_jobs import OPTIONS, credentials, small_search


def test_summary_names_job_image_data_definitions_and_cost() -> None:
    lines = plan_search(small_search(), OPTIONS).summary
    text = "\n".join(lines)
    assert "in us-east-1, strategy Bayesian, early stopping Off" in text
    assert "train: s3://images/digits/train/train.rec (application/x-recordio)" in text
    assert "Definition rmsprop: tunes eps, gamma, learning_rate, mini_batch_size" in text
    assert lines[-1] == (
        "Cost: at most 36.0 instance-hours of ml.g4dn.xlarge: 6 trials of at most 6 h, 2 at a time, all over after "
        "18 h 30 min"
    )


@pytest.mark.parametrize(
    ("budget", "options", "hours"),
    [
        (Budget(max_trials=10, parallel_trials=2), {"max_trial_seconds": 3600}, 10.0),
        (Budget(max_trials=10, parallel_trials=2), {"max_trial_seconds": 3600, "nodes": 3}, 30.0),
        (Budget(max_trials=10, parallel_trials=2, max_seconds=3480), {"max_trial_seconds": 3600}, 2.0),
        (Budget(max_trials=4, parallel_trials=2), {"max_trial_seconds": 3600, "spot": True}, 4.0),
        (
            Budget(max_trials=4, parallel_trials=2),
            {
                "max_trial_seconds": 1800,
                "instance_configs": (
                    InstanceConfig(instance_type="ml.g5.xlarge", nodes=2),
                    InstanceConfig(instance_type="ml.g4dn.xlarge", nodes=4),
                ),
            },
            8.0,
        ),
    ],
)
def test_cost_is_the_most_that_can_happen(budget: Budget, options: dict[str, Any], hours: float) -> None:
    cost = plan_search(small_search(budget=budget), replace(OPTIONS, **options)).summary[-1]
    assert f"at most {hours:.1f} instance-hours" in cost


@pytest.mark.parametrize(
    ("search", "options", "warning"),
    [
        ({}, {}, "weight_decay: starts at 0, where SageMaker knows no logarithmic scaling"),
        ({}, {}, 'early stopping: SageMaker has none with one definition for each optimizer.*"flat"'),
        ({"budget": Budget(max_trials=4, parallel_trials=4)}, {}, "all 4 trials run at once, so none learns"),
        ({"budget": Budget(max_trials=90, parallel_trials=30)}, {}, "30 is more than the usual quota of 10"),
        ({"changes": {"mini_batch_size": [16, 32]}}, {}, "mini_batch_size: is given as a list of choices"),
        ({}, {"initial_model": "s3://images/m.tar.gz"}, "num_layers, image_shape and num_classes must be those"),
        ({}, {"input_mode": "FastFile"}, "AWS documents File and Pipe"),
        ({}, {"encrypt_traffic": True}, "on one machine has no traffic"),
        ({}, {"max_seconds": 600}, "before a single trial could use its 6 h"),
    ],
)
def test_warning_says_what_to_know_before_spending(
    search: dict[str, Any], options: dict[str, Any], warning: str
) -> None:
    import re

    warnings = plan_search(small_search(**search), replace(OPTIONS, **options)).warnings
    assert [line for line in warnings if re.search(warning, line)], warnings


def test_practical_preset_has_no_warning_about_scaling() -> None:
    dataset = DatasetSummary(
        fingerprint="f", num_classes=2, num_training_samples=900, num_validation_samples=9, image_shape=(3, 64, 64)
    )
    search = Search.for_dataset(
        SearchSpace.customized(preset="practical"), dataset, budget=Budget(), search_mode="flat"
    )
    assert not [line for line in plan_search(search, OPTIONS).warnings if "logarithmic" in line]


def test_region_comes_from_the_environment_or_is_asked_for() -> None:
    with credentials(AWS_REGION="eu-west-1"):
        plan = plan_search(small_search(), replace(OPTIONS, region=""))
    assert "dkr.ecr.eu-west-1" in plan.request["TrainingJobDefinitions"][0]["AlgorithmSpecification"]["TrainingImage"]
    with credentials(), pytest.raises(EngineError, match="region: none is given; give one such as us-east-1"):
        plan_search(small_search(), replace(OPTIONS, region=""))


def test_planning_imports_no_cloud_library() -> None:
    code = (
        "import sys; import kfp_image_tuning.engines.sagemaker.request.planning, "
        "kfp_image_tuning.engines.sagemaker.engine; "
        "print([m for m in ('boto3', 'botocore', 'sagemaker', 'torch', 'kfp', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
