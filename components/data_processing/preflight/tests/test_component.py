"""All parameters are checked, and what is wrong is told at once."""

from pathlib import Path

import pytest

from ..component import preflight


def test_parameters_that_fit_give_the_fingerprint_of_the_images(digits: Path) -> None:
    fingerprint, *_ = preflight.python_func(engine="local", run_id="run-1", data_images=str(digits))
    assert fingerprint


def test_all_mistakes_are_told_at_once(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        preflight.python_func(
            engine="local", run_id="run-1", data_images=str(digits), tune_max_trials=0, eval_min_accuracy=90
        )
    told = capsys.readouterr().err
    assert "tune_max_trials" in told
    assert "eval_min_accuracy" in told
