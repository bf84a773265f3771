"""The choice of how our code and its packages reach pods: on the command line, in Python, or in a values file."""

import re
from dataclasses import dataclass, replace
from typing import Self

from kfp_image_tuning.delivery.specification import CompilationError

_REFERENCE = re.compile(r"[^\s{}$]+")
_CREDENTIALS = re.compile(r"\w+://[^/@\s]+@")


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """Where pods get our code and its packages from; with neither image nor package, the namespace's ConfigMap.

    Attributes:
        image: A container image that holds this project and its packages; nothing is installed at start.
        package: A requirement on this project as pip reads it, such as ``kfp-image-tuning==0.1.0``, or the address of
            a wheel, with ``#sha256=…`` or ``--hash=sha256:…`` behind it if wanted; installed at start.
        base_image: The image of all steps in which packages are installed; empty: each component's own public one.
        index_url: Package index; empty: pip's own.
        trusted_host: Host, with a port if need be, whose certificate pip does not check.
    """

    image: str = ""
    package: str = ""
    base_image: str = ""
    index_url: str = ""
    trusted_host: str = ""

    def __post_init__(self) -> None:
        """Check it.

        Raises:
            CompilationError: With everything that is wrong.
        """
        if problems := [*self._contradictions(), *self._misfits()]:
            raise CompilationError.from_problems(problems)

    def before(self, other: Self) -> Self:
        """This choice, and where it says nothing that of a team.

        Another form (an image, or a package) takes the place of the team's, with what belongs to that alone.

        Args:
            other: The team's.

        Raises:
            CompilationError: If what is left does not go together.
        """
        given = {name: value for name, value in vars(self).items() if value}
        if self.image:
            return self
        form = {"image": ""} if self.package else {}
        return replace(other, **{**form, **given})

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables of every step; the Katib step hands them on to its trials."""
        values = {
            "PYTHONUNBUFFERED": "1",
            "KFP_IMAGE_TUNING_IMAGE": self.image,
            "KFP_IMAGE_TUNING_PACKAGE": self.package,
            "KFP_IMAGE_TUNING_BASE_IMAGE": self.base_image,
            "PIP_INDEX_URL": self.index_url,
            "PIP_TRUSTED_HOST": self.trusted_host,
        }
        return {name: value for name, value in values.items() if value}

    def _contradictions(self) -> list[str]:
        installs = {
            "package": self.package,
            "base image": self.base_image,
            "package index": self.index_url,
            "trusted host": self.trusted_host,
        }
        return [
            f"{name}: nothing is installed in an image that holds everything ({self.image}); give one of the two"
            for name, value in installs.items()
            if self.image and value
        ]

    def _misfits(self) -> list[str]:
        problems = [
            f"{name}: {value!r} is not an image reference; give one such as registry/name:tag"
            for name, value in (("image", self.image), ("base image", self.base_image))
            if value and not _REFERENCE.fullmatch(value)
        ]
        if self.index_url and not re.fullmatch(r"https?://[^\s{}$]+", self.index_url):
            problems.append(
                f"package index: {_plain(self.index_url)!r} is not an address; give one such as https://index.example/simple"
            )
        if self.trusted_host and not re.fullmatch(r"[\w.-]+(:\d+)?", self.trusted_host):
            problems.append(f"trusted host: {self.trusted_host!r} is not a host; give one such as index.example:8080")
        if self.package and (self.package.startswith("-") or re.search(r"[\n\r\t{}$]", self.package)):
            problems.append(
                f"package: {_plain(self.package)!r} is not a requirement; give one such as kfp-image-tuning==0.1.0, or "
                "the address of a wheel"
            )
        problems += [
            f"{name}: {_plain(value)} carries credentials, which everyone who sees the pipeline could read; leave them "
            "out, and give pods a secret with PIP_INDEX_URL or a .netrc"
            for name, value in (("package", self.package), ("package index", self.index_url))
            if _CREDENTIALS.search(value)
        ]
        return problems


def _plain(address: str) -> str:
    """An address without credentials, for a message."""
    return _CREDENTIALS.sub(lambda found: found[0].partition("://")[0] + "://…@", address)
