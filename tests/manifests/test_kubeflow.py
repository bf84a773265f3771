"""``manifests/kubeflow``: what kubectl makes of it is what ``kfp-image-tuning install`` sends."""

import base64
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from kfp_image_tuning.core.installed_code import KEY, config_map_name
from kfp_image_tuning.delivery.config_map import build_config_map
from kfp_image_tuning.delivery.package_archive import collect_files, read_archive
from kfp_image_tuning.delivery.write_manifest import build_kustomization, is_current

MANIFESTS = Path(__file__).parents[2] / "manifests"


def test_committed_archive_and_kustomization_are_up_to_date() -> None:
    assert is_current(MANIFESTS / "kubeflow" / KEY), "manifests/kubeflow is out of date: run `make compile`, commit it"
    assert yaml.safe_load((MANIFESTS / "kubeflow" / "kustomization.yaml").read_text()) == build_kustomization()


def test_the_launcher_may_look_at_the_config_map_of_this_version_alone() -> None:
    role = yaml.safe_load((MANIFESTS / "katib" / "role.yaml").read_text())
    (rule,) = [rule for rule in role["rules"] if "configmaps" in rule["resources"]]
    assert (rule["resourceNames"], rule["verbs"]) == ([config_map_name()], ["get"])


def test_an_archive_with_other_files_is_found_out_of_date(tmp_path: Path) -> None:
    (tmp_path / KEY).write_bytes(b"no archive")
    assert not is_current(tmp_path / KEY)
    assert not is_current(tmp_path / "missing.zip")


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")
@pytest.mark.parametrize(
    ("folder", "kinds"),
    [
        ("kubeflow", ["ConfigMap"]),
        ("kubeflow-with-katib", ["ConfigMap", "Role", "RoleBinding", "ServiceAccount"]),
    ],
)
def test_kubectl_builds_what_install_sends(folder: str, kinds: list[str]) -> None:
    built = subprocess.run(
        ["kubectl", "kustomize", str(MANIFESTS / folder)], capture_output=True, text=True, check=True
    ).stdout
    documents: dict[str, Any] = {document["kind"]: document for document in yaml.safe_load_all(built)}
    assert sorted(documents) == kinds
    ours, sent = documents["ConfigMap"], build_config_map("kubeflow")
    for name in ("name", "namespace", "labels"):
        assert ours["metadata"][name] == sent["metadata"][name]
    assert read_archive(base64.b64decode(ours["binaryData"][KEY])) == collect_files()
