"""The result document."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from kfp_image_tuning.core.errors import DocumentError
from kfp_image_tuning.search import result as result_module
from kfp_image_tuning.search.result import Epoch, Trial, TuningResult
from tests.search.searches import make_search

SCHEMA = json.loads((Path(result_module.__file__).parent / "result.schema.json").read_text())


def make_result(**changes: object) -> TuningResult:
    history = (Epoch(epoch=0, validation_accuracy=0.8, train_accuracy=0.7), Epoch(epoch=1, validation_accuracy=0.9))
    trials = (
        Trial(name="trial-1", status="failed", hyperparameters={"optimizer": "sgd"}, failure_reason="out of memory"),
        Trial(
            name="trial-2",
            status="completed",
            hyperparameters={"eps": 1e-8},
            objective=0.9,
            best_epoch=1,
            history=history,
        ),
        Trial(name="trial-3", status="early_stopped", hyperparameters={"eps": 1e-3}, objective=0.9, best_epoch=0),
    )
    values: dict[str, Any] = {
        "engine": "local",
        "status": "completed",
        "stop_reason": "all 3 trials are done",
        "trials": trials,
    }
    values |= {"search": make_search().to_dict(), "started_at": 1.0, "seconds": 2.0}
    return TuningResult(**{**values, **changes})


def test_the_best_trial_is_the_first_of_equals() -> None:
    best = make_result().best_trial
    assert best is not None
    assert best.name == "trial-2"


@pytest.mark.parametrize(
    ("losses", "best"), [((0.2, 0.1), "b"), ((0.1, 0.2), "a"), ((0.1, 0.1), "a"), ((None, 0.3), "b")]
)
def test_of_equal_accuracies_the_lower_validation_loss_wins(losses: tuple[float | None, ...], best: str) -> None:
    trials = tuple(
        Trial(
            name=name,
            status="completed",
            hyperparameters={},
            objective=0.9,
            best_epoch=0,
            history=(Epoch(epoch=0, validation_accuracy=0.9, validation_loss=loss),),
        )
        for name, loss in zip("ab", losses, strict=True)
    )
    chosen = make_result(trials=trials).best_trial
    assert chosen is not None
    assert chosen.name == best


def test_file_round_trip_is_exact_and_follows_the_schema(tmp_path: Path) -> None:
    result = make_result()
    result.save(tmp_path / "result.json")
    document = json.loads((tmp_path / "result.json").read_text())
    jsonschema.validate(document, SCHEMA)
    assert document["best_hyperparameters"] == {"eps": 1e-8}
    assert TuningResult.load(tmp_path / "result.json") == result


def test_a_search_without_any_model_is_a_document_too() -> None:
    jsonschema.validate(json.loads(json.dumps(make_result(trials=(), status="failed").to_dict())), SCHEMA)


BROKEN = [
    ("missing", None, "there is no such file"),
    ("no JSON", "{", "cannot be read as JSON"),
    ("a list", "[]", "an object is needed"),
    ("later version", json.dumps({"schema_version": 2}), "schema_version is 2, this release reads 1"),
    ("incomplete", json.dumps({"schema_version": 1, "engine": "local"}), "incomplete"),
]


@pytest.mark.parametrize(("name", "text", "message"), BROKEN, ids=[case[0] for case in BROKEN])
def test_what_is_no_result_is_refused_clearly(name: str, text: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DocumentError, match=message):
        TuningResult.load(path)


def test_a_failing_write_leaves_the_old_document(tmp_path: Path) -> None:
    make_result().save(tmp_path / "result.json")
    before = (tmp_path / "result.json").read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        make_result(seconds=float("nan")).save(tmp_path / "result.json")
    assert (tmp_path / "result.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]
