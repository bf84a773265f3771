"""First thing in a trial's pod with a public image: unpack our trainer, install what the image lacks, run the trial.

Mounted as a file and run by its path, so it imports the standard library alone. It becomes the trial by ``exec``:
Katib's metrics collector ends a trial early only if the container's shell has exactly one child.
"""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    """Prepare, then turn into the trial."""
    scratch = Path(os.environ["HOME"])
    code, packages = scratch / "code", scratch / "packages"
    with (HERE / "code.txt").open(encoding="utf-8") as archive:
        subprocess.run([sys.executable, str(HERE / "unpack.py"), str(code)], stdin=archive, check=True)
    wanted = os.environ.get("TRIAL_PACKAGES", "").split()
    if wanted:
        # Without dependencies: NumPy is in the image, and a second one beside it would break PyTorch.
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"]
        subprocess.run([*pip, "--only-binary=:all:", f"--target={packages}", *wanted], check=True)
    path = [str(code), str(packages), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(path)
    os.execv(sys.executable, [sys.executable, "-m", os.environ["TRIAL_MODULE"]])


if __name__ == "__main__":
    main()
