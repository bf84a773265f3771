"""What scenarios share: the cluster, the test images in its store, compiled pipelines."""

import contextlib
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.e2e.cluster import Cluster
from tests.e2e.kubeflow import Kubeflow, tried
from tests.e2e.outcomes import ScenarioFailed
from tests.e2e.settings import Settings
from tests.e2e.store import Store
from tests.pipelines.digit_images import write_digit_images

COMMAND = [sys.executable, "-m", "kfp_image_tuning.cli.command_line"]
SPACE = {"optimizer": "sgd", "mini_batch_size": 16, "learning_rate": {"min": 0.05, "max": 0.2}}
USUAL_ACCOUNT = "pipeline-runner"
USUAL_IMAGE = "python:3.11-slim"


class Bench:
    """One series of scenarios on one cluster; `close` removes what it has made.

    Args:
        settings: The user's.
        folder: For files here.
    """

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self.folder = settings, folder
        self.name = f"e2e-{uuid.uuid4().hex[:6]}"
        self._undo: list[tuple[str, Callable[[], Any]]] = []
        self.cluster = Cluster(settings.kubeconfig, settings.namespace)
        self.keys = self.cluster.store_keys()
        self.store = Store(settings.store, settings.bucket, self.keys, settings.namespace)
        self.kubeflow = Kubeflow(settings, self.cluster, self.name)
        self.has_katib = self.cluster.has_katib
        self._experiments_before = self.cluster.experiments() if self.has_katib else set()
        self.terminated: dict[str, str] = {}
        """Engine to the run that was terminated."""
        self.finished_trials: set[str] = set()
        """Trials of Katib that had ended before that."""
        self.images = ""

    @property
    def description(self) -> str:
        """Which cluster it is, in a line."""
        settings, katib = self.settings, "with" if self.has_katib else "without"
        place = f"cluster {self.cluster.server}, KFP {settings.kfp}, namespace {settings.namespace}, {katib} Katib"
        return f"{place}; everything is named {self.name}"

    def set_up(self) -> None:
        """Bring images and code there; see that Katib works in the namespace."""
        self.digits = self.folder / "digits"
        self.digits.mkdir()
        write_digit_images(self.digits)
        self._undo.append(("test images", lambda: self.store.delete(f"{self.name}/")))
        self.images = self.store.put(self.digits, f"{self.name}/digits")
        print(f"test images: {self.images}")
        if not self.settings.image:
            output = self.run_command("install", "--namespace", self.settings.namespace)
            print(output.strip())
            if "is installed" in output:
                uninstall = ("install", "--namespace", self.settings.namespace, "--uninstall")
                self._undo.append(("ConfigMap", lambda: self.run_command(*uninstall)))
        if self.has_katib:
            account = self.settings.service_account or USUAL_ACCOUNT
            self.cluster.allow_launcher(account)
            self._undo.append(("rights", self.cluster.withdraw_rights))
            print(f"service account {account} has the rights of manifests/katib, for now")
            if self.cluster.collect_metrics():
                self._undo.append(("label", self.cluster.stop_collecting_metrics))
                print(f"namespace {self.settings.namespace} has the label for Katib's metrics, for now")

    def close(self) -> list[str]:
        """Remove everything that was made; returns what could not be removed."""
        left = list(self.kubeflow.clean())
        if self.has_katib:
            for name in self.new_experiments():
                left += tried(self.cluster.delete_experiment, name)
        for what, undo in reversed(self._undo):
            try:
                undo()
            except Exception as error:
                left.append(f"{what}: {error}")
        return left

    def new_experiments(self) -> set[str]:
        """Katib Experiments that were not there before."""
        return self.cluster.experiments() - self._experiments_before

    @property
    def step_image(self) -> str:
        """An image with Python that the cluster has."""
        options = self.settings.compile_options
        given = options[options.index("--base-image") + 1] if "--base-image" in options else USUAL_IMAGE
        return self.settings.image or given

    def compile(self, engine: str, *options: str) -> Path:
        """A compiled pipeline of ours, with the user's options."""
        path = self.folder / f"{engine}.yaml"
        if not path.exists():
            image = ["--image", self.settings.image] if self.settings.image else []
            given = [*image, *self.settings.compile_options, *options]
            self.run_command("compile", "--engine", engine, "--output", str(path), *given)
        return path

    def run_command(self, *words: str, variables: dict[str, str] | None = None) -> str:
        """A command of ours on this machine; returns what it printed.

        Raises:
            ScenarioFailed: If it fails.
        """
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environment = kept | {"KUBECONFIG": str(self.settings.kubeconfig)} | (variables or {})
        try:
            done = subprocess.run(
                [*COMMAND, *words],
                env=environment,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
                timeout=self.settings.seconds,
            )
        except subprocess.TimeoutExpired as late:
            told = late.stdout.decode(errors="replace") if isinstance(late.stdout, bytes) else late.stdout or ""
            raise ScenarioFailed(f"kfp-image-tuning {words[0]} took too long (E2E_MINUTES)\n{told[-4000:]}") from None
        if done.returncode != 0:
            command = f"kfp-image-tuning {' '.join(words)}"
            raise ScenarioFailed(
                f"kfp-image-tuning {words[0]}: exit status {done.returncode}\n{command}\n{done.stdout[-4000:]}"
            )
        return done.stdout

    def katib_options(self) -> dict[str, Any]:
        """The user's, with the address of the store where it is not the usual one."""
        address = self.settings.store_in_cluster
        usual: dict[str, Any] = {"credentials_secret": "mlpipeline-minio-artifact"}
        usual |= {"credentials_keys": {"AWS_ACCESS_KEY_ID": "accesskey", "AWS_SECRET_ACCESS_KEY": "secretkey"}}
        return {**({"endpoint_url": address, **usual} if address else {}), **self.settings.katib_options}


@contextlib.contextmanager
def working_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="kfp-image-tuning-e2e-") as folder:
        yield Path(folder)
