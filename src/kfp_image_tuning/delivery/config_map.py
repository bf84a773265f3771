"""The ConfigMap that brings this package into the pods of a namespace, and where they see it.

One for each version, so that pipelines compiled with another one go on running.
"""

import base64
import hashlib
import re
from importlib.metadata import version
from typing import Any

from kfp_image_tuning.code_archive.package_archive import DISTRIBUTION, build_archive

KEY = "kfp_image_tuning.zip"
MOUNT_PATH = "/kfp-image-tuning"
ARCHIVE_PATH = f"{MOUNT_PATH}/{KEY}"
"""The archive as steps and trials see it."""

NAME_LABEL, VERSION_LABEL = "app.kubernetes.io/name", "app.kubernetes.io/version"
DIGEST_ANNOTATION = f"{DISTRIBUTION}/sha256"


def config_map_name() -> str:
    """Its name, with this version; without dots, because KFP gives the pod's volume the same name."""
    return f"{DISTRIBUTION}-{_version().replace('.', '-')}"


def install_command(namespace: str) -> str:
    """What to type for a namespace that lacks it.

    Args:
        namespace: Its name, or a word that stands for it.
    """
    return f"kfp-image-tuning install --namespace {namespace}"


def build_config_map(namespace: str) -> dict[str, Any]:
    """The ConfigMap, as it is sent to Kubernetes.

    Raises:
        ArchiveError: If the package is too large.
    """
    packed = build_archive()
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": config_map_name(),
            "namespace": namespace,
            "labels": {NAME_LABEL: DISTRIBUTION, VERSION_LABEL: _version()},
            "annotations": {DIGEST_ANNOTATION: hashlib.sha256(packed).hexdigest()},
        },
        "binaryData": {KEY: base64.b64encode(packed).decode("ascii")},
    }


def _version() -> str:
    """This version, in letters that Kubernetes takes in names and labels (``0.2.dev3+g1a2b`` has another one)."""
    return re.sub(r"[^a-z0-9.-]", "-", version(DISTRIBUTION).lower())
