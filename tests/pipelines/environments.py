"""Environments that stand for container images: an own folder over packages that are elsewhere."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from importlib.metadata import Distribution, distribution
from pathlib import Path


def make_environment(folder: Path, base: Path | None = None, *, for_users: bool = False) -> Path:
    """Make an environment into which pip installs; returns its ``bin`` folder.

    Args:
        folder: Where.
        base: The ``bin`` folder of the environment whose packages it has from the start; None: pip, and nothing else.
        for_users: Whether those who may not write there can install into their homes, as in an image; then it has
            this machine's own packages, too.
    """
    venv.create(folder, system_site_packages=for_users)
    binaries = folder / "bin"
    if base is None:
        link_package(distribution("pip"), binaries)
    else:
        (_packages_of(binaries) / "base.pth").write_text(f"{_packages_of(base)}\n")
    return binaries


def link_package(package: Distribution, binaries: Path) -> None:
    """Show a package of this environment in another one, but for its programs: what runs there are modules."""
    site = _packages_of(binaries)
    for file in package.files or []:
        if ".." in file.parts:
            continue
        target = site / file
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(str(file.locate()), target)
        except OSError:
            # Another file system.
            shutil.copy(str(file.locate()), target)


def _packages_of(binaries: Path) -> Path:
    return Path(sysconfig.get_path("purelib", "venv", vars={"base": str(binaries.parent)}))


def build_wheel(checkout: Path, folder: Path) -> Path:
    """Build our wheel from a copy, so that no build folder appears in the checkout."""
    list_files = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(list_files, cwd=checkout, capture_output=True, text=True, check=True).stdout.split("\n")
    for name in filter(None, names):
        if (checkout / name).exists():
            target = folder / "source" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(checkout / name, target, follow_symlinks=False)
    build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(folder / "source")]
    subprocess.run(build, check=True, capture_output=True)
    return next(folder.glob("*.whl"))
