"""A search in this process leaves a model and a result."""

from pathlib import Path

from kfp import dsl

from ..component import local_tuning


def test_a_search_leaves_a_model_and_a_result(prepared_digits: Path, tmp_path: Path) -> None:
    metrics = dsl.Metrics()
    accuracy, hyperparameters, trial = local_tuning.python_func(
        dataset=dsl.Dataset(uri=str(prepared_digits)),
        best_model=dsl.Model(uri=str(tmp_path / "model")),
        tuning_result=dsl.Artifact(uri=str(tmp_path / "result.json")),
        metrics=metrics,
        search_space={"optimizer": "sgd", "mini_batch_size": 32},
        max_trials=1,
        epochs=1,
        work_directory=str(tmp_path / "work"),
    )
    assert 0 <= accuracy <= 1
    assert hyperparameters["optimizer"] == "sgd"
    assert trial
    assert metrics.metadata
    assert {path.name for path in tmp_path.iterdir()} >= {"model", "result.json"}
