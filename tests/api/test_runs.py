"""The product from Python, and the notebook that shows it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image

import kfp_image_tuning
from kfp_image_tuning import Run, evaluate, load_model, prepare, tune
from kfp_image_tuning.core.errors import DatasetError, ImageTuningError, ParameterError

ROOT = Path(__file__).parents[2]
SPACE = {"optimizer": ["sgd", "adam"], "mini_batch_size": 16, "learning_rate": {"min": 0.01, "max": 0.2}}


@pytest.fixture(scope="module")
def run(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with a result."""
    output = tmp_path_factory.mktemp("runs") / "first"
    return tune(digits, output=output, max_trials=2, epochs=4, search_space=SPACE, seed=1, parallel_trials=1)


def test_a_run_has_its_trials_its_model_and_its_report(run: Run, digits: Path) -> None:
    assert run.best is not None
    assert list(run.trials["trial"]) == [trial.name for trial in run.result.trials] == ["trial-001", "trial-002"]
    assert run.trials["objective"].max() == run.best.objective == run.model.validation_accuracy
    assert run.passed
    assert "<iframe" in run.report._repr_html_()
    assert Path(run.report).name == "report.html"
    assert Run(run.directory).best == run.best


def test_more_trials_continue_the_run(run: Run, digits: Path) -> None:
    more = tune(digits, output=run.directory, resume=True, max_trials=3)
    assert more.result.trials[:2] == run.result.trials
    assert len(more.result.trials) == 3


def test_a_model_takes_images_in_every_form(run: Run, digits: Path) -> None:
    model = load_model(run.directory / "model")
    path = next((digits / model.classes[0]).iterdir())
    with Image.open(path) as image:
        pixels = np.asarray(image)
        forms: list[Any] = [path, str(path), path.read_bytes(), image.copy(), pixels, np.dstack([pixels] * 3)]
    predictions = model.predict(forms)
    assert len({(found.label, round(found.probability, 5)) for found in predictions}) == 1
    one = model.predict(path)
    assert one.label == predictions[0].label
    assert one.probability == pytest.approx(predictions[0].probability, abs=1e-5)
    assert list(one.probabilities.values()) == sorted(one.probabilities.values(), reverse=True)
    assert sum(one.probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert model.predict([]) == []


def test_evaluation_and_preparation_are_those_of_the_command_line(run: Run, digits: Path, tmp_path: Path) -> None:
    assert evaluate(run.directory / "model", run.directory / "dataset").accuracy == run.evaluation.accuracy
    dataset = prepare(digits, tmp_path / "dataset", seed=1, test_fraction=0.2)
    assert dataset.split("test").images == 48
    assert dataset.fingerprint != prepare(digits, tmp_path / "other", seed=2, test_fraction=0.2).fingerprint


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_trails": 3}, ["max_trails: is not an option", "max_trials"]),
        ({"max_trials": "3", "seed": True}, ["max_trials: is a whole number, got '3'", "seed: is a whole number"]),
        ({"strategy": "best"}, ["strategy: is one of"]),
        ({"search_space": ["sgd"]}, ["search_space: is a mapping"]),
        ({"target_accuracy": 95}, ["target", "0.95"]),
        ({"gpus": 1}, ["--engine katib"]),
    ],
)
def test_wrong_options_are_told_at_once(options: dict[str, object], said: list[str], tmp_path: Path) -> None:
    with pytest.raises(ParameterError) as raised:
        tune(tmp_path, output=tmp_path / "out", **options)  # type: ignore[arg-type]
    assert all(sentence in str(raised.value) for sentence in said)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        ("nowhere.jpg", DatasetError),
        (b"no image", DatasetError),
        (np.zeros((4, 4, 3)), ParameterError),
        (7, ParameterError),
    ],
)
def test_what_is_no_image_is_told(run: Run, image: object, kind: type[ImageTuningError]) -> None:
    with pytest.raises(kind):
        run.model.predict(image)  # type: ignore[call-overload]


def test_the_package_is_quick_to_import_and_says_what_it_has() -> None:
    program = "import kfp_image_tuning, sys; print(sorted({'torch', 'kfp', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert {"tune", "prepare", "evaluate", "load_model"} <= set(kfp_image_tuning.__all__)
    with pytest.raises(AttributeError):
        _ = kfp_image_tuning.nothing


def test_the_notebook_runs(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHOTOS", str(digits))
    notebook = nbformat.read(ROOT / "examples" / "tune_photos.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    texts = [str(cell.get("outputs")) for cell in notebook.cells if cell.cell_type == "code"]
    assert "best validation accuracy" in texts[1]
    assert "95 % interval" in texts[2]
    assert "trial-001" in texts[3]
    assert "Prediction(" in texts[4]
    assert "iframe" in texts[5]
