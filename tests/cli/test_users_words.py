"""What steps say, as users of the command line read it."""

from pathlib import Path

import pytest

from kfp_image_tuning.cli.run_directory import RunDirectory
from kfp_image_tuning.cli.users_words import in_users_words, line_in_users_words


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("max_invalid_images: -1 is no count", "--max-invalid-images: -1 is no count"),
        ("tune_patience: at least 3, got 2", "--patience: at least 3, got 2"),
        ("data_images: x is not there", "--data: x is not there"),
        ("eval_mode: 'x' is none of a, b", "--evaluate: 'x' is none of a, b"),
        ("parallel_trials: 9 is more; lower parallel_trials", "--parallel-trials: 9 is more; lower --parallel-trials"),
        ("tune_katib_options: max_trials is no field", "--katib-options: max_trials is no field"),
        ("mini_batch_size: 7 is below 8", "mini_batch_size: 7 is below 8"),
        ("/runs/max_trials/x: is not there", "/runs/max_trials/x: is not there"),
        ("another process works in this work directory", "another process works in this --output"),
        ("choose another work directory, or continue", "choose another --output, or continue"),
        ("give --prior none (in a pipeline: tune_prior), then", "give --prior none, then"),
    ],
)
def test_messages_speak_of_options(said: str, read: str) -> None:
    assert in_users_words(said) == read


def test_lines_keep_the_names_of_hyperparameters() -> None:
    assert line_in_users_words("image_shape 3,8,8; stored as PNG") == "image_shape 3,8,8; stored as PNG"
    assert line_in_users_words("Warning: max_seconds: is short") == "Warning: --max-seconds: is short"
    assert line_in_users_words("the prior (in a pipeline: tune_prior) is off") == "the prior is off"


def test_messages_name_results_where_they_are_kept(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    step = directory.pipeline_root / "image-tuning-local-2026-11-28" / "local-tuning"
    said = f"all trials failed. Every trial is listed in {step}/tuning_result"
    assert directory.with_places_kept(said) == f"all trials failed. Every trial is listed in {directory.result}"
    assert directory.with_places_kept("no place") == "no place"
