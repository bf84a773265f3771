"""A virtual environment with the packages that compiled components declare, and without this project: what a pod has
after its installs.

It is kept beside the checkout's own environment, under a name made of the package list, since torch takes a minute to
install.
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from kfp_image_tuning.delivery.declared_packages import declared_kfp, declared_packages

ROOT = Path(__file__).parents[2]
PREFIX = ".venv-components-"


def component_environment(packages: Sequence[str], kfp: str, name: str = "all") -> Path:
    """The environment's ``bin`` folder.

    Args:
        packages: Requirements of the components that run in it.
        kfp: The requirement on kfp, which is installed without its dependencies.
        name: Tells environments apart; an older one of the same name is removed.
    """
    constraints = ROOT / "constraints.txt"
    key = "\n".join([sys.version, *sorted(packages), kfp, constraints.read_text()])
    prefix = f"{PREFIX}{name}-"
    folder = ROOT / (prefix + hashlib.sha256(key.encode()).hexdigest()[:12])
    whole = folder / "whole"
    with (ROOT / f"{PREFIX}lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not whole.exists():
            for older in ROOT.glob(f"{prefix}*/"):
                shutil.rmtree(older)
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
            install = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*install, "-c", str(constraints), *packages], check=True)
            subprocess.run([*install, "--no-deps", kfp], check=True)
            whole.touch()
    return folder / "bin"


def declared_environment() -> Path:
    """The ``bin`` folder of an environment with what the components of all pipelines declare."""
    extras = ["local", "parquet", "train", "katib", "sagemaker"]
    return component_environment(declared_packages(extras), declared_kfp())
