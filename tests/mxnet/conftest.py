"""Runs MXNet in its own environment, since its NumPy is too old for ours. ``make test-mxnet`` sets this up.

MXNET_PYTHON names that environment's Python. Without it nothing here is collected: the same proof, as far as it fits
into small files, is in test_mxnet_vectors.py of each package.
"""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MXNET_PYTHON = os.environ.get("MXNET_PYTHON")

collect_ignore_glob = [] if MXNET_PYTHON else ["test_*.py"]


@pytest.fixture(scope="session")
def mxnet() -> Callable[..., Any]:
    """Run a task of oracle.py: ``mxnet("task", folder, setting=value)`` gives what the task returns."""

    def run(task: str, folder: Path, **settings: Any) -> Any:
        answer = folder / f"{task}.answer.json"
        assert MXNET_PYTHON is not None
        command: list[str | Path] = [
            MXNET_PYTHON,
            "-m",
            "tests.mxnet.oracle",
            task,
            folder,
            json.dumps(settings),
            answer,
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MXNET_STORAGE_FALLBACK_LOG_VERBOSE": "0"}
        ended = subprocess.run(
            command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
        )
        assert ended.returncode == 0, ended.stderr[-4000:]
        return json.loads(answer.read_text())

    return run
