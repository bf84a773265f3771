"""Options are declared once: faces and pipelines are as their declarations are, and a new one is one field."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.faces import FACES, Face

ROOT = Path(__file__).parents[2]
COPIED = ("src", "components", "pipelines", "tools", "docs", "katib")
DECLARATION = """\
    warmup_trials: int | None = option(None, help="trials that are drawn at random first", otherwise="as many", least=2)

"""
PROGRAM = """
from kfp_image_tuning.cli.command_line import build_parser
from kfp_image_tuning.cli.pipeline_options import given_options, to_parameters
from kfp_image_tuning.cli.search_settings import settings_from
from kfp_image_tuning.components.training.katib_tuning import katib_tuning
from kfp_image_tuning.pipelines.image_tuning import PIPELINES
from kfp_image_tuning.steps.preflight.parameters import find_problems

options = given_options(build_parser().parse_args("run --data x --output y --warmup-trials 7".split()))
print("parameters", to_parameters(options))
print("settings", settings_from(options).warmup_trials, settings_from({}).warmup_trials)
print("component", katib_tuning.component_spec.inputs["warmup_trials"].default)
for engine, pipeline in PIPELINES.items():
    tasks = pipeline.pipeline_spec.root.dag.tasks
    given = [task for task in tasks if "armup_trials" in str(tasks[task].inputs)]
    print(engine, pipeline.component_spec.inputs["tune_warmup_trials"].default, sorted(given))
print("wrong", *find_problems("local", {"data_images": "/x", "tune_warmup_trials": 1}, in_pod=True))
"""


@pytest.mark.parametrize("face", FACES, ids=lambda face: face.path.parent.name + "-" + face.path.stem)
def test_options_in_faces_and_pipelines_are_as_declared(face: Face) -> None:
    assert face.path.read_text(encoding="utf-8") == face.text(), "run `make generate` and commit the changes"


def test_a_new_option_is_one_declaration(tmp_path: Path) -> None:
    for name in COPIED:
        shutil.copytree(ROOT / name, tmp_path / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    path = tmp_path / "src/kfp_image_tuning/options/declared.py"
    before, heading, after = path.read_text(encoding="utf-8").partition("    max_trials: int = option(")
    path.write_text(before + DECLARATION + heading + after, encoding="utf-8")

    def run(*words: str) -> str:
        environment = {**os.environ, "PYTHONPATH": f"{tmp_path / 'src'}{os.pathsep}{tmp_path}"}
        done = subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("-m", "tools.faces")
    run("-m", "tools.option_reference")
    assert "--warmup-trials N" in run("-m", "kfp_image_tuning", "plan", "--help")
    assert run("-c", PROGRAM).splitlines() == [
        "parameters {'data_images': 'x', 'tune_warmup_trials': 7}",
        "settings 7 None",
        "component 0",
        "local 0 ['local-tuning', 'preflight']",
        "katib 0 ['katib-tuning', 'preflight']",
        "sagemaker 0 ['preflight', 'sagemaker-tuning']",
        "wrong tune_warmup_trials: at least 2, got 1",
    ]
    described = "Trials that are drawn at random first, at least 2"
    assert (
        f"| `--warmup-trials` | `tune_warmup_trials` | whole number | as many (in pipelines `0`) | {described}. |"
        in (tmp_path / "docs/reference.md").read_text(encoding="utf-8")
    )
    for face in ("components/training/sagemaker_tuning/component.py", "pipelines/image_tuning_local.py"):
        assert f"warmup_trials: {described}; 0: as many." in (tmp_path / face).read_text(encoding="utf-8")
