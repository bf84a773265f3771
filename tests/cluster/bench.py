"""What the tests here do with one search."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubernetes import client

from kfp_image_tuning.core.errors import EngineError
from kfp_image_tuning.engines.katib.engine import KatibEngine
from kfp_image_tuning.engines.katib.request.options import KatibOptions
from kfp_image_tuning.engines.katib.session.cluster import GROUP, VERSION, Cluster
from kfp_image_tuning.engines.katib.session.session import KatibSession
from kfp_image_tuning.engines.protocol import Event
from kfp_image_tuning.engines.run import run_search
from kfp_image_tuning.search.result import TuningResult
from kfp_image_tuning.search.search import Search
from tests.cluster.control_plane import ControlPlane
from tests.cluster.given_cluster import GivenCluster
from tests.emulators.node_agent import NodeAgent
from tests.engines.katib.searches import make_options, make_search


def flat(**values: Any) -> Search:
    """A short search in one Experiment."""
    return make_search(**{"search_mode": "flat", "max_trials": 3, "parallel_trials": 2, **values})


def sleeping(seconds: float) -> dict[str, Any]:
    """Pod options for trials that sleep between their epochs."""
    return {"image": "quick", "env": {"SLEEP": str(seconds)}}


@dataclass
class Place:
    """A namespace of its own, and the machines.

    Attributes:
        namespace: The namespace.
        models: The folder that is the claim ``models``.
        agent: The machines.
    """

    namespace: str
    models: Path
    agent: NodeAgent


class Bench:
    """What a test does with one search."""

    """One search, seen from outside.

    Attributes:
        place: Where it runs.
        folder: For its results.
        lines: What it showed, of searches in this process.
    """

    def __init__(self, cluster: ControlPlane | GivenCluster, place: Place, folder: Path) -> None:
        self.place = place
        self.folder = folder
        self.lines: list[str] = []
        self._cluster = cluster
        self.custom = client.CustomObjectsApi(cluster.client())
        self.core, self.batch = client.CoreV1Api(cluster.client()), client.BatchV1Api(cluster.client())

    def options(self, image: str = "quick", **values: Any) -> KatibOptions:
        pods = {"image": image, **values.pop("pods", {})}
        return make_options(**{"run": "run-1", "namespace": self.place.namespace, "pods": pods, **values})

    def engine(self, options: KatibOptions) -> KatibEngine:
        cluster = Cluster(self._cluster.client(), self.place.namespace, patience=60)
        return KatibEngine(options, self.folder / "model", models_mount=self.place.models, cluster=cluster)

    def launched(self, search: Search, options: KatibOptions | None = None) -> tuple[KatibSession, Iterator[Event]]:
        """A search that is launched, and its events since."""
        engine = self.engine(options or self.options())
        session = engine.start(engine.plan(search))
        events = session.events()
        assert next(events).kind == "attached"
        return session, events

    def run(self, search: Search, options: KatibOptions | None = None) -> TuningResult:
        engine = self.engine(options or self.options())
        return run_search(engine, engine.plan(search), self.folder / "result.json", show=self.lines.append)

    def objects(self, plural: str) -> list[str]:
        found = self.custom.list_namespaced_custom_object(GROUP, VERSION, self.place.namespace, plural)
        return [item["metadata"]["name"] for item in found["items"]]

    def jobs(self) -> list[str]:
        return [job.metadata.name for job in self.batch.list_namespaced_job(self.place.namespace).items]

    def wait_until_nothing_is_left(self) -> None:
        """No Experiment, no Trial, no Job, no pod, no process."""
        self.wait_until(lambda: not self.objects("experiments") and not self.objects("trials") and not self.jobs())
        self.wait_until(lambda: not self.core.list_namespaced_pod(self.place.namespace).items)
        assert self.place.agent.running == 0

    def wait_until(self, condition: Callable[[], object], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "\n".join(self.lines)
            time.sleep(0.1)

    def in_background(self, search: Search, options: KatibOptions | None = None) -> tuple[threading.Thread, list[Any]]:
        """Start a search; its result, or its error, comes into the list."""
        outcome: list[Any] = []

        def work() -> None:
            try:
                outcome.append(self.run(search, options))
            except EngineError as error:
                outcome.append(error)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread, outcome
