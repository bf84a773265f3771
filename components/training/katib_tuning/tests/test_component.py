"""What Katib would refuse is told before anything is asked of the cluster."""

from pathlib import Path

import pytest
from kfp import dsl

from ..component import katib_tuning


def test_an_unknown_option_is_told_first(
    prepared_digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        katib_tuning.python_func(
            dataset=dsl.Dataset(uri=str(prepared_digits)),
            best_model=dsl.Model(uri=str(tmp_path / "model")),
            tuning_result=dsl.Artifact(uri=str(tmp_path / "result.json")),
            metrics=dsl.Metrics(),
            task_config=dsl.TaskConfig(),
            storage="s3://my-bucket/folder",
            katib_options={"algoritm": "tpe"},
        )
    assert "algoritm" in capsys.readouterr().err
