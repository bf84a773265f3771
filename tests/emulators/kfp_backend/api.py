"""The backend's HTTP front: as much of KFP's v2beta1 API as `kfp.Client` and the end-to-end tests ask for.

Recorded: a failed run and its tasks have no ``error``; a terminated run is FAILED; a recurring run with a pinned
version replaces no macros. From reading KFP's protocol files and sources: paths and fields.
"""

import logging
import threading
import uuid
from collections.abc import Callable
from types import TracebackType
from typing import Any

import flask
from werkzeug.serving import make_server

from tests.emulators.kfp_backend.api_answers import CODES, ApiError, find, listed, now, remove
from tests.emulators.kfp_backend.backend import Backend
from tests.emulators.kfp_backend.recurring_runs import RecurringRuns
from tests.emulators.kfp_backend.request import RequestRefused
from tests.emulators.kfp_backend.run import ENDED, Run
from tests.emulators.kfp_backend.uploads import Uploads, shown

Document = dict[str, Any]
ROOT = "/apis/v2beta1"


class Api:
    """The server, from its making until `close`.

    Args:
        backend: What runs pipelines.
        port: To listen on; 0: a free one.
    """

    def __init__(self, backend: Backend, port: int = 0) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.backend = backend
        self._lock = threading.RLock()
        self._experiments: dict[str, Document] = {}
        self._uploads = Uploads()
        self._runs: dict[str, tuple[Run, Document]] = {}
        self._recurring = RecurringRuns(self.create_run, self._is_running)
        self._server = make_server("127.0.0.1", port, self._application(), threaded=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> "Api":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._recurring.close()
        self._server.shutdown()
        self._server.server_close()

    def create_run(self, given: Document, *, recurring: str = "") -> Document:
        """Create a run as a client's document says.

        Args:
            given: A run as KFP's API has it.
            recurring: The recurring run that makes it.
        """
        reference = given.get("pipeline_version_reference")
        if given.get("experiment_id") not in self._experiments:
            raise ApiError(404, f"ResourceNotFoundError: Experiment {given.get('experiment_id')} not found.")
        documents = self._documents(given)
        configuration = given.get("runtime_config") or {}
        try:
            run = self.backend.start(
                documents,
                configuration.get("parameters") or {},
                name=given["display_name"],
                pinned=bool(recurring and reference),
            )
        except RequestRefused as refusal:
            raise ApiError(400, str(refusal)) from None
        kept = {
            name: given[name]
            for name in ("experiment_id", "display_name", "description", "service_account", "runtime_config")
            if given.get(name) is not None
        }
        kept |= {"pipeline_version_reference": reference} if reference else {"pipeline_spec": given["pipeline_spec"]}
        kept |= {"created_at": now(), **({"recurring_run_id": recurring} if recurring else {})}
        with self._lock:
            self._runs[run.run_id] = run, kept
        return self._run_document(run.run_id)

    def _documents(self, given: Document) -> list[Document]:
        if reference := given.get("pipeline_version_reference"):
            return list(find(self._uploads.versions, reference["pipeline_version_id"], "PipelineVersion")["documents"])
        specification = given.get("pipeline_spec") or {}
        if "pipeline_spec" in specification:
            return [specification["pipeline_spec"], specification["platform_spec"]]
        return [specification]

    def _is_running(self, run_id: str) -> bool:
        return run_id in self._runs and self._runs[run_id][0].state not in ENDED

    def _run_document(self, run_id: str) -> Document:
        run, kept = find(self._runs, run_id, "Run")
        state = "CANCELING" if run.stopping and run.state not in ENDED else run.state
        tasks = [
            {
                "run_id": run_id,
                "task_id": ".".join(task.path),
                "display_name": task.name,
                # A cached step's pod is skipped.
                "state": "SKIPPED" if task.state == "CACHED" else task.state,
            }
            for task in run.tasks
        ]
        document = {**kept, "run_id": run_id, "storage_state": "AVAILABLE", "state": state}
        return document | {"run_details": {"task_details": tasks}}

    def _end_run(self, run_id: str) -> None:
        run, _ = find(self._runs, run_id, "Run")
        if run.state in ENDED:
            raise ApiError(400, f"FailedPrecondition: run {run_id} has ended already")
        self.backend.terminate(run)

    def _retry_run(self, run_id: str) -> None:
        run, _ = find(self._runs, run_id, "Run")
        if run.state != "FAILED":
            raise ApiError(400, "BadRequestError: Workflow must be Failed/Error to retry")
        self.backend.retry(run)

    def _delete_run(self, run_id: str) -> None:
        run, _ = find(self._runs, run_id, "Run")
        run.stopping = True
        for task in run.tasks:
            for pod in task.attempts:
                pod.kill()
        with self._lock:
            del self._runs[run_id]
            self.backend.runs.remove(run)

    def _create_experiment(self, given: Document) -> Document:
        if any(entry["display_name"] == given["display_name"] for entry in self._experiments.values()):
            raise ApiError(409, f"Already exist error: experiment {given['display_name']}")
        identity = str(uuid.uuid4())
        experiment = {**given, "experiment_id": identity, "created_at": now(), "storage_state": "AVAILABLE"}
        self._experiments[identity] = experiment
        return experiment

    def _create_recurring_run(self, given: Document) -> Document:
        if given.get("experiment_id") not in self._experiments:
            raise ApiError(404, f"ResourceNotFoundError: Experiment {given.get('experiment_id')} not found.")
        self._documents(given)
        try:
            return self._recurring.create(given)
        except ValueError as error:
            raise ApiError(400, f"InvalidInputError: {error}") from None

    def _application(self) -> flask.Flask:
        application = flask.Flask("kfp")
        body = flask.request

        def route(path: str, method: str, answer: Callable[..., Any]) -> None:
            def view(**identities: str) -> Any:
                with self._lock:
                    return flask.jsonify(answer(**identities) or {})

            application.add_url_rule(f"{ROOT}{path}", f"{method} {path}", view, methods=[method])

        def refuse(error: ApiError) -> Any:
            text = {"error": str(error), "message": str(error), "code": CODES[error.status], "details": []}
            return flask.jsonify(text), error.status

        application.register_error_handler(ApiError, refuse)
        route("/healthz", "GET", lambda: {"multi_user": False})
        route("/experiments", "POST", lambda: self._create_experiment(body.get_json()))
        route("/experiments", "GET", lambda: listed("experiments", self._experiments.values()))
        route("/experiments/<one>", "GET", lambda one: find(self._experiments, one, "Experiment"))
        route("/experiments/<one>", "DELETE", lambda one: remove(self._experiments, one, "Experiment"))
        route("/pipelines/upload", "POST", self._uploads.upload_pipeline)
        route("/pipelines/upload_version", "POST", self._uploads.upload_version)
        route("/pipelines", "GET", lambda: listed("pipelines", self._uploads.pipelines.values()))
        route("/pipelines/<one>", "GET", lambda one: find(self._uploads.pipelines, one, "Pipeline"))
        route("/pipelines/<one>", "DELETE", lambda one: self._uploads.delete_pipeline(one))
        route("/pipelines/<one>/versions", "GET", lambda one: self._uploads.list_versions(one))
        version = "/pipelines/<_>/versions/<one>"
        route(version, "GET", lambda _, one: shown(find(self._uploads.versions, one, "PipelineVersion")))
        route(version, "DELETE", lambda _, one: remove(self._uploads.versions, one, "PipelineVersion"))
        route("/runs", "POST", lambda: self.create_run(body.get_json()))
        route("/runs", "GET", lambda: listed("runs", [self._run_document(one) for one in self._runs]))
        route("/runs/<one>", "GET", lambda one: self._run_document(one))
        route("/runs/<one>", "DELETE", lambda one: self._delete_run(one))
        route("/runs/<one>:terminate", "POST", lambda one: self._end_run(one))
        route("/runs/<one>:retry", "POST", lambda one: self._retry_run(one))
        route("/recurringruns", "POST", lambda: self._create_recurring_run(body.get_json()))
        route("/recurringruns", "GET", lambda: listed("recurringRuns", self._recurring.documents.values()))
        one_recurring = "/recurringruns/<one>"
        route(one_recurring, "GET", lambda one: find(self._recurring.documents, one, "RecurringRun"))
        route(one_recurring, "DELETE", lambda one: remove(self._recurring.documents, one, "RecurringRun"))
        for mode in ("enable", "disable"):
            route(f"{one_recurring}:{mode}", "POST", lambda one, mode=mode: self._switch(one, mode))
        return application

    def _switch(self, identity: str, mode: str) -> None:
        find(self._recurring.documents, identity, "RecurringRun")
        self._recurring.switch(identity, mode)
