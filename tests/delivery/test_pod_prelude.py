"""What a step's pod runs before the step: the scripts themselves, with a package index that answers, or does not."""

import hashlib
import subprocess
import urllib.request
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from kfp_image_tuning.core.installed_code import KEY, MOUNT_PATH, config_map_name
from kfp_image_tuning.delivery.package_archive import build_archive, collect_files
from kfp_image_tuning.delivery.pod_prelude import build_prelude
from kfp_image_tuning.steps.plain_errors import framed
from tests.pipelines.environments import make_environment

pytestmark = pytest.mark.slow

VERSION = "7.8.9"
STEP = ["python3", "-c", "import kfp_image_tuning.core.errors as e, little, kfpish; print(e.__file__, little.HERE)"]


def write_wheel(folder: Path, name: str, module: str, source: str) -> Path:
    """A wheel of one module."""
    path = folder / f"{name}-{VERSION}-py3-none-any.whl"
    information = f"{name}-{VERSION}.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(module, source)
        wheel.writestr(f"{information}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {VERSION}\n")
        wheel.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{information}/RECORD", "")
    return path


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A package index on loopback, with two packages in it."""
    folder = tmp_path_factory.mktemp("index")
    for name in ("little", "kfpish"):
        (folder / "simple" / name).mkdir(parents=True)
        wheel = write_wheel(folder / "simple" / name, name, f"{name}.py", "HERE = 'installed'\n")
        (folder / "simple" / name / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')
    write_wheel(folder, "kfp_image_tuning", "kfp_image_tuning/core/errors.py", "")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


class Pod:
    """An empty Python, a mount of the ConfigMap, and a termination log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        make_environment(folder / "python")
        self.mount = folder / "mount"
        self.mount.mkdir()
        self.termination_log = folder / "termination-log"
        self.termination_log.touch()

    def localized(self, script: str) -> str:
        return script.replace("/dev/termination-log", str(self.termination_log))

    def mount_config_map(self) -> None:
        """The archive, with a script that writes to this pod's termination log."""
        content = {
            name: self.localized(data.decode()).encode() if name.endswith(".sh") else data
            for name, data in collect_files().items()
        }
        (self.mount / KEY).write_bytes(build_archive(content))

    def run(self, script: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        local = self.localized(script).replace(f"{MOUNT_PATH}/", f"{self.mount}/")
        given = {"PATH": f"{self.folder / 'python' / 'bin'}:/usr/bin:/bin", "HOME": str(self.folder), **environment}
        given |= {"PIP_RETRIES": "1", "PIP_TIMEOUT": "2"}
        return subprocess.run(
            ["sh", "-ec", local, *STEP], env=given, capture_output=True, text=True, check=False, cwd=self.folder
        )


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path)


def test_step_runs_with_the_code_of_the_config_map_and_packages_of_the_index(pod: Pod, index: str) -> None:
    pod.mount_config_map()
    script = build_prelude(["little>=7"], "kfpish>=7,<8", from_config_map=True)
    done = pod.run(script, PIP_INDEX_URL=f"{index}/simple")
    assert done.returncode == 0, done.stderr
    file, installed = done.stdout.split()
    assert file.endswith("/code/kfp_image_tuning/core/errors.py")
    assert installed == "installed"
    assert pod.termination_log.read_text() == ""


def test_step_without_the_config_map_says_what_to_type_before_it_installs_anything(pod: Pod) -> None:
    script = build_prelude(["little>=7"], "kfpish", from_config_map=True)
    done = pod.run(script, PIP_INDEX_URL="http://127.0.0.1:9/simple")
    assert done.returncode == 1
    assert "ERROR delivery" in done.stderr
    for text in (done.stderr, pod.termination_log.read_text()):
        assert f"ConfigMap {config_map_name()}" in text
        assert "kfp-image-tuning install --namespace NAMESPACE" in text
    assert "pip" not in done.stderr


def test_index_that_cannot_be_reached_is_told_as_pip_tells_it(pod: Pod) -> None:
    pod.mount_config_map()
    done = pod.run(build_prelude(["little>=7"], "kfpish", from_config_map=True), PIP_INDEX_URL="http://127.0.0.1:9/s")
    assert done.returncode == 1
    for text in (done.stderr, pod.termination_log.read_text()):
        assert "Connection refused" in text
        assert "No matching distribution found for little>=7" in text
        assert "--index-url" in text


def test_package_that_the_index_lacks_is_told_as_pip_tells_it(pod: Pod, index: str) -> None:
    pod.mount_config_map()
    script = build_prelude(["little>=9"], "kfpish", from_config_map=True)
    done = pod.run(script, PIP_INDEX_URL=f"{index}/simple")
    assert done.returncode == 1
    assert "No matching distribution found for little>=9" in pod.termination_log.read_text()


def wheel_address(index: str) -> str:
    return f"{index}/kfp_image_tuning-{VERSION}-py3-none-any.whl"


def sha256_of(address: str) -> str:
    return hashlib.sha256(urllib.request.urlopen(address).read()).hexdigest()


@pytest.mark.parametrize("form", ["{wheel}", "{wheel}#sha256={hash}", "{wheel} --hash=sha256:{hash}"])
def test_package_may_be_a_wheel_on_any_address_with_its_hash(pod: Pod, index: str, form: str) -> None:
    wheel = wheel_address(index)
    package = form.format(wheel=wheel, hash=sha256_of(wheel))
    script = build_prelude(["little>=7"], "kfpish", from_config_map=False)
    done = pod.run(script, PIP_INDEX_URL=f"{index}/simple", KFP_IMAGE_TUNING_PACKAGE=package)
    assert done.returncode == 0, done.stderr
    assert str(pod.folder / "python" / "lib") in done.stdout


@pytest.mark.parametrize("form", ["{wheel}#sha256={hash}", "{wheel} --hash=sha256:{hash}"])
def test_package_that_is_not_the_one_of_the_hash_is_refused(pod: Pod, index: str, form: str) -> None:
    package = form.format(wheel=wheel_address(index), hash="0" * 64)
    script = build_prelude(["little>=7"], "kfpish", from_config_map=False)
    done = pod.run(script, PIP_INDEX_URL=f"{index}/simple", KFP_IMAGE_TUNING_PACKAGE=package)
    assert done.returncode == 1
    assert "HASH" in pod.termination_log.read_text().upper()


def test_python_without_pip_is_told(pod: Pod) -> None:
    pod.mount_config_map()
    for folder in (pod.folder / "python" / "lib").glob("python3*/site-packages/pip"):
        folder.rename(pod.folder / "no-pip")
    done = pod.run(build_prelude(["little>=7"], "kfpish", from_config_map=True))
    assert done.returncode == 1
    assert "No module named pip" in pod.termination_log.read_text()


def test_frame_of_a_failed_start_is_that_of_a_failed_component(pod: Pod) -> None:
    done = pod.run(build_prelude(["little>=7"], "kfpish", from_config_map=False), PIP_INDEX_URL="http://127.0.0.1:9/s")
    reason = pod.termination_log.read_text().strip().removeprefix("delivery: ")
    assert framed("delivery", reason).strip() in done.stderr
