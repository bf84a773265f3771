"""What stays of a search when its Experiments are gone: its trials. `search_record_file` keeps them with their models.

Experiments are deleted when a search is over, stopped, or cleaned up with the launcher's pod. Whoever asks for the same
search again, a task that Kubeflow repeats or a run that is resumed, continues from here and does not train it again.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from kfp_image_tuning.core.document_schema import find_violations
from kfp_image_tuning.core.errors import DocumentError
from kfp_image_tuning.engines.katib.request.experiment import PlannedExperiment
from kfp_image_tuning.search.budget import Budget
from kfp_image_tuning.search.result import Trial

SCHEMA_VERSION = 1
SCHEMA_NAME = "search_record.schema.json"


@dataclass(frozen=True, kw_only=True)
class ExperimentRecord:
    """One Experiment.

    Attributes:
        name: Its name; another one may have had it before.
        uid: Kubernetes' identity of it.
        max_trials: Trials that it was to have, those of Experiments before it included.
        started_at: Unix time.
        seen_at: Unix time up to which this tells of it.
        exhausted: Whether Katib ended it because it had no more trials to make.
        trials: Its trials that ended.
    """

    name: str
    uid: str
    max_trials: int
    started_at: float
    seen_at: float
    exhausted: bool
    trials: tuple[Trial, ...]

    @property
    def with_result(self) -> tuple[Trial, ...]:
        """The trials that count: a new one takes the place of one that failed or was cut off."""
        return tuple(trial for trial in self.trials if trial.status in ("completed", "early_stopped"))


@dataclass(frozen=True)
class SearchRecord:
    """The Experiments of one run, in the order in which they were made.

    Attributes:
        fingerprint: What they search; pods and limits are no part of it.
        experiments: The Experiments.
    """

    fingerprint: str
    experiments: tuple[ExperimentRecord, ...] = ()

    def gone(self, present: Mapping[str, str]) -> "SearchRecord":
        """Those that are not in the cluster any more; ``present`` is the ``uid`` of what is there, by name."""
        return self._with(found for found in self.experiments if present.get(found.name) != found.uid)

    def without(self, other: "SearchRecord") -> "SearchRecord":
        """The rest."""
        return self._with(found for found in self.experiments if found not in other.experiments)

    def updated(self, newer: Iterable[ExperimentRecord]) -> "SearchRecord":
        """With what is known of some by now."""
        by_uid = {found.uid: found for found in (*self.experiments, *newer)}
        return self._with(by_uid.values())

    def _with(self, experiments: Iterable[ExperimentRecord]) -> "SearchRecord":
        return SearchRecord(self.fingerprint, tuple(experiments))

    @property
    def trials(self) -> tuple[Trial, ...]:
        """All trials."""
        return tuple(trial for found in self.experiments for trial in found.trials)

    @property
    def with_result(self) -> tuple[Trial, ...]:
        """All trials that count."""
        return tuple(trial for found in self.experiments for trial in found.with_result)

    @property
    def seconds(self) -> float:
        """Wall time in which at least one of them ran."""
        total = until = 0.0
        for found in sorted(self.experiments, key=lambda found: found.started_at):
            total += max(0.0, found.seen_at - max(until, found.started_at))
            until = max(until, found.seen_at)
        return total

    @property
    def started_at(self) -> float | None:
        """When the first one was made, Unix time."""
        return min((found.started_at for found in self.experiments), default=None)

    def count_left(self, wanted: PlannedExperiment) -> int:
        """Trials that an Experiment still has to make."""
        made = [found for found in self.experiments if found.name == wanted.name]
        if made and made[-1].exhausted and made[-1].with_result and wanted.max_trials <= made[-1].max_trials:
            return 0
        return max(0, wanted.max_trials - sum(len(found.with_result) for found in made))

    def is_over(self, wanted: Iterable[PlannedExperiment], budget: Budget) -> bool:
        """Whether nothing is left to search; a search without a result is not over, but to be tried again."""
        if not self.with_result:
            return False
        if budget.reason_to_stop(self.with_result, self.seconds) is not None:
            return True
        return not any(self.count_left(experiment) for experiment in wanted)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {"schema_version": SCHEMA_VERSION, **asdict(self)}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read the JSON form.

        Raises:
            DocumentError: If it is something else.
        """
        schema = json.loads((Path(__file__).parent / SCHEMA_NAME).read_text(encoding="utf-8"))
        if violations := find_violations(document, schema):
            raise DocumentError(f"is not a record of a search ({'; '.join(violations)})")
        try:
            found = [
                ExperimentRecord(**{**entry, "trials": tuple(Trial.from_dict(trial) for trial in entry["trials"])})
                for entry in document["experiments"]
            ]
        except TypeError as error:
            raise DocumentError(f"is a record of another release ({error})") from None
        return cls(document["fingerprint"], tuple(found))
