"""Argo's part: the order of tasks, groups of tasks, loops, conditions, exit handlers, repeated pods, the writes.

Recorded: an exit task's status; a skipped ``dsl.If`` is not a failure; a deleted pod comes again; after a write that
the Workflow is too large for, the run is FAILED while its pods continue. From reading: tasks after a skipped one are
skipped, and after a failed task nothing new starts in its group but exit tasks.
"""

import hashlib
import json
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Protocol

from tests.emulators.kfp_backend.conditions import ConditionFailed, holds
from tests.emulators.kfp_backend.driver import Scope, Values, prepare, resolve_inputs
from tests.emulators.kfp_backend.pod import Outcome, Pod
from tests.emulators.kfp_backend.resources import DriverFailed
from tests.emulators.kfp_backend.run import Run, Task
from tests.emulators.kfp_backend.workflow import WorkflowTooLarge

Document = dict[str, Any]
DONE = ("SUCCEEDED", "CACHED")
MAXIMUM_RECREATIONS = 10


class Services(Protocol):
    """What the backend does for a workflow."""

    pod_again_seconds: float

    def placeholders(self, run: Run, task: str) -> dict[str, str]: ...
    def cached(self, run: Run, task: Document, key: str) -> Values | None: ...
    def make_pod(self, run: Run, task: Task, name: str, component: Document) -> Pod: ...
    def record(self, task: Task, component: Document, output: Document) -> None: ...
    def import_artifact(self, component: Document, executor: Document, values: Values, task: Task) -> None: ...


class Controller:
    """Runs one run's tasks.

    Args:
        run: The run.
        services: Of the backend.
    """

    def __init__(self, run: Run, services: Services) -> None:
        self._run = run
        self._services = services

    def run(self) -> None:
        """Run all tasks, or those that have not succeeded before."""
        run = self._run
        try:
            self._write("created")
            self._add_driver_node(("root",), {"component": run.pipeline.root, "runtime-config": run.parameters})
            self._write("root driver")
            scope = Scope(Values(dict(run.parameters)))
            state = self._run_group(run.pipeline.root, scope, ())
            run.outputs = group_outputs(run.pipeline.root, scope) if state in DONE else Values()
            if run.stopping:
                run.end("FAILED", "terminated")
            run.end("SUCCEEDED" if state in DONE else "FAILED")
        except WorkflowTooLarge as error:
            run.end("FAILED", str(error))

    def _write(self, event: str) -> None:
        self._run.workflow.write(event)

    def _add_driver_node(self, path: tuple[str, ...], inputs: Document) -> None:
        outputs = {"execution-id": "1", "condition": "nil", "iteration-count": "0"}
        self._run.workflow.add_pod(".".join(path) + "-driver", "system-dag-driver", inputs, outputs)

    def _run_group(self, component: Document, scope: Scope, path: tuple[str, ...]) -> str:
        tasks: dict[str, Document] = component["dag"]["tasks"]
        states: dict[str, str] = {}
        running: set[str] = set()
        ended: queue.Queue[tuple[str, str]] = queue.Queue()
        while True:
            for name in self._ready(tasks, states, running):
                deps = [states[dep] for dep in tasks[name].get("dependentTasks", [])]
                if "SKIPPED" in deps and not is_exit_task(tasks[name]):
                    self._run.at((*path, name)).state = states[name] = "SKIPPED"
                    scope.outputs[name] = Values()
                    continue
                running.add(name)
                threading.Thread(
                    target=self._run_and_tell, args=(name, tasks[name], scope, path, ended), daemon=True
                ).start()
            if not running:
                if next(self._ready(tasks, states, running), None) is None:
                    break
                continue
            name, states[name] = ended.get()
            running.discard(name)
            scope.outputs.setdefault(name, Values())
            scope.final_states[name] = {
                "error": {},
                "pipelineJobResourceName": self._run.workflow_name,
                "pipelineTaskName": name,
                "state": "COMPLETE",
            }
        return "FAILED" if len(states) < len(tasks) or "FAILED" in states.values() else "SUCCEEDED"

    def _ready(self, tasks: Document, states: dict[str, str], running: set[str]) -> Iterator[str]:
        for name, task in tasks.items():
            if name in states or name in running or self._run.stopping:
                continue
            dependencies = task.get("dependentTasks", [])
            if not all(dependency in states for dependency in dependencies):
                continue
            if "FAILED" not in states.values() or (is_exit_task(task) and dependencies):
                yield name

    def _run_and_tell(
        self, name: str, task: Document, scope: Scope, path: tuple[str, ...], ended: "queue.Queue[tuple[str, str]]"
    ) -> None:
        state = "FAILED"
        try:
            state = self._run_task(name, task, scope, (*path, name))
        except WorkflowTooLarge as error:
            self._run.end("FAILED", str(error))
        except (ConditionFailed, DriverFailed, LookupError) as error:
            self._run.at((*path, name)).message = f"driver: {error}"
        finally:
            self._run.at((*path, name)).state = state
            ended.put((name, state))

    def _run_task(self, name: str, task: Document, scope: Scope, path: tuple[str, ...]) -> str:
        record = self._run.at(path)
        component = self._run.pipeline.component(task)
        if record.state in DONE:
            scope.outputs[name] = record.outputs
            return record.state
        values = resolve_inputs(task, component, scope, self._services.placeholders(self._run, name))
        condition = task.get("triggerPolicy", {}).get("condition")
        if condition and not holds(condition, values.parameters):
            return "SKIPPED"
        record.state = "RUNNING"
        if "parameterIterator" in task or "artifactIterator" in task:
            state = self._run_loop(task, component, values, path)
        elif "dag" in component:
            state, record.outputs = self._run_inner(component, values, path)
        else:
            state = self._run_executor(task, component, values, scope, record)
        scope.outputs[name] = record.outputs
        return state

    def _run_inner(self, component: Document, values: Values, path: tuple[str, ...]) -> tuple[str, Values]:
        """A group of tasks within the pipeline."""
        self._add_driver_node(path, {"component": component, "task": values.parameters})
        self._write(f"{'.'.join(path)} driver")
        scope = Scope(passed_on(values))
        state = self._run_group(component, scope, path)
        return state, group_outputs(component, scope) if state in DONE else Values()

    def _run_loop(self, task: Document, component: Document, values: Values, path: tuple[str, ...]) -> str:
        iterations = list(iterate(task, values))
        limit = task.get("iteratorPolicy", {}).get("parallelismLimit", 0) or len(iterations) or 1
        slots = threading.Semaphore(limit)
        results: list[tuple[str, Values]] = [("FAILED", Values())] * len(iterations)

        def one(number: int, given: Values) -> None:
            with slots:
                if self._run.stopping:
                    return
                try:
                    results[number] = self._run_inner(component, given, (*path, str(number)))
                except WorkflowTooLarge as error:
                    self._run.end("FAILED", str(error))

        threads = [
            threading.Thread(target=one, args=(number, given), daemon=True) for number, given in enumerate(iterations)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._run.at(path).outputs = collected(component, [outputs for _, outputs in results])
        return "SUCCEEDED" if all(state in DONE for state, _ in results) else "FAILED"

    def _run_executor(self, task: Document, component: Document, values: Values, scope: Scope, record: Task) -> str:
        run, executor = self._run, self._run.pipeline.executor(component)
        if "importer" in executor:
            self._services.import_artifact(component, executor["importer"], values, record)
            return "SUCCEEDED"
        node = ".".join(record.path)
        label = component["executorLabel"]
        if record.prepared is None:
            record.prepared = prepare(
                pipeline=run.pipeline.name,
                run=run.run_id,
                task=record.name,
                component=component,
                container=executor["container"],
                platform=run.pipeline.platform.get(label, {}),
                values=values,
                scope=scope,
                placeholders=self._services.placeholders(run, record.name),
            )
        inputs = {"component": component, "task": task, "container": executor["container"], "parent-dag-id": "1"}
        run.workflow.add_pod(f"{node}-driver", "system-container-driver", inputs, {})
        self._write(f"{node} driver starts")
        cached = self._services.cached(run, task, record.prepared.cache_key)
        patch = pod_spec_patch(run, component, executor["container"], record)
        outputs = {"pod-spec-patch": "" if cached else patch, "cached-decision": str(bool(cached)).lower()}
        run.workflow.add_pod(f"{node}-driver", "system-container-driver", inputs, outputs)
        run.workflow.add_group(node, "system-container-executor", outputs)
        if cached is not None:
            record.outputs = cached
            self._write(f"{node} cached")
            return "CACHED"
        run.workflow.add_pod(f"{node}.executor", "system-container-impl", {"pod-spec-patch": patch}, {})
        return self._run_pods(task, component, record, node)

    def _run_pods(self, task: Document, component: Document, record: Task, node: str) -> str:
        """The pod of a step, again as long as Argo makes it again."""
        retries = int(task.get("retryPolicy", {}).get("maxRetryCount", 0))
        recreations = 0
        attempt = 0
        while True:
            outcome = self._run_pod(component, record, node, attempt)
            attempt += 1
            record.message = outcome.message
            if outcome.code == 0:
                self._services.record(record, component, outcome.output)
                self._write(f"{node} ended")
                return "SUCCEEDED"
            if self._run.stopping:
                return "FAILED"
            if outcome.code is None and recreations < MAXIMUM_RECREATIONS:
                recreations += 1
                time.sleep(self._services.pod_again_seconds)
            elif attempt - recreations > retries:
                return "FAILED"

    def _run_pod(self, component: Document, record: Task, node: str, attempt: int) -> Outcome:
        name = f"{self._run.workflow_name}-system-container-impl-{number_of(f'{node}({attempt})')}"
        pod = self._services.make_pod(self._run, record, name, component)
        record.attempts.append(pod)
        outcome: list[Outcome] = []
        running = threading.Thread(target=lambda: outcome.append(pod.run()), daemon=True)
        # Argo makes the pod first and writes then: the pod of a Workflow that became too large continues.
        running.start()
        if self._run.stopping:
            pod.terminate()
        self._write(f"{node} starts")
        running.join()
        return outcome[0]


def is_exit_task(task: Document) -> bool:
    return bool(task.get("triggerPolicy", {}).get("strategy") == "ALL_UPSTREAM_TASKS_COMPLETED")


def number_of(node: str) -> int:
    """The number that Argo makes of a node's name for its pod's."""
    return int(hashlib.sha256(node.encode()).hexdigest()[:8], 16)


def pod_spec_patch(run: Run, component: Document, container: Document, record: Task) -> Document:
    """What the driver tells Argo of a step's pod: the launcher with all that it is told, as a pod."""
    assert record.prepared is not None
    launcher = [
        "/kfp-launcher/launch",
        *("--executor_type", "container", "--pipeline_name", run.pipeline.name, "--run_id", run.run_id),
        *("--execution_id", "1", "--executor_input", dump(record.prepared.executor_input)),
        *("--component_spec", dump(component), "--pod_name", "$(KFP_POD_NAME)", "--pod_uid", "$(KFP_POD_UID)", "--"),
    ]
    main = {
        "name": "main",
        "image": container["image"],
        "command": launcher,
        "args": [*container.get("command", ()), *container.get("args", ())],
        "env": record.prepared.pod.environment,
        "resources": record.prepared.pod.resources,
    }
    return {"containers": [main]}


def passed_on(values: Values) -> Values:
    """Inputs of a group of tasks as its tasks get them."""
    artifacts = {
        name: [replace(artifact, passed_on=True) for artifact in group] for name, group in values.artifacts.items()
    }
    return Values(dict(values.parameters), artifacts)


def iterate(task: Document, values: Values) -> Iterator[Values]:
    """The inputs of each iteration of a loop."""
    if "artifactIterator" in task:
        iterator = task["artifactIterator"]
        for artifact in values.artifacts[iterator["items"]["inputArtifact"]]:
            yield Values(dict(values.parameters), {**values.artifacts, iterator["itemInput"]: [artifact]})
        return
    iterator = task["parameterIterator"]
    items = iterator["items"]
    given = json.loads(items["raw"]) if "raw" in items else values.parameters[items["inputParameter"]]
    for item in json.loads(given) if isinstance(given, str) else given:
        yield Values({**values.parameters, iterator["itemInput"]: item}, dict(values.artifacts))


def group_outputs(component: Document, scope: Scope) -> Values:
    """What a group of tasks puts out."""
    given = component["dag"].get("outputs", {})
    outputs = Values()
    for name, source in given.get("parameters", {}).items():
        selectors = source.get("valueFromOneof", {}).get("parameterSelectors") or [source["valueFromParameter"]]
        for selector in selectors:
            known = scope.outputs.get(selector["producerSubtask"], Values()).parameters
            if selector["outputParameterKey"] in known:
                outputs.parameters[name] = known[selector["outputParameterKey"]]
                break
    for name, source in given.get("artifacts", {}).items():
        for selector in source["artifactSelectors"]:
            found = scope.outputs.get(selector["producerSubtask"], Values()).artifacts
            if selector["outputArtifactKey"] in found:
                outputs.artifacts[name] = found[selector["outputArtifactKey"]]
                break
    return outputs


def collected(component: Document, results: list[Values]) -> Values:
    """What a loop puts out: lists."""
    definitions = component.get("outputDefinitions", {})
    return Values(
        {
            name: [result.parameters[name] for result in results if name in result.parameters]
            for name in definitions.get("parameters", {})
        },
        {
            name: [artifact for result in results for artifact in result.artifacts.get(name, [])]
            for name in definitions.get("artifacts", {})
        },
    )


def dump(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
