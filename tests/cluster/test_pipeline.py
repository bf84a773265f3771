"""The whole pipeline ``katib.yaml`` from images to report, with real training in the pods of trials.

KFP runs the steps on this machine, as the launcher's service account; trials run the code that the pipeline packs and a
ConfigMap brings into the public image.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kfp_image_tuning.evaluation.evaluation import Evaluation
from kfp_image_tuning.model.model_files import load_model
from kfp_image_tuning.search.result import TuningResult
from tests.cluster.bench import Bench

SPACE = '{"optimizer": ["sgd", "adam"], "mini_batch_size": 16, "learning_rate": {"min": 0.01, "max": 0.2}}'


def run_command(kubeconfig: Path, *words: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "kfp_image_tuning.cli.command_line", *map(str, words)],
        env=os.environ | {"KUBECONFIG": str(kubeconfig)},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def test_images_become_an_evaluated_model(
    bench: Bench, launcher_kubeconfig: Path, digit_images: Path, tmp_path: Path
) -> None:
    output, storage = tmp_path / "run", bench.place.models / "photos"
    options = {"pods": {"env": {"OMP_NUM_THREADS": "1"}}}
    words: list[str | Path] = [
        "run",
        "--engine",
        "katib",
        "--data",
        digit_images,
        "--output",
        output,
        "--storage",
        "pvc://models/photos",
    ]
    words += ["--storage-mount", storage, "--katib-options", json.dumps(options), "--search-space", SPACE]
    words += ["--max-trials", "4", "--parallel-trials", "2", "--epochs", "6", "--test-fraction", "0.2", "--seed", "1"]
    done = run_command(launcher_kubeconfig, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    result = TuningResult.load(output / "result.json")
    assert (result.engine, [trial.status for trial in result.trials]) == ("katib", ["completed"] * 4)
    assert {trial.hyperparameters["optimizer"] for trial in result.trials} == {"sgd", "adam"}
    best = result.best_trial
    assert best is not None
    # Katib reads the objective from the log, which has six digits.
    assert load_model(output / "model").document.validation_accuracy == pytest.approx(best.objective, abs=1e-6)
    evaluation = Evaluation.load(output / "evaluation.json")
    assert evaluation.selection is not None
    assert evaluation.selection.trial == best.name
    assert best.name in (output / "report.html").read_text(encoding="utf-8")
    # The trials read their own copy of the data, which lacks the test images.
    (dataset,) = storage.glob("datasets/*")
    assert sorted(path.name for path in dataset.iterdir()) == ["dataset.json", "train", "validation"]
    bench.wait_until_nothing_is_left()

    assert f"--resume --output {output} --max-trials 8" in done.stdout
    done = run_command(launcher_kubeconfig, "run", "--resume", "--output", output, "--max-trials", "6")
    assert done.returncode == 0, done.stdout + done.stderr
    more = TuningResult.load(output / "result.json")
    assert more.trials[:4] == result.trials
    assert [trial.hyperparameters["optimizer"] for trial in more.trials[4:]].count("sgd") == 1
    assert len(more.trials) == 6
    bench.wait_until_nothing_is_left()


def test_a_data_set_on_a_claim_is_read_where_it_is_mounted(
    bench: Bench, launcher_kubeconfig: Path, digits_dataset: Path, tmp_path: Path
) -> None:
    output, folder = tmp_path / "run", bench.place.models / "team"
    shutil.copytree(digits_dataset, folder / "dataset")
    options = {"pods": {"env": {"OMP_NUM_THREADS": "1"}}}
    words: list[str | Path] = [
        "run",
        "--engine",
        "katib",
        "--data",
        "pvc://models/team/dataset",
        "--storage-mount",
        folder,
    ]
    words += ["--output", output, "--katib-options", json.dumps(options), "--search-space", SPACE]
    done = run_command(launcher_kubeconfig, *words, "--max-trials", "2", "--epochs", "2", "--search-mode", "flat")
    assert done.returncode == 0, done.stdout + done.stderr
    result = TuningResult.load(output / "result.json")
    assert [trial.status for trial in result.trials] == ["completed"] * 2
    # The trials read it where it was, and left their models beside it.
    assert sorted(path.name for path in folder.iterdir()) == ["dataset", "models"]
    assert (output / "model" / "model.safetensors").is_file()
    bench.wait_until_nothing_is_left()
