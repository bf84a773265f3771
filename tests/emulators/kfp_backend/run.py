"""A run as KFP's API shows it: a state for the run and for each task, and no text.

Recorded: ``error`` is null whatever happens; the reason is in a step's log, and in the message of Argo's node if the
step wrote to ``/dev/termination-log``; a terminated run is FAILED.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.emulators.kfp_backend.driver import Prepared, Values
from tests.emulators.kfp_backend.metadata import Artifact
from tests.emulators.kfp_backend.pod import Pod
from tests.emulators.kfp_backend.request import Pipeline
from tests.emulators.kfp_backend.workflow import Workflow

ENDED = ("SUCCEEDED", "FAILED")


@dataclass
class Task:
    """A task of a run.

    Attributes:
        name: Its name in its group of tasks.
        path: Names of the groups that it is in, and its own; iterations of a loop are numbers.
        state: PENDING, RUNNING, SUCCEEDED, FAILED, SKIPPED or CACHED.
        prepared: What it gets, if it is a container's.
        outputs: After its end.
        attempts: Its pods.
        message: Of Argo's node, which KFP's API does not show.
        error: What KFP's API shows: nothing.
    """

    name: str
    path: tuple[str, ...]
    state: str = "PENDING"
    prepared: Prepared | None = None
    outputs: Values = field(default_factory=Values)
    attempts: list[Pod] = field(default_factory=list)
    message: str = ""
    error: None = None

    @property
    def pod(self) -> Pod:
        """Its last pod."""
        return self.attempts[-1]

    @property
    def log(self) -> str:
        """The last pod's log, of all its processes."""
        # A pod that waits, or has just been made, has no log yet.
        if not self.attempts or not self.pod.log_file.exists():
            return ""
        return self.pod.log_file.read_text(encoding="utf-8", errors="replace")

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Its output parameters."""
        return self.outputs.parameters

    def artifact(self, name: str) -> Artifact:
        """One of its output artifacts."""
        (artifact,) = self.outputs.artifacts[name]
        return artifact


class Run:
    """A run; made by `Backend`.

    Attributes:
        run_id: Its identity.
        name: Its display name.
        workflow_name: The name of its Workflow.
        workflow: The Workflow's size.
        state: RUNNING, SUCCEEDED or FAILED.
        error: What KFP's API shows: nothing.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        parameters: Mapping[str, Any],
        run_id: str,
        name: str,
        folder: Path,
        workflow: Workflow,
    ) -> None:
        self.pipeline = pipeline
        self.parameters = dict(parameters)
        self.run_id = run_id
        self.name = name
        self.folder = folder
        self.workflow = workflow
        self.workflow_name = folder.name
        self.state = "PENDING"
        self.error = None
        self.reason = ""
        """Why the Workflow as a whole ended, which nobody is shown."""
        self.outputs = Values()
        self.stopping = False
        self._tasks: dict[tuple[str, ...], Task] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()

    @property
    def tasks(self) -> list[Task]:
        """All tasks that Argo has come to, in order."""
        with self._lock:
            return list(self._tasks.values())

    def task(self, name: str) -> Task:
        """The one task of a name.

        Raises:
            KeyError: If there is none, or more than one.
        """
        found = [task for task in self.tasks if task.name == name]
        if len(found) != 1:
            raise KeyError(f"{len(found)} tasks {name!r} of {[task.path for task in self.tasks]}")
        return found[0]

    def at(self, path: tuple[str, ...]) -> Task:
        """The task at a path, which is made if need be."""
        with self._lock:
            return self._tasks.setdefault(path, Task(path[-1], path))

    @property
    def states(self) -> dict[str, str]:
        """State by path."""
        return {"/".join(task.path): task.state for task in self.tasks}

    def wait(self, seconds: float = 600.0) -> "Run":
        """Wait for its end.

        Raises:
            TimeoutError: With what its tasks do.
        """
        if not self._ended.wait(seconds):
            waits = [task.pod.waits_for for task in self.tasks if task.attempts and task.pod.waits_for]
            raise TimeoutError(f"{self.workflow_name} still runs after {seconds} s: {self.states} {waits}")
        return self

    def begin(self) -> None:
        self.stopping = False
        self._ended.clear()
        self.state = "RUNNING"

    def end(self, state: str, reason: str = "") -> None:
        """Set its end; the first one holds."""
        with self._lock:
            if self.state not in ENDED:
                self.state, self.reason = state, reason
                self.stopping = True
        self._ended.set()

    def explain(self) -> str:
        """Everything about it, for the failure message of a test."""
        parts = [f"{self.workflow_name}: {self.state} {self.reason}", f"Workflow: {self.workflow.history}"]
        parts += [f"== {'/'.join(task.path)}: {task.state} {task.message}\n{task.log}" for task in self.tasks]
        return "\n".join(parts)
