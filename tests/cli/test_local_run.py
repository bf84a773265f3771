"""``kfp-image-tuning run`` for real: small images, a real search, kfp.local."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kfp_image_tuning.dataset.document import Dataset
from kfp_image_tuning.evaluation.evaluation import Evaluation
from kfp_image_tuning.model.model_files import load_model
from kfp_image_tuning.search.result import TuningResult

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "kfp_image_tuning.cli.command_line"]
SPACE = '{"optimizer": ["sgd", "adam"], "mini_batch_size": 16, "learning_rate": {"min": 0.01, "max": 0.2}}'
QUICK = ["--test-fraction", "0.2", "--search-space", SPACE, "--seed", "1", "--parallel-trials", "2"]


def run(*arguments: str | Path, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], text=True, capture_output=True, check=False, cwd=cwd, timeout=300
    )


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def finished(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished run's folder and what it printed."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    done = run(
        "run",
        "--data",
        digits,
        "--output",
        folder,
        *QUICK,
        "--max-trials",
        "4",
        "--epochs",
        "6",
        "--min-accuracy",
        "0.8",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


def test_folder_holds_everything_and_nothing_twice(finished: tuple[Path, str], digits: Path) -> None:
    folder, _ = finished
    names = {path.name for path in folder.iterdir()}
    assert names == {"dataset", "result.json", "model", "evaluation.json", "report.html", "run.json", "work"}
    assert [path.name for path in (folder / "work").iterdir() if path.name not in ("lock", "search")] == []
    dataset = Dataset.load(folder / "dataset")
    assert sum(split.images for split in dataset.splits.values()) == len(list(digits.glob("*/*.png")))
    assert load_model(folder / "model").document.classes == dataset.classes


def test_result_evaluation_and_report_tell_of_the_same_model(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    result, evaluation = TuningResult.load(folder / "result.json"), Evaluation.load(folder / "evaluation.json")
    assert result.status == "completed"
    assert len(result.trials) == 4
    best = result.best_trial
    assert best is not None
    assert evaluation.selection is not None
    assert evaluation.selection.trial == best.name
    assert read(folder / "evaluation.json")["accuracy"] >= 0.8
    assert evaluation.verdict is not None
    assert evaluation.verdict.passed
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert best.name in report
    assert "digit-3" in report


def test_reader_sees_the_components_lines_and_not_kfps(finished: tuple[Path, str]) -> None:
    _, output = finished
    for heading in ("1/3 Preparing images", "2/3 Searching hyperparameters", "3/3 Evaluating the best model"):
        assert heading in output
    assert "trial-001 epoch 1/6 validation:accuracy" in output
    assert "KFP Executor" not in output
    assert "INFO" not in output
    assert "executor_input" not in output
    assert "\x1b" not in output


def test_closing_screen_says_how_good_where_and_what_next(finished: tuple[Path, str]) -> None:
    folder, output = finished
    closing = output[output.index("Test accuracy") :]
    assert "95 % interval" in closing
    assert "learning_rate" in closing
    for name in ("report.html", "model", "result.json", "evaluation.json", "dataset"):
        assert str(folder / name) in closing
    assert "--resume" in closing


def test_used_folder_is_refused_with_the_way_out(finished: tuple[Path, str], digits: Path) -> None:
    folder, _ = finished
    done = run("run", "--data", digits, "--output", folder)
    assert done.returncode == 1
    assert "--resume" in done.stderr
    assert done.stdout == ""


def test_report_can_be_written_again(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    before = (folder / "report.html").read_bytes()
    (folder / "report.html").unlink()
    done = run("report", "--run", folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "report.html").read_bytes() == before


def test_model_can_be_evaluated_against_a_baseline(finished: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = finished
    places: list[str | Path] = ["--model", folder / "model", "--dataset", folder / "dataset", "--output", tmp_path]
    done = run("evaluate", *places, "--baseline", folder / "evaluation.json")
    assert done.returncode == 3, "a model is not better than itself: " + done.stdout + done.stderr
    assert Evaluation.load(tmp_path / "evaluation.json").accuracy == read(folder / "evaluation.json")["accuracy"]
    assert run("evaluate", *places).returncode == 0


def test_plan_of_the_prepared_images_trains_nothing(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    before = sorted(folder.rglob("*"))
    done = run("plan", "--data", folder, "--preset", "practical", "--epochs", "6")
    assert done.returncode == 0, done.stderr
    assert "Images: 4 classes" in done.stdout
    assert "num_layers           20" in done.stdout
    assert "a minimum above 0 makes logarithmic scaling legal" in done.stdout
    assert sorted(folder.rglob("*")) == before


def test_resumed_run_goes_on_with_more_trials_and_another_gate(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    images = (folder / "dataset" / "train" / "train.rec").stat().st_mtime_ns
    first = TuningResult.load(folder / "result.json").trials
    done = run("run", "--resume", "--output", folder, "--max-trials", "5", "--baseline", folder / "evaluation.json")
    assert done.returncode == 3, "a model that does not pass has its own exit code: " + done.stdout + done.stderr
    assert "DOES NOT PASS" in done.stdout
    assert "Going on with a search of 4 trials" in done.stdout
    trials = TuningResult.load(folder / "result.json").trials
    assert len(trials) == 5
    assert [trial.name for trial in trials[:4]] == [trial.name for trial in first]
    assert (folder / "dataset" / "train" / "train.rec").stat().st_mtime_ns == images, "images were prepared again"
    assert (folder / "report.html").is_file()


def test_search_that_cannot_go_on_does_not_spoil_the_run(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    before = read(folder / "run.json")
    done = run("run", "--resume", "--output", folder, "--epochs", "3")
    assert done.returncode == 1
    assert "different search" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert read(folder / "run.json") == before


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ("nowhere", [], "nowhere: there is no such file or folder"),
        ("empty", [], "holds no images"),
        ("digits", ["--search-space", '{"momentum": 7}'], "momentum: 7"),
        ("digits", ["--patience", "2"], "at least 3"),
        ("digits", ["--validation-fraction", "0.7", "--test-fraction", "0.5"], "raction"),
        ("digits", ["--baseline", "nothing.json"], "nothing.json: there is no such file"),
    ],
)
def test_failure_is_one_clear_message_and_leaves_nothing(
    data: str, options: list[str], message: str, digits: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    place = digits if data == "digits" else tmp_path / data
    done = run("run", "--data", place, "--output", tmp_path / "run", *options)
    assert done.returncode == (1 if data == "empty" else 2), done.stdout
    assert done.stderr.startswith(("Error [", "kfp-image-tuning run: "))
    assert message in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "run").exists(), "the corrected command must not need --resume"


class Running:
    """A run in the background."""

    def __init__(self, *arguments: str | Path) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *map(str, arguments)], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self.output = ""

    def wait_for(self, words: str) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output += line
            if words in line:
                return
        raise AssertionError(f"the run ended without {words!r}:\n{self.output}")

    def end(self) -> int:
        assert self.process.stdout is not None
        self.output += self.process.stdout.read()
        return self.process.wait(timeout=120)


def processes_of(folder: Path) -> list[str]:
    """Command lines of living processes that were told of a folder, this test's own aside."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(folder) in words:
                found.append(words)
    return found


@pytest.fixture
def long_run(digits: Path, tmp_path: Path) -> Iterator[tuple[Running, Path]]:
    folder = tmp_path / "run"
    running = Running(
        "run",
        "--data",
        digits,
        "--output",
        folder,
        *QUICK,
        "--max-trials",
        "6",
        "--epochs",
        "20",
        "--no-stop-bad-trials",
    )
    yield running, folder
    running.process.kill()
    running.process.wait()


def wait_until_no_process_is_left(folder: Path) -> None:
    deadline = time.monotonic() + 60
    while left := processes_of(folder):
        assert time.monotonic() < deadline, left
        time.sleep(0.2)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_run_in_order(number: signal.Signals, long_run: tuple[Running, Path]) -> None:
    running, folder = long_run
    running.wait_for("epoch 2/20")
    running.process.send_signal(number)
    assert running.end() == 128 + number
    assert f"Continue with: kfp-image-tuning run --resume --output {folder}" in running.output
    assert "Traceback" not in running.output
    assert TuningResult.load(folder / "result.json").status == "stopped", "what was found so far is there"
    wait_until_no_process_is_left(folder)


def test_killed_run_goes_on_and_leaves_no_process(long_run: tuple[Running, Path]) -> None:
    running, folder = long_run
    running.wait_for("epoch 2/20")
    running.process.kill()
    running.end()
    done = run("run", "--resume", "--output", folder, "--max-trials", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is prepared already" in done.stdout
    assert "Going on with a search" in done.stdout
    result = TuningResult.load(folder / "result.json")
    assert len(result.trials) == 2
    assert read(folder / "evaluation.json")["accuracy"] > 0.5
    wait_until_no_process_is_left(folder)


def test_a_run_that_is_killed_while_it_evaluates_goes_on_there(digits: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    running = Running("run", "--data", digits, "--output", folder, *QUICK, "--max-trials", "2", "--epochs", "4")
    running.wait_for("3/3 Evaluating the best model")
    running.process.kill()
    running.end()
    wait_until_no_process_is_left(folder)
    assert not (folder / "evaluation.json").exists()
    journal = (folder / "work" / "search" / "journal.jsonl").read_text()
    done = run("run", "--resume", "--output", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "work" / "search" / "journal.jsonl").read_text() == journal, "nothing was trained again"
    assert len(TuningResult.load(folder / "result.json").trials) == 2
    assert read(folder / "evaluation.json")["accuracy"] > 0.3
    wait_until_no_process_is_left(folder)
