"""What a run had reached before this process, and what it writes down for those to come."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from kfp_image_tuning.engines.katib.request.experiment import PlannedExperiment
from kfp_image_tuning.engines.katib.request.validation import is_exhausted
from kfp_image_tuning.engines.katib.session.search_record import ExperimentRecord, SearchRecord
from kfp_image_tuning.engines.katib.session.search_record_file import RecordFile
from kfp_image_tuning.engines.katib.session.tracking import Tracker
from kfp_image_tuning.engines.katib.session.trial_status import read_time
from kfp_image_tuning.engines.protocol import Attached
from kfp_image_tuning.search.budget import Budget
from kfp_image_tuning.search.result import Trial

PATIENCE = 60.0
"""Seconds that the record may take to be written before Experiments are deleted."""
_NOT_KEPT = "the trials are not kept for a next attempt: {}"


class History:
    """The past of one search.

    Args:
        file: Its record.
        planned: Its Experiments, whole.
        can_go_on: Whether the algorithm can add trials to those of Experiments that are gone.

    Attributes:
        left: What is left of the Experiments, to be run or running.
        trials: The trials of those that are gone, as far as they count.
        notes: What a reader should know.
    """

    def __init__(self, file: RecordFile, planned: Sequence[PlannedExperiment], can_go_on: bool) -> None:
        self._file = file
        self._planned = planned
        self._can_go_on = can_go_on
        # What the file holds, and the part of it whose Experiments are gone.
        self._record = self._gone = file.empty
        self._made: tuple[Mapping[str, Any], ...] = ()
        self._written = 0
        self._is_problem_told = False
        self.left = tuple(planned)
        self.trials: tuple[Trial, ...] = ()
        self.notes: list[str] = []

    def is_over(self, budget: Budget) -> bool:
        """Read the record; whether nothing is left to search.

        Raises:
            ImageTuningError: If it cannot be read.
        """
        self._record = self._gone = self._file.read()
        if not self._record.is_over(self._planned, budget):
            return False
        self.notes.append(f"this search is over already: {self._file.uri} has kept its trials")
        self.left, self.trials = (), self._record.trials
        return True

    def take_up(self, present: Mapping[str, Mapping[str, Any]]) -> None:
        """Count what Experiments that are gone have reached, and see what is left.

        Args:
            present: The Experiments that are in the cluster, by name.
        """
        gone = self._record.gone({name: found["metadata"]["uid"] for name, found in present.items()})
        if gone.with_result and not self._can_go_on:
            self.notes.append(
                "this algorithm of Katib cannot continue where it was ended: the search starts from scratch"
            )
            self._record, gone = self._record.without(gone), SearchRecord(gone.fingerprint)
        elif gone.with_result:
            self.notes.append(
                f"going on after {len(gone.with_result)} trials of Experiments that are gone ({self._file.uri}); the "
                "new ones know nothing of them"
            )
        self._gone, self.trials = gone, gone.with_result
        left = [(experiment, gone.count_left(experiment)) for experiment in self._planned]
        self.left = tuple(experiment.after(experiment.max_trials - count) for experiment, count in left if count)

    def follow(self, experiments: Sequence[Mapping[str, Any]]) -> None:
        """Write down what becomes of Experiments, as the cluster has them, from now on."""
        self._made = tuple(experiments)

    def attached(self, tracker: Tracker, goes_on: bool = False) -> Attached:
        """What the run had reached before this process.

        Args:
            tracker: What is known of its running Experiments.
            goes_on: Whether they were there already, so that their time counts.
        """
        past = self._gone.updated(self._describe(tracker) if goes_on else ())
        if past.started_at is None:
            return Attached()
        trials = (*self.trials, *tracker.trials.values())
        return Attached(trials=trials, seconds=past.seconds, started_at=past.started_at)

    def write(self, tracker: Tracker) -> str:
        """Write the record if another trial has ended, without waiting for it; returns what went wrong, once."""
        ended = sum(trial.is_finished for trial in tracker.trials.values())
        if ended == self._written:
            return ""
        self._written = ended
        problem = self._file.write(self._record.updated(self._describe(tracker)))
        if not problem or self._is_problem_told:
            return ""
        self._is_problem_told = True
        return _NOT_KEPT.format(problem)

    def close(self, tracker: Tracker) -> None:
        """Write the record a last time, and wait for it; a note says what went wrong."""
        if problem := self._file.write(self._record.updated(self._describe(tracker)), PATIENCE):
            self.notes.append(_NOT_KEPT.format(problem))

    def _describe(self, tracker: Tracker) -> list[ExperimentRecord]:
        """The Experiments as they are now."""
        max_trials = {experiment.name: experiment.max_trials for experiment in self._planned}
        described = []
        for metadata in (experiment["metadata"] for experiment in self._made):
            name = metadata["name"]
            described.append(
                ExperimentRecord(
                    name=name,
                    uid=metadata["uid"],
                    max_trials=max_trials[name],
                    started_at=read_time(metadata["creationTimestamp"]) or time.time(),
                    seen_at=time.time(),
                    exhausted=is_exhausted(tracker.experiments.get(name, {})),
                    trials=tuple(trial for trial in tracker.trials_of(name) if trial.is_finished),
                )
            )
        return described
