"""The ConfigMap that brings this package into the pods of a namespace, as it is sent to Kubernetes."""

import base64
import hashlib
from typing import Any

from kfp_image_tuning.core.installed_code import DISTRIBUTION, KEY, config_map_name, label_version
from kfp_image_tuning.delivery.package_archive import build_archive

NAME_LABEL, VERSION_LABEL = "app.kubernetes.io/name", "app.kubernetes.io/version"
DIGEST_ANNOTATION = f"{DISTRIBUTION}/sha256"


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
            "labels": {NAME_LABEL: DISTRIBUTION, VERSION_LABEL: label_version()},
            "annotations": {DIGEST_ANNOTATION: hashlib.sha256(packed).hexdigest()},
        },
        "binaryData": {KEY: base64.b64encode(packed).decode("ascii")},
    }
