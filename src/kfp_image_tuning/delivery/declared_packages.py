"""What a component installs at its start, read from this distribution's metadata: ``setup.cfg`` alone says it."""

import re
from collections.abc import Iterable
from importlib.metadata import requires

from kfp_image_tuning.core.installed_code import DISTRIBUTION

_EXTRA = re.compile(r"""extra\s*==\s*["']([\w-]+)["']""")


def declared_packages(extras: Iterable[str]) -> list[str]:
    """The requirements of this project with some of its extras, in the order of ``setup.cfg``; kfp is not among them.

    Args:
        extras: Names of extras, such as ``local``.
    """
    wanted = set(extras)
    packages = []
    for requirement, extra in _requirements():
        if (not extra or extra in wanted) and requirement not in packages and not _is_kfp(requirement):
            packages.append(requirement)
    return packages


def declared_kfp() -> str:
    """The requirement on kfp, such as ``kfp>=2.17,<3``."""
    return next(requirement for requirement, extra in _requirements() if extra == "pipelines" and _is_kfp(requirement))


def _requirements() -> Iterable[tuple[str, str]]:
    """Every requirement with the extra that asks for it (``""``: always)."""
    for text in requires(DISTRIBUTION) or []:
        requirement, _, marker = text.partition(";")
        match = _EXTRA.search(marker)
        yield _sorted_clauses(requirement.strip()), match.group(1) if match else ""


def _sorted_clauses(requirement: str) -> str:
    """The requirement with its version clauses in one order: build tools write them in different ones."""
    name, *clauses = re.split(r"(?=[<>=!~])", requirement, maxsplit=1)
    return name.strip() + ",".join(sorted((c.strip() for c in "".join(clauses).split(",") if c.strip()), reverse=True))


def _is_kfp(requirement: str) -> bool:
    return re.split(r"[<>=!~\[ ]", requirement, maxsplit=1)[0] == "kfp"
