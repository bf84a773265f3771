"""Writes ``manifests/kubeflow``: the archive of this package, and the kustomization that makes the ConfigMap of it.

    python -m kfp_image_tuning.delivery.write_manifest manifests/kubeflow

An archive that holds the same files stays as it is: compression libraries pack them differently.
"""

import sys
import zipfile
from pathlib import Path
from typing import Any

from kfp_image_tuning.core.installed_code import KEY, config_map_name
from kfp_image_tuning.delivery.config_map import build_config_map
from kfp_image_tuning.delivery.package_archive import build_archive, collect_files, read_archive
from kfp_image_tuning.delivery.readable_yaml import dump_documents


def build_kustomization() -> dict[str, Any]:
    """The kustomization."""
    labels = build_config_map("")["metadata"]["labels"]
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "kubeflow",
        "generatorOptions": {"disableNameSuffixHash": True, "labels": labels},
        "configMapGenerator": [{"name": config_map_name(), "files": [KEY]}],
    }


def is_current(archive: Path) -> bool:
    """Whether an archive holds this package as it is now."""
    try:
        return read_archive(archive.read_bytes()) == collect_files()
    except (OSError, zipfile.BadZipFile):
        return False


def write_manifest(folder: Path) -> None:
    """Write what is out of date.

    Args:
        folder: ``manifests/kubeflow``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not is_current(folder / KEY):
        (folder / KEY).write_bytes(build_archive())
    (folder / "kustomization.yaml").write_text(dump_documents([build_kustomization()]), encoding="utf-8")


if __name__ == "__main__":
    write_manifest(Path(sys.argv[1]))
