"""Where pods find our own code: the ConfigMap of a namespace, its mount, and the command that puts it there.

One ConfigMap for each version, so that pipelines compiled with another one continue running. Making and installing it
is the matter of ``delivery``.
"""

import re
from importlib.metadata import version

DISTRIBUTION = "kfp-image-tuning"
KEY = "kfp_image_tuning.zip"
MOUNT_PATH = "/kfp-image-tuning"
ARCHIVE_PATH = f"{MOUNT_PATH}/{KEY}"
"""The archive as steps and trials see it."""


def config_map_name() -> str:
    """Its name, with this version; without dots, because KFP gives the pod's volume the same name."""
    return f"{DISTRIBUTION}-{label_version().replace('.', '-')}"


def install_command(namespace: str) -> str:
    """What to type for a namespace that lacks it.

    Args:
        namespace: Its name, or a word that stands for it.
    """
    return f"kfp-image-tuning install --namespace {namespace}"


def label_version() -> str:
    """This version, in letters that Kubernetes takes in names and labels (``0.2.dev3+g1a2b`` has another one)."""
    return re.sub(r"[^a-z0-9.-]", "-", version(DISTRIBUTION).lower())
