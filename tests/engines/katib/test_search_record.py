"""What stays of a search when its Experiments are gone, and what is left of it to search."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kfp_image_tuning.core.errors import DocumentError
from kfp_image_tuning.engines.katib.request.experiment import PlannedExperiment, build_experiments, search_name
from kfp_image_tuning.engines.katib.request.locations import Location
from kfp_image_tuning.engines.katib.request.options import KatibOptions
from kfp_image_tuning.engines.katib.session.model_store import ModelStore
from kfp_image_tuning.engines.katib.session.search_record import ExperimentRecord, SearchRecord
from kfp_image_tuning.engines.katib.session.search_record_file import RecordFile
from kfp_image_tuning.search.budget import Budget
from kfp_image_tuning.search.result import Epoch, Trial, TrialStatus
from tests.emulators.object_store import object_store
from tests.engines.katib.searches import make_options, make_search


def plan(**wishes: Any) -> PlannedExperiment:
    (planned,) = build_experiments(make_search(search_mode="flat", **wishes), make_options(run="run-1"))
    return planned


def trials(*statuses: TrialStatus) -> tuple[Trial, ...]:
    with_objective = ("completed", "early_stopped", "stopped")
    return tuple(
        Trial(
            name=f"trial-{number}",
            status=status,
            hyperparameters={"learning_rate": 0.1},
            objective=0.5 if status in with_objective else None,
            history=(Epoch(epoch=0, validation_accuracy=0.5),),
            finished_at=100.0 + number,
        )
        for number, status in enumerate(statuses)
    )


def record(planned: PlannedExperiment, *statuses: TrialStatus, **changes: Any) -> SearchRecord:
    made = ExperimentRecord(
        name=planned.name,
        uid="1",
        max_trials=planned.max_trials,
        started_at=100.0,
        seen_at=160.0,
        exhausted=False,
        trials=trials(*statuses),
    )
    return SearchRecord("sought", (replace(made, **changes),))


def test_a_search_that_katib_has_ended_is_over() -> None:
    planned = plan(max_trials=3)
    made = record(planned, "completed", "failed", "completed", exhausted=True)
    assert made.is_over([planned], Budget(max_trials=3))
    assert made.count_left(planned) == 0


def test_more_trials_are_asked_of_a_search_that_was_over() -> None:
    planned, more = plan(max_trials=3), plan(max_trials=5)
    made = record(planned, "completed", "completed", "completed", exhausted=True)
    assert not made.is_over([more], Budget(max_trials=5))
    assert made.count_left(more) == 2


def test_a_trial_that_failed_or_was_cut_off_is_made_again() -> None:
    planned = plan(max_trials=6)
    made = record(planned, "completed", "early_stopped", "failed", "stopped")
    assert not made.is_over([planned], Budget(max_trials=6))
    assert made.count_left(planned) == 4


def test_a_search_without_a_result_is_not_over() -> None:
    planned = plan(max_trials=2)
    made = record(planned, "failed", "failed", exhausted=True)
    assert not made.is_over([planned], Budget(max_trials=2))
    assert made.count_left(planned) == 2


@pytest.mark.parametrize("budget", [{"max_seconds": 60}, {"target_objective": 0.5}])
def test_a_search_that_its_budget_has_ended_is_over(budget: dict[str, Any]) -> None:
    planned = plan(max_trials=9, **budget)
    assert record(planned, "completed").is_over([planned], Budget(max_trials=9, **budget))


def test_time_is_counted_once_for_experiments_that_ran_side_by_side() -> None:
    planned = plan(max_trials=3)
    (first,) = record(planned).experiments
    beside = replace(first, uid="2", started_at=130.0, seen_at=190.0)
    later = replace(first, uid="3", started_at=1000.0, seen_at=1010.0)
    assert SearchRecord("sought", (first, beside, later)).seconds == 90 + 10


def test_what_is_in_the_cluster_is_not_gone() -> None:
    planned = plan(max_trials=3)
    made = record(planned, "completed")
    assert made.gone({planned.name: "1"}) == SearchRecord("sought")
    assert made.gone({planned.name: "2"}) == made
    assert made.gone({}) == made


def test_what_is_left_of_an_experiment_goes_on_with_another_seed() -> None:
    planned = plan(max_trials=9, parallel_trials=4, strategy="random", seed=5)
    left = planned.after(6)
    spec = left.document["spec"]
    assert (spec["maxTrialCount"], spec["parallelTrialCount"]) == (3, 3)
    assert {"name": "random_state", "value": "11"} in spec["algorithm"]["algorithmSettings"]
    assert left.document["metadata"] == planned.document["metadata"]
    assert planned.after(0) == planned


def record_file_at(models: str, mount: Path | None, name: str = "ic-1", sought: str = "sought") -> RecordFile:
    location = Location.parse("models", models)
    return RecordFile(
        ModelStore(KatibOptions(data="pvc://claim/data", output_uri=location.uri), mount),
        location.below(name).uri,
        sought,
    )


@pytest.fixture(params=["volume", "store"])
def record_file(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RecordFile]:
    name = search_name(make_search(), make_options())
    if request.param == "volume":
        yield record_file_at("pvc://models/photos", tmp_path / "photos", name)
        return
    with object_store("bucket") as variables:
        for variable, value in variables.items():
            monkeypatch.setenv(variable, value)
        yield record_file_at("s3://bucket/photos/models", None, name)


def test_a_record_is_read_as_it_was_written(record_file: RecordFile) -> None:
    assert record_file.read() == SearchRecord("sought")
    made = record(plan(max_trials=3), "completed", "failed")
    assert record_file.write(made, patience=30) == ""
    assert record_file.read() == made
    more = record(plan(max_trials=3), "completed", "completed")
    assert record_file.write(more, patience=30) == ""
    assert record_file.read() == more


def test_a_search_that_reached_its_goal_goes_on_to_a_higher_one() -> None:
    planned = plan(max_trials=9, target_objective=0.9)
    made = record(planned, "completed")
    assert made.is_over([planned], Budget(max_trials=9, target_objective=0.5))
    assert not made.is_over([planned], Budget(max_trials=9, target_objective=0.9))
    assert made.count_left(planned) == 8


def test_another_search_under_the_same_run_is_not_taken_up(tmp_path: Path) -> None:
    made = record(plan(max_trials=3), "completed")
    assert record_file_at("pvc://models", tmp_path).write(made, 30) == ""
    other = record_file_at("pvc://models", tmp_path, sought="another")
    assert other.read() == SearchRecord("another")


def test_a_place_that_cannot_be_written_is_told_and_fails_nothing(tmp_path: Path) -> None:
    (tmp_path / "photos").write_text("a file")
    file = record_file_at("pvc://models", tmp_path / "photos")
    assert "photos" in file.write(record(plan(max_trials=3), "completed"), patience=30)


def test_a_volume_that_is_not_mounted_keeps_nothing() -> None:
    file = record_file_at("pvc://models", None)
    assert file.write(record(plan(max_trials=3), "completed"), patience=30) == ""
    assert file.read() == SearchRecord("sought")


@pytest.mark.parametrize("content", ["half a docu", "[]", '{"schema_version": 7}', '{"schema_version": 1}'])
def test_something_else_in_its_place_is_named(tmp_path: Path, content: str) -> None:
    file = record_file_at("pvc://models", tmp_path)
    (tmp_path / "ic-1").mkdir()
    (tmp_path / "ic-1" / "search.json").write_text(content)
    with pytest.raises(DocumentError, match=r"pvc://models/ic-1/search\.json: .*remove it to search again"):
        file.read()


def test_a_record_is_json(tmp_path: Path) -> None:
    made = record(plan(max_trials=3), "completed", "early_stopped")
    assert SearchRecord.from_dict(json.loads(json.dumps(made.to_dict()))) == made
