"""The trainer run as a program."""

import os
import re
import subprocess
import sys
from pathlib import Path

TRAINER = "kfp_image_tuning.trainer"
HYPERPARAMETERS = {
    "num_classes": "10",
    "num_training_samples": "320",
    "num_layers": "20",
    "image_shape": "1,8,8",
    "epochs": "2",
    "learning_rate": "0.05",
}


def run(*arguments: str | Path, module: str = TRAINER, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *module.split(), *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def accuracies(log: str) -> list[float]:
    return [float(found) for found in re.findall(r"Epoch\[\d+\] Validation-accuracy=([0-9.]+)", log)]
