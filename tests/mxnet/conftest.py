"""Runs MXNet in its own environment, since its NumPy is too old for ours. ``make test-mxnet`` sets this up.

MXNET_PYTHON names that environment's Python. Without it nothing here is collected: the same proof, as far as it fits
into small files, is in test_mxnet_vectors.py of each package.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
MXNET_PYTHON = os.environ.get("MXNET_PYTHON")

collect_ignore_glob = [] if MXNET_PYTHON else ["test_*.py"]


@pytest.fixture(scope="session")
def mxnet():
    """Run a task of oracle.py: ``mxnet("task", folder, setting=value)`` gives what the task returns."""

    def run(task, folder, **settings):
        answer = Path(folder) / f"{task}.answer.json"
        command = [MXNET_PYTHON, FOLDER / "oracle.py", task, folder, json.dumps(settings), answer]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MXNET_STORAGE_FALLBACK_LOG_VERBOSE": "0"}
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
        assert ended.returncode == 0, ended.stderr[-4000:]
        return json.loads(answer.read_text())

    return run
