"""The command that a run tells, typed into a shell in another folder, gives the same images, trials and verdict."""

import html
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from kfp_image_tuning.cli.command_line import main
from kfp_image_tuning.dataset.document import Dataset
from kfp_image_tuning.engines.katib.request.config import KatibConfig
from kfp_image_tuning.engines.katib.request.planning import plan_search as plan_experiments
from kfp_image_tuning.engines.sagemaker.request.config import SageMakerConfig
from kfp_image_tuning.engines.sagemaker.request.planning import plan_search as plan_job
from kfp_image_tuning.evaluation.evaluation import Evaluation
from kfp_image_tuning.search.result import TuningResult
from kfp_image_tuning.steps.reproduction import search_command
from kfp_image_tuning.steps.tuning_settings import TuningSettings

SPACE = '{"optimizer": ["sgd", "adam"], "mini_batch_size": 16}'
SEARCH = ["--max-trials", "2", "--parallel-trials", "1", "--epochs", "1", "--search-space", SPACE]


def shell(command: str, folder: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", command], cwd=folder, env={**os.environ, "PATH": path}, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def outcome(folder: Path) -> dict[str, Any]:
    """What must be the same, and what tells how it was made."""
    dataset, result = Dataset.load(folder / "dataset"), TuningResult.load(folder / "result.json")
    evaluation = Evaluation.load(folder / "evaluation.json")
    return {
        "images": dataset.fingerprint,
        "asked": (dataset.settings, dataset.fractions, dataset.seed, dataset.source, dataset.skipped),
        "search": result.search,
        "trials": [(trial.name, trial.status, trial.hyperparameters, trial.objective) for trial in result.trials],
        "best": result.best_trial and result.best_trial.name,
        "accuracy": evaluation.accuracy,
        "verdict": evaluation.verdict,
        "command": evaluation.reproduction_command,
    }


def check_reproduction(first: Path, place: Path) -> None:
    """Run the command of a run's report in an empty folder, and compare."""
    expected = outcome(first)
    shown = re.search("<pre><code>(.*?)</code></pre>", (first / "report.html").read_text("utf-8"), re.DOTALL)
    assert shown is not None
    command = html.unescape(shown[1])
    assert command == expected["command"]
    place.mkdir()
    shell(command, place)
    assert outcome(place / "runs" / "again") == expected


@pytest.fixture
def images(digits: Path, tmp_path: Path) -> Path:
    """Class folders below a name that a shell would take apart."""
    folder = tmp_path / "Lena's „neue“ images; `a&b`"
    shutil.copytree(digits, folder)
    return folder


@pytest.mark.slow
def test_images(images: Path, tmp_path: Path) -> None:
    options = ["--seed", "3", "--test-fraction", "0.15", "--shards", "2", "--min-accuracy", "0.01", "--prior", "none"]
    # As a user types it, from where the images are.
    typed = ["kfp-image-tuning", "run", "--data", images.name, "--output", "first", *SEARCH, *options]
    shell(shlex.join(typed), tmp_path)
    command = outcome(tmp_path / "first")["command"]
    assert shlex.split(command)[:4] == ["kfp-image-tuning", "run", "--data", str(images)]
    assert command.endswith(" --min-accuracy 0.01")
    check_reproduction(tmp_path / "first", tmp_path / "again")


@pytest.mark.slow
def test_images_that_cannot_be_used(images: Path, tmp_path: Path) -> None:
    for number in range(5):
        (images / "digit-0" / f"broken-{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    options = ["--max-invalid-images", "5"]
    shell(
        shlex.join(["kfp-image-tuning", "run", "--data", str(images), "--output", "first", *SEARCH, *options]), tmp_path
    )
    assert len(Dataset.load(tmp_path / "first" / "dataset").skipped) == 5
    check_reproduction(tmp_path / "first", tmp_path / "again")


@pytest.mark.slow
def test_data_set_that_was_prepared_in_another_way(prepared_digits: Path, tmp_path: Path) -> None:
    """Records that only number their classes, with another seed than the search's."""
    (tmp_path / "records").mkdir()
    shutil.copy(prepared_digits / "train" / "train.rec", tmp_path / "records")
    prepare = (
        "kfp-image-tuning prepare --data records --output data --class-names 'zéro,one,the two,3' --encoding jpeg "
        "--quality 70 --image-shape 1,12,10 --training-margin 0.2 --validation-fraction 0.2 --seed 5"
    )
    run = shlex.join(
        ["kfp-image-tuning", "run", "--data", "data", "--output", "first", *SEARCH, "--strategy", "random"]
    )
    shell(f"{prepare} && {run}", tmp_path)
    assert Dataset.load(tmp_path / "first" / "dataset").classes == ("zéro", "one", "the two", "3")
    check_reproduction(tmp_path / "first", tmp_path / "again")


SETTINGS = TuningSettings(
    search_space={"optimizer": "sgd", "mini_batch_size": 16.0},
    strategy="random",
    max_trials=4,
    parallel_trials=2,
    epochs=3,
    max_failed_trials=0,
    max_seconds=5400.0,
    target_accuracy=0.97,
    stop_bad_trials=False,
    seed=7,
    initial_model="s3://models/start/model.tar.gz",
)
SECRET = {"valueFrom": {"secretKeyRef": {"name": "store", "key": "token"}}}
KATIB = KatibConfig(
    storage="s3://team/tuning",
    katib_options={
        "namespace": "team",
        "credentials_secret": "team-store",
        "keep_experiments": True,
        "pods": {"memory": "8Gi", "env": {"LANG": "C", "STORE_TOKEN": SECRET}},
    },
    task_config={
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "resources": {"limits": {"cpu": "3", "amd.com/gpu": "2"}},
    },
)
SAGEMAKER = SageMakerConfig(
    role="arn:aws:iam::123456789012:role/tuning",
    bucket="pictures/team",
    region="eu-west-1",
    sagemaker_options={"instance_type": "ml.g5.xlarge", "spot": True, "output_kms_key": "alias/models"},
)


@pytest.mark.parametrize(("engine", "own"), [("katib", KATIB), ("sagemaker", SAGEMAKER)])
def test_search_elsewhere(
    engine: str, own: KatibConfig | SageMakerConfig, prepared_digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same documents are sent."""
    dataset = Dataset.load(prepared_digits)
    search = SETTINGS.to_search(dataset)
    if isinstance(own, KatibConfig):
        documents = plan_experiments(search, own.options(search, SETTINGS.initial_model)).request["documents"]
    else:
        options = own.options(dataset, search.fingerprint[:8], SETTINGS.initial_model)
        documents = [plan_job(search, options).request]
    command = search_command(dataset, replace(SETTINGS, seed=dataset.seed), own.to_repeat(), engine=engine)
    words = shlex.split(search_command(dataset, SETTINGS, own.to_repeat(), engine=engine).splitlines()[1])
    assert shlex.split(command)[1:4] == ["run", "--data", dataset.source.uri]
    words[words.index("--data") + 1] = str(prepared_digits)
    assert main(["plan", *words[2 : words.index("--output")]]) == 0
    assert list(yaml.safe_load_all(capsys.readouterr().out)) == [*documents]
