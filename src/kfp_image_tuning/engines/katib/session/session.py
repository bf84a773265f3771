"""A session on a cluster: Katib's Experiments of one search, launched or attached to, followed, stopped.

    plan ──▶ Experiments ──▶ Katib ──▶ Trials ──▶ Jobs ──▶ pods: our trainer
                 ▲             watch ◀──┘            logs ◀──┘
             this process: launches or attaches, follows, stops

Everything that lasts is in the cluster, and what trials have reached also beside their models. A process that is killed
leaves nothing that the next of the same run does not take up; without a next one, the Experiments go with the
launcher's pod.
"""

import queue
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kfp_image_tuning.core.errors import EngineError
from kfp_image_tuning.core.stop_guard import StopGuard
from kfp_image_tuning.core.wording import duration
from kfp_image_tuning.engines.katib.request.algorithms import ALGORITHMS
from kfp_image_tuning.engines.katib.request.experiment import algorithm_of, run_digest, search_name
from kfp_image_tuning.engines.katib.request.locations import Location
from kfp_image_tuning.engines.katib.request.names import RUN_LABEL, digest_of
from kfp_image_tuning.engines.katib.request.options import KatibOptions
from kfp_image_tuning.engines.katib.request.planning import KatibPlan
from kfp_image_tuning.engines.katib.request.trial_pod import mounts_code
from kfp_image_tuning.engines.katib.request.validation import is_completed
from kfp_image_tuning.engines.katib.session.attaching import check_installation, find_present, launch, remove_others
from kfp_image_tuning.engines.katib.session.cluster import INJECTION_LABEL, Cluster
from kfp_image_tuning.engines.katib.session.heartbeat import Heartbeat
from kfp_image_tuning.engines.katib.session.history import History
from kfp_image_tuning.engines.katib.session.model_store import ModelStore
from kfp_image_tuning.engines.katib.session.search_record_file import RecordFile
from kfp_image_tuning.engines.katib.session.tracking import Tracker
from kfp_image_tuning.engines.katib.session.watching import Change, Watcher
from kfp_image_tuning.engines.protocol import Attached, Event
from kfp_image_tuning.search.result import find_best_trial

LONGEST_SILENCE = 1.0
"""Seconds without an update, at most: so quickly a time limit or a signal acts."""
STOP_PATIENCE = 60.0
"""Seconds that pods have to leave their models after they were told to end; Kubernetes gives them 30."""
GUARD_PATIENCE = 2.0
"""Seconds that the guard has to delete the Experiments, before this process does it."""


class KatibSession:
    """The Experiments of one search.

    Args:
        plan: What they are.
        options: Where and how.
        model_store: Where trials leave their models.
        model_directory: Gets the best trial's model.
        cluster: The connection.
    """

    def __init__(
        self, plan: KatibPlan, options: KatibOptions, model_store: ModelStore, model_directory: Path, cluster: Cluster
    ) -> None:
        search = self._search = plan.search
        self._options = options
        self._experiments = plan.experiments
        self._selector = f"{RUN_LABEL}={run_digest(search, options)}"
        self._model_store, self._model_directory = model_store, model_directory
        self._cluster = cluster
        models = Location.parse("output_uri", options.output_uri)
        folder = models.below(search_name(search, options)).uri
        record = RecordFile(model_store, folder, digest_of([search.fingerprint, options.initial_model]))
        self._heartbeat = Heartbeat(model_store, folder, options.orphan_timeout_seconds)
        algorithm = ALGORITHMS[algorithm_of(search, options)]
        self._history = History(record, plan.experiments, algorithm.can_go_on)
        self._tracker = Tracker(cluster, search, models)
        self._guard = StopGuard(lambda: cluster.deletion("experiments", self._selector, again=not self._is_launched))
        self._is_launched = False
        self._stopping = False
        self._removed = False
        self._notes: list[str] = []
        self._pending_since = time.monotonic()

    def events(self) -> Iterator[Event]:
        """Launch the Experiments or attach to them, and tell what happens until Katib has ended every one."""
        watchers: list[Watcher] = []
        try:
            yield Event(kind="attached", attached=self._attach())
            for note in (*self._history.notes, *self._notes):
                yield Event(kind="waiting", note=note)
            if self._history.left:
                changes: queue.Queue[Change] = queue.Queue()
                watchers += self._watch(changes)
                yield from self._follow(changes)
        finally:
            for watcher in watchers:
                watcher.end()
            self._heartbeat.end()
            self._guard.close()

    def stop(self) -> None:
        """Delete the Experiments, with all that they own, in one call; pods then have time to leave their models.

        A search whose trials have all ended has nothing to stop, and its Experiments may stay.
        """
        if self._has_ended_all_trials():
            return
        self._stopping = True
        self._guard.stop()

    def result(self) -> Mapping[str, Any]:
        """Bring in the best trial's model, and remove the Experiments unless they are to stay."""
        best = find_best_trial([*self._history.trials, *self._tracker.trials.values()])
        if best is not None and best.model_uri is not None:
            self._model_store.fetch(best.model_uri, self._model_directory)
        # Before the Experiments go, and with them all that a next attempt could collect.
        self._history.close(self._tracker)
        details = {
            "namespace": self._cluster.namespace,
            "experiments": [
                {"name": experiment.name, "optimal_trial": self._optimal(experiment.name)}
                for experiment in self._experiments
            ],
            "kept": self._options.keep_experiments and not self._removed,
            "notes": [*self._history.notes, *self._notes, *self._tracker.failure_messages()],
        }
        if not self._options.keep_experiments:
            self._remove()
        self._heartbeat.end(is_over=True)
        return details

    def _attach(self) -> Attached:
        """Start the Experiments, or attach to those of an earlier attempt, or what it has left of them."""
        if self._history.is_over(self._search.budget):
            self._remove_unfinished()
            return self._history.attached(self._tracker)
        if mounts_code(self._options):
            check_installation(self._cluster)
        documents = [experiment.document for experiment in self._experiments]
        present = find_present(self._cluster, documents)
        self._history.take_up(present)
        self._heartbeat.start()
        self._guard.start()
        launched = launch(self._cluster, [experiment.document for experiment in self._history.left], present)
        self._is_launched = True
        self._guard.renew(at_once=True)
        # Last, because what an earlier attempt has left may stay as long as nothing takes its place.
        self._notes = [*launched.notes, *remove_others(self._cluster, documents)]
        self._history.follow(launched.experiments)
        self._tracker.begin(self._history.left, launched.experiments)
        if launched.attached:
            self._notes.append(f"going on with {', '.join(launched.attached)}")
            self._tracker.attach(self._cluster.find("trials", self._tracker.selector))
        if self._stopping:
            # A signal came while the Experiments were being made: what it deleted may not have been all of them.
            self._removed = False
            self._remove()
        return self._history.attached(self._tracker, goes_on=bool(launched.attached))

    def _watch(self, changes: "queue.Queue[Change]") -> list[Watcher]:
        """Have every change told from now on."""
        experiments = [dict(experiment) for experiment in self._tracker.experiments.values()]
        watchers = [Watcher(self._cluster, "experiments", self._selector, changes, experiments)]
        watchers += [Watcher(self._cluster, plural, self._tracker.selector, changes) for plural in ("trials", "pods")]
        for watcher in watchers:
            watcher.start()
        return watchers

    def _follow(self, changes: "queue.Queue[Change]") -> Iterator[Event]:
        self._pending_since = time.monotonic()
        while not self._stopping:
            yield from self._take(changes)
            yield from self._tracker.read_logs()
            yield Event(kind="waiting", note=self._tracker.note())
            if problem := self._history.write(self._tracker) or self._heartbeat.take_problem():
                yield Event(kind="waiting", note=problem)
            self._keep_guard()
            self._check_deleted()
            self._check_watched()
            if self._tracker.is_over:
                yield from self._conclude()
                return
            self._check_pending()
        yield from self._end(changes)

    def _take(self, changes: "queue.Queue[Change]") -> Iterator[Event]:
        """Act on what has happened, and wait a moment if nothing has."""
        try:
            change = changes.get(timeout=LONGEST_SILENCE)
            while True:
                yield from self._tracker.take(change)
                change = changes.get_nowait()
        except queue.Empty:
            return

    def _keep_guard(self) -> None:
        """Let the guard stop what can be stopped, with a token that counts."""
        if self._has_ended_all_trials():
            self._guard.disarm()
        else:
            self._guard.renew()

    def _check_deleted(self) -> None:
        if self._tracker.deleted and not self._stopping:
            names = ", ".join(self._tracker.deleted)
            self._remove()
            raise EngineError(
                f"Experiment {names}: was deleted by somebody else while the search ran, and the others of this search "
                "are ended; the same run continues after the trials that have ended"
            )

    def _check_watched(self) -> None:
        """Give up at once on trials of which Katib will never collect anything: it waits for ever."""
        if self._tracker.is_unwatched and not self._stopping:
            namespace = self._cluster.namespace
            self._remove()
            raise EngineError(
                f"Katib does not add its metrics collector to pods of namespace {namespace}: no trial would ever have "
                "a result, and the search is ended. Label the namespace, and run it again: kubectl label namespace "
                f"{namespace} {INJECTION_LABEL}=enabled"
            )

    def _check_pending(self) -> None:
        """Give up on a search that only waits."""
        if self._tracker.runs:
            self._pending_since = time.monotonic()
        limit = self._options.pending_timeout_seconds
        if limit and time.monotonic() - self._pending_since > limit:
            reasons = "; ".join(self._tracker.obstacles()) or "Katib has made no trial that could run"
            self._remove()
            raise EngineError(
                f"no trial has run for {duration(limit)} and the search is ended: {reasons}. Free what is missing, "
                "ask for less, or wait longer (--pending-timeout, or pending_timeout_seconds in the options)"
            )

    def _conclude(self) -> Iterator[Event]:
        """The last updates of a search that Katib has ended."""
        yield from self._tracker.refresh()
        yield from self._tracker.end_running(self._model_store)
        messages = self._tracker.failure_messages()
        for message in messages:
            yield Event(kind="waiting", note=message)
        if messages and not self._tracker.trials:
            if not self._options.keep_experiments:
                self._remove()
            raise EngineError.from_problems(messages)

    def _end(self, changes: "queue.Queue[Change]") -> Iterator[Event]:
        """The last updates of a search that was stopped."""
        self._removed = self._guard.wait(GUARD_PATIENCE)
        self._remove()
        # The pods go, and their logs with them.
        yield from self._tracker.read_logs(at_once=True)
        deadline = time.monotonic() + STOP_PATIENCE
        while time.monotonic() < deadline and self._tracker.has_pods:
            yield from self._take(changes)
            yield from self._tracker.read_logs()
            yield Event(kind="waiting")
        yield from self._tracker.end_running(self._model_store)

    def _remove(self) -> None:
        """Delete the Experiments, however long the API server takes to answer."""
        if self._removed:
            return
        for experiment in self._experiments:
            self._cluster.delete("experiments", experiment.name)
        self._removed = True

    def _remove_unfinished(self) -> None:
        """Delete what still runs of a search that is over; what Katib has ended may be meant to stay."""
        for experiment in self._cluster.find("experiments", self._selector):
            if not is_completed(experiment):
                self._cluster.delete("experiments", experiment["metadata"]["name"])

    def _has_ended_all_trials(self) -> bool:
        if not self._is_launched:
            return not self._history.left
        most = sum(experiment.max_trials for experiment in self._history.left)
        trials = [*self._tracker.trials.values()]
        return len(trials) >= most and all(trial.is_finished for trial in trials)

    def _optimal(self, name: str) -> str | None:
        status = self._tracker.experiments.get(name, {}).get("status") or {}
        return (status.get("currentOptimalTrial") or {}).get("bestTrialName") or None
