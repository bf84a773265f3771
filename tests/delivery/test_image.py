"""The image of all steps and trials, ``katib/Dockerfile``, as far as it can be tried without a builder of images.

Its instructions are read, and its commands run as they stand: the builder's in the build's context, the image's in an
environment that sees this one's packages, as a base image would have them.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.pipelines.environments import make_environment

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
Instruction = tuple[str, str]
IMAGE = "${VARIANT}"


def read_dockerfile() -> list[Instruction]:
    text = (ROOT / "katib" / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in joined.splitlines()]


def stages() -> dict[str, list[Instruction]]:
    """Instructions by stage; those before the first one by the empty name."""
    found: dict[str, list[Instruction]] = {"": []}
    for instruction in read_dockerfile():
        if instruction[0] == "FROM":
            found[instruction[1].rpartition(" AS ")[2]] = []
        found[list(found)[-1]].append(instruction)
    return found


def copy_context(target: Path) -> None:
    """What ``COPY . .`` copies, by ``.dockerignore``."""
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert rules[0] == "*"
    taken = [rule[1:] for rule in rules if rule.startswith("!")]
    left = [rule.removeprefix("**/") for rule in rules[1:] if not rule.startswith("!")]

    def is_left(folder: str, names: list[str]) -> set[str]:
        place = Path(folder).relative_to(ROOT)
        return {name for name in names if any(fnmatch(name, rule) or str(place / name) == rule for rule in left)}

    for name in taken:
        source = ROOT / name
        assert source.exists(), f".dockerignore names {name}, which is not there"
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=is_left)
        else:
            shutil.copy(source, target / name)


def run(command: str, folder: Path, binaries: Path, wheels: Path) -> None:
    """Run a command of the Dockerfile, with the build's ``/wheels`` in its place."""
    environment = os.environ | {"PATH": f"{binaries}:{os.environ['PATH']}", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    environment.pop("PYTHONPATH", None)
    words = ["sh", "-ec", command.replace("/wheels", str(wheels))]
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_bases_are_pinned_and_can_be_given_and_the_image_runs_as_nobody_special() -> None:
    found = stages()
    defaults = dict(text.split("=", 1) for kind, text in found[""] if kind == "ARG")
    assert defaults.pop("VARIANT") in found
    for default in defaults.values():
        assert re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", default)
    bases = {text.partition(" AS ")[0] for kind, text in read_dockerfile() if kind == "FROM"}
    assert bases == {IMAGE, *(f"${{{name}}}" for name in defaults)}
    (user,) = [text for kind, text in found[IMAGE] if kind == "USER"]
    assert all(int(part) > 0 for part in user.split(":"))
    assert [text for kind, text in found[IMAGE] if kind == "COPY"] == ["--from=wheel /wheels /wheels"]
    assert not [kind for kind, _ in read_dockerfile() if kind == "ADD"]


def test_the_commands_of_the_build_make_an_environment_that_has_all_that_steps_and_trials_need(tmp_path: Path) -> None:
    found = stages()
    context, wheels, environment = tmp_path / "source", tmp_path / "wheels", tmp_path / "image"
    context.mkdir()
    copy_context(context)
    for command in [text for kind, text in found["wheel"] if kind == "RUN"]:
        run(command, context, Path(sys.executable).parent, wheels)
    assert [path.name.partition("-")[0] for path in wheels.iterdir()] == ["kfp_image_tuning"]
    make_environment(environment, base=Path(sys.executable).parent)
    site = Path(sysconfig.get_path("purelib", "venv", vars={"base": str(environment)}))
    for command in [text for kind, text in found[IMAGE] if kind == "RUN"]:
        run(command, tmp_path, environment / "bin", wheels)
    assert (site / "kfp_image_tuning" / "engines" / "katib" / "pod" / "trial.py").is_file()
    (command,) = [text for kind, text in found[IMAGE] if kind == "CMD"]
    assert command == '["kfp-image-tuning", "--help"]'
    words: list[str | Path] = [environment / "bin" / "kfp-image-tuning", "--help"]
    shown = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "usage: kfp-image-tuning" in shown.stdout
