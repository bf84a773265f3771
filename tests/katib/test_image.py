"""The image for trial pods, ``katib/Dockerfile``, as far as it can be tried without Docker.

Its instructions are read, and its commands run as they stand: the builder's in the build's context, the image's in an
environment that sees this one's PyTorch, NumPy and Pillow, as the base image would have them.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from fnmatch import fnmatch
from pathlib import Path

from kfp_image_tuning.katib.trial_pod import TRIAL_PACKAGES

ROOT = Path(__file__).parents[2]
Instruction = tuple[str, str]


def read_dockerfile() -> list[Instruction]:
    text = (ROOT / "katib" / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in joined.splitlines()]


def stages() -> list[list[Instruction]]:
    found: list[list[Instruction]] = [[]]
    for instruction in read_dockerfile():
        if instruction[0] == "FROM":
            found.append([])
        found[-1].append(instruction)
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


def test_both_stages_can_be_given_by_digest_and_the_image_runs_as_nobody_special() -> None:
    arguments, builder, image = stages()
    defaults = dict(text.split("=", 1) for kind, text in arguments if kind == "ARG")
    assert [stage[0][1] for stage in (builder, image)] == ["${BUILDER} AS builder", "${BASE}"]
    for default in defaults.values():
        assert re.fullmatch(r"[\w./-]+:[\w.-]+", default)
        assert not default.endswith(":latest")
    (user,) = [text for kind, text in image if kind == "USER"]
    assert all(int(part) > 0 for part in user.split(":"))
    assert [text for kind, text in image if kind == "COPY"] == ["--from=builder /wheels /wheels"]
    assert not [kind for kind, _ in read_dockerfile() if kind == "ADD"]


def test_the_image_gets_the_packages_that_a_public_image_gets() -> None:
    (command,) = [text for kind, text in stages()[2] if kind == "RUN"]
    assert sorted(re.findall(r"'([\w-]+>=[\d.]+)'", command)) == sorted(TRIAL_PACKAGES)


def test_the_commands_of_the_build_make_an_environment_that_can_train(tmp_path: Path) -> None:
    _, builder, image = stages()
    context, wheels, environment = tmp_path / "source", tmp_path / "wheels", tmp_path / "image"
    context.mkdir()
    copy_context(context)
    for command in [text for kind, text in builder if kind == "RUN"]:
        run(command, context, Path(sys.executable).parent, wheels)
    assert [path.name.partition("-")[0] for path in wheels.iterdir()] == ["kfp_image_tuning"]
    venv.create(environment, with_pip=True)
    site = Path(sysconfig.get_path("purelib", "venv", vars={"base": str(environment)}))
    (site / "base.pth").write_text(sysconfig.get_path("purelib") + "\n")
    for command in [text for kind, text in image if kind == "RUN"]:
        run(command, tmp_path, environment / "bin", wheels)
    assert (site / "kfp_image_tuning" / "katib" / "trial.py").is_file()
    command = next(text for kind, text in image if kind == "CMD")
    help_text = subprocess.run(
        [environment / "bin" / "python3", "-m", "kfp_image_tuning.trainer", "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert command == '["python3", "-m", "kfp_image_tuning.trainer", "--help"]'
    assert "--hyperparameters" in help_text.stdout
