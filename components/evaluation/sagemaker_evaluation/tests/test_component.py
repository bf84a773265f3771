"""What cannot be done is told before anything is sent."""

from pathlib import Path

import pytest
from kfp import dsl

from ..component import sagemaker_evaluation


def test_a_missing_result_is_told_first(
    prepared_digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        sagemaker_evaluation.python_func(
            model=dsl.Model(uri=str(tmp_path / "model")),
            dataset=dsl.Dataset(uri=str(prepared_digits)),
            tuning_result=dsl.Artifact(uri=str(tmp_path / "result.json")),
            evaluation=dsl.Artifact(uri=str(tmp_path / "evaluation.json")),
            metrics=dsl.Metrics(),
            classification_metrics=dsl.ClassificationMetrics(),
            report=dsl.HTML(uri=str(tmp_path / "report.html")),
        )
    assert "result.json" in capsys.readouterr().err
