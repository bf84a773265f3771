"""The example Experiments in ``katib/``, made by ``kfp-image-tuning plan`` itself.

``python -m tools.katib_examples`` writes them.
"""

import contextlib
import io
import shlex
from pathlib import Path

from kfp_image_tuning.cli.command_line import main

FOLDER = Path(__file__).parents[1] / "katib"
EXAMPLES = {
    "smoke-test-cpu.yaml": (
        "kfp-image-tuning plan --engine katib --data pvc://images/dataset --gpus 0 --max-trials 2 --parallel-trials 1 "
        """--epochs 1 --search-mode flat --search-space '{"optimizer": "sgd"}' """
        """--katib-options '{"namespace": "kubeflow", "pods": {"cpu": "1", "memory": "4Gi"}}'"""
    ),
    "search-gpu.yaml": (
        "kfp-image-tuning plan --engine katib --data pvc://images/dataset --gpus 1 --max-trials 40 --parallel-trials 4 "
        """--epochs 20 --katib-options '{"namespace": "kubeflow", "pods": {"cpu": "4", "memory": "16Gi"}}'"""
    ),
}
"""File to the command that makes it."""


def example_text(command: str) -> str:
    """The file of a command.

    Args:
        command: As it is typed.
    """
    documents = io.StringIO()
    with contextlib.redirect_stdout(documents), contextlib.redirect_stderr(io.StringIO()):
        status = main(shlex.split(command)[1:])
    if status:
        raise RuntimeError(f"{command} ended with status {status}")
    return f"# Made by: {command}\n{documents.getvalue()}"


if __name__ == "__main__":
    for name, command in EXAMPLES.items():
        (FOLDER / name).write_text(example_text(command), encoding="utf-8")
