"""The backend as its users meet it: create a run, terminate it, retry it, delete a pod.

Recorded: identities, names and placeholders; that a run created with caching on overrides what the pipeline says; that
a retried run keeps its identity, its finished steps and its pods' names.
"""

import datetime
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.emulators.kfp_backend.argo import Controller
from tests.emulators.kfp_backend.artifact_store import HOST, ArtifactStore
from tests.emulators.kfp_backend.driver import Values
from tests.emulators.kfp_backend.metadata import Artifact, ArtifactNumbers, session_info
from tests.emulators.kfp_backend.platform import Namespace
from tests.emulators.kfp_backend.pod import Image, Pod, check_namespaces
from tests.emulators.kfp_backend.request import Pipeline, check_parameters, replace_macros
from tests.emulators.kfp_backend.run import Run, Task
from tests.emulators.kfp_backend.workflow import Workflow

Document = dict[str, Any]
STORE_SECRET = "mlpipeline-minio-artifact"


class Backend:
    """KFP in one namespace, until `close`.

    Args:
        folder: For its files; kept.
        bin_folder: Programs of the image that steps run in; ``python3`` is there.
        bin_folders: The same for single tasks, by name.
        environment: Variables of every image.
        config_maps: Name to ``{"data": …, "binaryData": …}`` (text or bytes); what it holds is looked at by each pod.
        secrets: Name to keys and values, beside the one of the artifact store.
        claims: PersistentVolumeClaim to its folder.
        services: Service to ``host:port``, beside the usual ones.
        store_host: Name by which pods reach the artifact store.
        service_account: Folder with token, ca.crt and namespace, mounted into pods.
        api_server: ``host:port`` of the Kubernetes API.
        default_retries: Whether Argo has KFP's default retries.
        death_seconds: From a step's signal to the death of all that is left in its pod; seen: 1 to 2 s.
        pod_again_seconds: Until Argo makes a deleted pod again; seen: 8 s.
    """

    def __init__(
        self,
        folder: Path,
        bin_folder: Path,
        *,
        bin_folders: Mapping[str, Path] | None = None,
        environment: Mapping[str, str] | None = None,
        config_maps: Mapping[str, Mapping[str, Mapping[str, str | bytes]]] | None = None,
        secrets: Mapping[str, Mapping[str, str]] | None = None,
        claims: Mapping[str, Path] | None = None,
        services: Mapping[str, str] | None = None,
        store_host: str = HOST,
        service_account: Path | None = None,
        api_server: str = "10.96.0.1:443",
        default_retries: bool = True,
        death_seconds: float = 1.0,
        pod_again_seconds: float = 8.0,
    ) -> None:
        check_namespaces()
        self.folder = folder
        self.death_seconds = death_seconds
        self.pod_again_seconds = pod_again_seconds
        self.store = ArtifactStore(host=store_host)
        self._default_retries = default_retries
        self._image = Image(bin_folder, dict(environment or {}))
        self._images = {task: Image(place, self._image.environment) for task, place in (bin_folders or {}).items()}
        known = {
            "seaweedfs": f"127.0.0.1:{self.store.port}",
            "metadata-grpc": "127.0.0.1:8080",
            "ml-pipeline": "127.0.0.1:8888",
        }
        self.namespace = Namespace(
            config_maps={} if config_maps is None else config_maps,
            secrets={STORE_SECRET: self.store.secret, **(secrets or {})},
            claims=dict(claims or {}),
            services={**known, **(services or {})},
            service_account=service_account,
            api_server=api_server,
        )
        self._numbers = ArtifactNumbers()
        self._cache: dict[str, Values] = {}
        self._caching: dict[str, bool | None] = {}
        self._created: dict[str, str] = {}
        self.runs: list[Run] = []
        self.announce_pod: Callable[[Run, str], str] = lambda run, name: ""
        """Told of a run's new pod by its name; returns its identity in a cluster."""

    def __enter__(self) -> "Backend":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End everything that still runs."""
        for run in self.runs:
            run.stopping = True
            for task in run.tasks:
                for pod in task.attempts:
                    pod.kill()
        self.store.close()

    def start(
        self,
        pipeline: str | Sequence[Document],
        parameters: Mapping[str, Any] | None = None,
        *,
        name: str = "run",
        caching: bool | None = None,
        pinned: bool = False,
    ) -> Run:
        """Create a run.

        Args:
            pipeline: The text of a compiled file, or its documents.
            parameters: The run's.
            name: Its display name.
            caching: What the run sets for all tasks; None: what the pipeline says.
            pinned: Whether a recurring run with a pinned version makes it.

        Raises:
            RequestRefused: If the API takes pipeline or parameters for wrong.
        """
        read = Pipeline.read(pipeline)
        run_id = str(uuid.uuid4())
        values = replace_macros(check_parameters(read, parameters or {}), run_id, pinned=pinned)
        workflow_name = f"{read.name}-{run_id[:5]}"
        workflow = Workflow(read, workflow_name, default_retries=self._default_retries)
        run = Run(read, values, run_id, name, self.folder / workflow_name, workflow)
        self._caching[run_id] = caching
        self._created[run_id] = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.runs.append(run)
        self._go(run)
        return run

    def run(
        self,
        pipeline: str | Sequence[Document],
        parameters: Mapping[str, Any] | None = None,
        *,
        seconds: float = 600.0,
        **more: Any,
    ) -> Run:
        """Create a run and wait for its end; as `start`."""
        return self.start(pipeline, parameters, **more).wait(seconds)

    def terminate(self, run: Run) -> None:
        """What the button does: running pods get their signal, nothing new starts."""
        run.stopping = True
        for task in run.tasks:
            if task.attempts:
                task.pod.terminate()

    def retry(self, run: Run) -> Run:
        """Continue with an ended run: finished steps are kept."""
        for task in run.tasks:
            if task.state == "FAILED":
                task.state = "PENDING"
        self._go(run)
        return run

    def delete_pod(self, run: Run, task: str) -> None:
        """Delete the running pod of a task, as a node drain does."""
        run.task(task).pod.delete()

    def fetch(self, artifact: Artifact, folder: Path) -> Path:
        """An artifact's file or folder, fetched from the store."""
        return self.store.get(artifact.uri, folder / artifact.name)

    def _go(self, run: Run) -> None:
        import threading

        run.begin()
        threading.Thread(target=Controller(run, self).run, daemon=True).start()

    # What Argo's part asks for.

    def placeholders(self, run: Run, task: str) -> dict[str, str]:
        created = self._created[run.run_id]
        return {
            "pipeline_job_uuid": run.run_id,
            "pipeline_job_name": run.name,
            "pipeline_job_resource_name": run.workflow_name,
            "pipeline_task_name": task,
            "pipeline_task_uuid": str(len(run.tasks)),
            "pipeline_job_create_time_utc": created,
            "pipeline_job_schedule_time_utc": created,
            "pipeline_root": "minio://mlpipeline/v2/artifacts",
        }

    def cached(self, run: Run, task: Document, key: str) -> Values | None:
        chosen = self._caching[run.run_id]
        enabled = task.get("cachingOptions", {}).get("enableCache", False) if chosen is None else chosen
        return self._cache.get(key) if enabled else None

    def make_pod(self, run: Run, task: Task, name: str, component: Document) -> Pod:
        assert task.prepared is not None
        folder = run.folder / "-".join(task.path)
        while folder.exists():
            folder = folder.with_name(f"{folder.name}-again")
        work = {
            "executor_input": task.prepared.executor_input,
            "component": component,
            "store": {"endpoint": f"http://127.0.0.1:{self.store.port}", **self.store.secret},
        }
        return Pod(
            name,
            folder,
            task.prepared.pod,
            self.namespace,
            self._images.get(task.name, self._image),
            task.prepared.command,
            work,
            self.death_seconds,
            self.announce_pod(run, name),
        )

    def record(self, task: Task, component: Document, output: Document) -> None:
        """Keep what a step has put out, for later steps and for the cache."""
        assert task.prepared is not None
        session = session_info(self.store.endpoint, STORE_SECRET)
        told = output.get("artifacts", {})
        artifacts = {}
        for name, group in task.prepared.executor_input["outputs"].get("artifacts", {}).items():
            made = told.get(name, {}).get("artifacts", [{}])[0]
            given = group["artifacts"][0]
            metadata = made.get("metadata", {})
            uri = made.get("uri") or given["uri"]
            artifacts[name] = [Artifact(self._numbers.next(), name, uri, given["type"], metadata, session)]
        task.outputs = Values(dict(output.get("parameterValues", {})), artifacts)
        self._cache[task.prepared.cache_key] = task.outputs

    def import_artifact(self, component: Document, executor: Document, values: Values, task: Task) -> None:
        uri = str(values.parameters["uri"])
        inside = uri.startswith("minio://")
        session = session_info(self.store.endpoint, STORE_SECRET) if inside else ""
        artifact = Artifact(
            self._numbers.next(), "artifact", uri, executor["typeSchema"], executor.get("metadata", {}), session
        )
        task.outputs = Values({}, {"artifact": [artifact]})

    def empty(self) -> None:
        """Delete the files of ended pods."""
        for run in self.runs:
            shutil.rmtree(run.folder, ignore_errors=True)
