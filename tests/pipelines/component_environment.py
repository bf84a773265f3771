"""A virtual environment with the packages that compiled components declare, and without this project: what a pod has
after its installs.

Its packages are those of this environment, which pip has resolved and installed already: what the components declare,
with all that it requires in turn, and nothing else. It is kept beside the checkout's own environment.
"""

import fcntl
import hashlib
import shutil
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

from kfp_image_tuning.delivery.declared_packages import declared_kfp, declared_packages
from tests.pipelines.environments import link_package, make_environment

ROOT = Path(__file__).parents[2]
PREFIX = ".venv-components-"


def component_environment(packages: Sequence[str], kfp: str, name: str = "all") -> Path:
    """The environment's ``bin`` folder.

    Args:
        packages: Requirements of the components that run in it.
        kfp: The requirement on kfp, which is installed without its dependencies.
        name: Tells environments apart; an older one of the same name is removed.
    """
    chosen = _with_their_requirements(packages)
    alone = _installed(Requirement(kfp))
    chosen[alone.name] = alone
    versions = sorted(f"{name}=={found.version}" for name, found in chosen.items())
    prefix = f"{PREFIX}{name}-"
    folder = ROOT / (prefix + hashlib.sha256("\n".join([sys.version, *versions]).encode()).hexdigest()[:12])
    whole = folder / "whole"
    with (ROOT / f"{PREFIX}lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not whole.exists():
            for older in ROOT.glob(f"{prefix}*/"):
                shutil.rmtree(older)
            binaries = make_environment(folder)
            for found in chosen.values():
                link_package(found, binaries)
            whole.touch()
    return folder / "bin"


def declared_environment() -> Path:
    """The ``bin`` folder of an environment with what the components of all pipelines declare."""
    extras = ["local", "parquet", "train", "katib", "sagemaker"]
    return component_environment(declared_packages(extras), declared_kfp())


def _with_their_requirements(packages: Iterable[str]) -> dict[str, Distribution]:
    """The installed packages that satisfy requirements, and those that they require, by name."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [Requirement(text) for text in packages]
    while waiting:
        requirement = waiting.pop()
        package = _installed(requirement)
        found[package.name] = package
        for extra in ("", *requirement.extras):
            if (package.name, extra) in seen:
                continue
            seen.add((package.name, extra))
            for text in package.requires or []:
                further = Requirement(text)
                if further.marker is None or further.marker.evaluate({"extra": extra}):
                    waiting.append(further)
    return found


def _installed(requirement: Requirement) -> Distribution:
    package = distribution(requirement.name)
    assert requirement.specifier.contains(package.version, prereleases=True), f"{requirement} is not {package.version}"
    return package
