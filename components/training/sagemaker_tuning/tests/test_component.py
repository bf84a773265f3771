"""What SageMaker would refuse is told before anything is sent."""

from pathlib import Path

import pytest
from kfp import dsl

from ..component import sagemaker_tuning


def test_a_role_that_is_none_is_told_first(
    prepared_digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        sagemaker_tuning.python_func(
            dataset=dsl.Dataset(uri=str(prepared_digits)),
            best_model=dsl.Model(uri=str(tmp_path / "model")),
            tuning_result=dsl.Artifact(uri=str(tmp_path / "result.json")),
            metrics=dsl.Metrics(),
            role="tuning",
            bucket="my-bucket",
            region="us-east-1",
        )
    assert "arn:aws" in capsys.readouterr().err
