"""What a release consists of can be built again and compared."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("suffix", [".whl", ".tar.gz"])
def test_two_builds_of_a_commit_give_the_same_bytes(built_twice: list[Path], suffix: str) -> None:
    first, second = [next(folder.glob(f"*{suffix}")) for folder in built_twice]
    assert first.name == second.name
    assert hashlib.sha256(first.read_bytes()).digest() == hashlib.sha256(second.read_bytes()).digest()


@pytest.fixture(scope="module")
def built_twice(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folders = []
    for umask, zone in ((0o022, "UTC"), (0o077, "Asia/Tokyo")):
        folder = tmp_path_factory.mktemp("dist")
        command = [sys.executable, "-m", "tools.distributions", str(folder)]
        subprocess.run(command, cwd=ROOT, umask=umask, env={**os.environ, "TZ": zone}, check=True)
        folders.append(folder)
    return folders
