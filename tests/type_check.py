"""Type-check the rooms under their import names.

mypy does not see the mapping of ``setup.cfg`` (``kfp_image_tuning.tuning = tuning``), so it gets a folder of links that
looks like the installed package.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("tuning", "dataset", "trainer", "report", "code_archive", "katib", "components", "pipelines")


def main() -> int:
    """Return mypy's exit status."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "kfp_image_tuning"
        package.mkdir()
        for room in ROOMS:
            (package / room).symlink_to(ROOT / room)
        command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "setup.cfg")]
        command += ["--cache-dir", str(ROOT / ".mypy_cache"), "-p", "kfp_image_tuning"]
        return subprocess.run(command, cwd=folder, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
