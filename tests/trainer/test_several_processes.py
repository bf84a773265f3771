"""Several processes that train one network, started by torchrun: they do everything together or nothing."""

import subprocess
from pathlib import Path
from textwrap import dedent

import pytest

from kfp_image_tuning.model.model_files import load_model
from tests.trainer.digits import validation_digits
from tests.trainer.programs import TRAINER, accuracies, run

pytestmark = pytest.mark.slow

TORCHRUN = "torch.distributed.run --nproc-per-node 2 --rdzv-backend c10d --rdzv-endpoint 127.0.0.1:0"

PRELUDE = """
import os, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from kfp_image_tuning.trainer.devices import process_group
from kfp_image_tuning.trainer.training import train
from tests.trainer.digits import CLASSES, make_hyperparameters, training_digits, validation_digits
rank = os.environ["RANK"]
folder = Path(sys.argv[1])

def say(line):
    # In one piece: the processes share their output.
    os.write(1, (line + "\\n").encode())

settings = dict(classes=CLASSES, seed=0, model_directory=folder / "model")
"""


def torchrun(program: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    script = folder / "program.py"
    script.write_text(PRELUDE.format(root=str(Path(__file__).parents[2])) + dedent(program))
    return run(script, folder, module=TORCHRUN)


def test_two_processes_train_one_model(records: Path, tmp_path: Path) -> None:
    done = run(
        *(TRAINER, "--train", records / "train", "--validation", records / "validation"),
        *("--hyperparameters", records / "hyperparameters.json", "--cache", records / "cache"),
        *("--model-dir", tmp_path, "--set", "epochs=3"),
        module=f"{TORCHRUN} --module",
    )
    assert done.returncode == 0, done.stderr
    found = accuracies(done.stdout)
    assert len(found) == 3, "only the first process writes"
    assert max(found) > 0.6
    # What was measured by both together holds for the model that the first one saved.
    classifier = load_model(tmp_path)
    validation = validation_digits()
    right = classifier.predict(validation.images).argmax(axis=1) == validation.labels
    assert right.mean() == pytest.approx(max(found), abs=1e-6)


def test_progress_is_told_once_and_ends_all_processes(tmp_path: Path) -> None:
    done = torchrun(
        """
        def on_progress(report):
            say(f"told in {rank}: epoch {report.epoch} step {report.step} of {report.steps}")
            return not (report.epoch == 1 and report.step == 20)

        with process_group():
            result = train(make_hyperparameters(mini_batch_size=8, epochs=3), training_digits(), validation_digits(),
                           on_progress=on_progress, log=lambda line: None, **settings)
        say(f"{rank} {result.outcome} after {len(result.history)}")
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    told = [line for line in lines if line.startswith("told")]
    assert told == [f"told in 0: epoch {epoch} step {step} of 40" for epoch, step in ((0, 20), (0, 40), (1, 20))]
    assert sorted(set(lines) - set(told)) == ["0 stopped after 1", "1 stopped after 1"]


DIFFERENT = {
    "images": (
        """
        with process_group():
            train(make_hyperparameters(), training_digits(320 - int(rank)), validation_digits(), **settings)
        """,
        r"images of training and validation: differ between processes: (320, 200), (319, 200); give every machine",
    ),
    "checkpoints": (
        """
        with process_group():
            for epochs in (1, 2):
                train(make_hyperparameters(epochs=2), training_digits(), validation_digits(),
                      on_epoch=lambda report: report.epoch + 1 < epochs, checkpoint_directory=folder / rank, **settings)
        """,
        "checkpoints: differ between processes: epoch 0, none; ",
    ),
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_processes_that_differ_refuse_instead_of_waiting_for_each_other(tmp_path: Path, case: str) -> None:
    program, expected = DIFFERENT[case]
    done = torchrun(program, tmp_path)
    assert done.returncode == 1
    assert f"TrainingError: {expected}" in done.stderr
