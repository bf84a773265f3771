"""``kfp-image-tuning install`` on an API server: what is there afterwards, and what it says."""

import base64
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from kubernetes import client

from kfp_image_tuning.core.installed_code import KEY, config_map_name
from kfp_image_tuning.delivery.config_map import DIGEST_ANNOTATION, NAME_LABEL
from kfp_image_tuning.delivery.package_archive import collect_files, read_archive
from tests.cluster.control_plane import ControlPlane
from tests.cluster.given_cluster import GivenCluster

MANIFESTS = Path(__file__).parents[2] / "manifests"


def install(cluster: ControlPlane | GivenCluster, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "kfp_image_tuning.cli.command_line", "install", *words],
        env=os.environ | {"KUBECONFIG": str(cluster.kubeconfig)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_install_upgrade_and_uninstall_say_what_they_did(cluster: ControlPlane | GivenCluster, namespace: str) -> None:
    core = client.CoreV1Api(cluster.client())
    place = ("--namespace", namespace)
    name = config_map_name()

    dry = install(cluster, *place, "--dry-run")
    assert (dry.returncode, dry.stderr) == (0, "")
    assert dry.stdout.startswith("dry run, nothing is changed: ")
    assert name not in {item.metadata.name for item in core.list_namespaced_config_map(namespace).items}

    assert "is installed" in install(cluster, *place).stdout
    found = core.read_namespaced_config_map(name, namespace)
    assert read_archive(base64.b64decode(found.binary_data[KEY])) == collect_files()
    assert "is there already" in install(cluster, *place).stdout

    # As an installation of other code, and another release beside it.
    changed = {"metadata": {"annotations": {DIGEST_ANNOTATION: "0"}}, "binaryData": {KEY: ""}}
    core.patch_namespaced_config_map(name, namespace, changed)
    older = {"metadata": {"name": "kfp-image-tuning-0-0-1", "labels": {NAME_LABEL: "kfp-image-tuning"}}}
    core.create_namespaced_config_map(namespace, older)
    again = install(cluster, *place)
    assert "is replaced" in again.stdout
    assert "left as they are: kfp-image-tuning-0-0-1" in again.stdout
    found = core.read_namespaced_config_map(name, namespace)
    assert read_archive(base64.b64decode(found.binary_data[KEY])) == collect_files()

    assert "is removed" in install(cluster, *place, "--uninstall").stdout
    left = {item.metadata.name for item in core.list_namespaced_config_map(namespace).items}
    assert (name in left, "kfp-image-tuning-0-0-1" in left) == (False, True)
    assert "nothing to remove" in install(cluster, *place, "--uninstall").stdout


def test_namespace_that_is_not_there_is_named(cluster: ControlPlane | GivenCluster) -> None:
    done = install(cluster, "--namespace", "no-such-team")
    assert done.returncode == 1
    assert "there is no namespace no-such-team" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")
def test_kubectl_and_install_follow_each_other(
    cluster: ControlPlane | GivenCluster, namespace: str, tmp_path: Path
) -> None:
    shutil.copytree(MANIFESTS / "kubeflow", tmp_path / "kubeflow")
    kustomization = tmp_path / "kubeflow" / "kustomization.yaml"
    kustomization.write_text(kustomization.read_text().replace("namespace: kubeflow", f"namespace: {namespace}"))
    command = [
        "kubectl",
        "--kubeconfig",
        str(cluster.kubeconfig),
        "apply",
        "--server-side",
        "-k",
        str(kustomization.parent),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "is replaced" in install(cluster, "--namespace", namespace).stdout
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
