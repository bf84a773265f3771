"""A real network on real digits, from files to evaluation.json."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from kfp_image_tuning.core.errors import DatasetError, DocumentError
from kfp_image_tuning.dataset.image_codec import decode_image
from kfp_image_tuning.dataset.recordio import ImageRecord, RecordReader
from kfp_image_tuning.evaluation.evaluation import (
    Evaluation,
    evaluate_model,
    pack_answers,
    unpack_answers,
)
from kfp_image_tuning.evaluation.gate import judge
from kfp_image_tuning.model.model_files import load_model
from tests.evaluation.conftest import Trained
from tests.evaluation.digits import CLASSES, train_on, write_digits
from tests.report.documents import make_result, make_trials

SCHEMA = json.loads(
    (Path(__file__).parents[2] / "src/kfp_image_tuning/evaluation/evaluation.schema.json").read_text(encoding="utf-8")
)


def test_accuracy_is_what_the_model_says_of_the_stored_images(trained: Trained, evaluation: Evaluation) -> None:
    model = load_model(trained.model)
    records = [
        ImageRecord.unpack(payload)
        for path in trained.dataset.split("test").record_paths
        for payload in RecordReader(path)
    ]
    images = np.stack([decode_image(record.image, channels=1) for record in records])
    right = model.predict(images).argmax(axis=1) == np.array([record.labels[0] for record in records])
    assert evaluation.images == evaluation.images_in_split == 300
    assert evaluation.accuracy == right.mean()
    assert evaluation.accuracy > 0.8
    assert evaluation.answers[:, 0].tolist() == right.tolist()
    assert evaluation.coverage == 1.0
    assert evaluation.throughput.images_per_second > 0


def test_document_keeps_to_its_schema_and_round_trips(evaluation: Evaluation, tmp_path: Path) -> None:
    judged = replace(evaluation, verdict=judge(evaluation, min_accuracy=0.5, baseline=evaluation))
    for one in (evaluation, judged):
        one.save(tmp_path / "evaluation.json")
        document = json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))
        Draft202012Validator(SCHEMA).validate(document)
        assert document["accuracy"] == one.accuracy
        assert Evaluation.load(tmp_path / "evaluation.json") == one
        assert Evaluation.from_dict(one.to_dict()) == one
    assert (tmp_path / "evaluation.json").stat().st_size < 100_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, "schema_version is 2, this release reads 1"),
        ({"schema_version": None}, "schema_version is None"),
        ({"accuracy": 97.0}, "accuracy must be at most 1, got 97.0"),
        ({"surprise": 1}, "surprise is unknown"),
        ({"right_answers": "AAAA"}, "right_answers holds 3 bytes"),
        ({"right_answers": "not base64!"}, "right_answers is not base64"),
    ],
)
def test_document_of_another_form_is_refused(evaluation: Evaluation, change: dict[str, object], message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        _ = Evaluation.from_dict({**evaluation.to_dict(), **change}).answers


def test_mistakes_lead_back_to_their_images(trained: Trained, evaluation: Evaluation) -> None:
    mistakes = evaluation.mistakes
    assert len(mistakes) == min(24, int((~evaluation.answers).sum()))
    assert [mistake.confidence for mistake in mistakes] == sorted((m.confidence for m in mistakes), reverse=True)
    for mistake in mistakes:
        with RecordReader(trained.dataset.directory / mistake.record) as reader:
            record = ImageRecord.unpack(reader.read_at(mistake.offset))
        assert record.identifier == mistake.identifier
        assert mistake.true == (CLASSES[int(record.labels[0])],)
        assert mistake.predicted != mistake.true
        assert mistake.path == f"{mistake.true[0]}/{mistake.identifier}.png"
        assert mistake.thumbnail.startswith("data:image/png;base64,")
        assert mistake.true_probability is not None
        assert mistake.true_probability < mistake.confidence


def test_same_classes_in_another_order_are_mapped(trained: Trained, evaluation: Evaluation, tmp_path: Path) -> None:
    shutil.copytree(trained.model, tmp_path / "model")
    document = json.loads((tmp_path / "model/model.json").read_text())
    swapped = ["digit 1", "digit 0", *document["classes"][2:]]
    (tmp_path / "model/model.json").write_text(json.dumps({**document, "classes": swapped}))
    other = evaluate_model(tmp_path / "model", trained.dataset.directory)
    # The network is the same, so what it called digit 0 is now digit 1.
    recall = {entry.name: entry.recall for entry in evaluation.scores.per_class}
    mapped = {entry.name: entry.recall for entry in other.scores.per_class}
    assert recall["digit 0"] > 0.5
    assert mapped["digit 0"] < 0.2
    assert mapped["digit 5"] == recall["digit 5"]


def test_model_of_other_classes_is_refused(trained: Trained, tmp_path: Path) -> None:
    other = write_digits(tmp_path / "other", classes=(*CLASSES[:9], "owl"), counts=(20, 10, 10))
    with pytest.raises(DatasetError, match=r"the data set has 'owl', which the other has not.*model has 'digit 9'"):
        evaluate_model(trained.model, other.directory)


def test_evaluating_twice_gives_the_same_scores(trained: Trained, evaluation: Evaluation) -> None:
    again = evaluate_model(trained.model, trained.dataset.directory, batch_size=64)
    assert again.scores == evaluation.scores
    assert again.right_answers == evaluation.right_answers
    assert again.mistakes == evaluation.mistakes


def test_progress_and_other_splits(trained: Trained) -> None:
    seen: list[tuple[int, int]] = []
    validation = evaluate_model(
        trained.model,
        trained.dataset.directory,
        split="validation",
        batch_size=100,
        progress=lambda done, whole: seen.append((done, whole)),
    )
    assert seen == [(100, 150), (150, 150)]
    # The same images and the same pixels as in training: the same accuracy as the trainer found.
    assert validation.accuracy == pytest.approx(validation.model.validation_accuracy, abs=0.01)
    with pytest.raises(DatasetError, match="no split 'holdout'"):
        evaluate_model(trained.model, trained.dataset.directory, split="holdout")


def test_gap_to_the_objective_of_the_search_is_told(trained: Trained, evaluation: Evaluation) -> None:
    result = make_result(make_trials(3))
    compared = evaluate_model(trained.model, trained.dataset.directory, result=result)
    assert evaluation.selection is None
    assert compared.selection is not None
    assert compared.selection.trial == result.to_dict()["best_trial"]
    assert compared.selection.difference == pytest.approx(compared.selection.objective - compared.accuracy)


def test_damaged_images_are_skipped_and_counted(trained: Trained, evaluation: Evaluation, tmp_path: Path) -> None:
    dataset = write_digits(tmp_path / "dataset", damaged=3)
    damaged = evaluate_model(trained.model, dataset.directory)
    assert (damaged.images, damaged.images_in_split) == (297, 300)
    assert damaged.coverage == 0.99
    assert [item.record for item in damaged.skipped] == ["test/test-00000.rec"] * 3
    assert "is not a JPEG" in damaged.skipped[0].reason
    assert damaged.answers[:, 0].tolist() == evaluation.answers[3:, 0].tolist()


def test_several_labels(tmp_path: Path) -> None:
    dataset = write_digits(tmp_path / "dataset", multi_label=True, counts=(300, 60, 120))
    evaluation = evaluate_model(train_on(dataset, tmp_path / "model", epochs=1), dataset.directory)
    assert evaluation.multi_label
    assert evaluation.answers.shape == (120, 11)
    assert evaluation.accuracy == pytest.approx(evaluation.answers.mean())
    assert evaluation.scores.exact_match <= evaluation.accuracy
    assert all(set(mistake.true) != set(mistake.predicted) for mistake in evaluation.mistakes)
    document = json.loads(json.dumps(evaluation.to_dict()))
    Draft202012Validator(SCHEMA).validate(document)
    assert Evaluation.from_dict(document) == evaluation


def test_answers_are_packed_one_bit_each() -> None:
    random = np.random.default_rng(0)
    for images, width in ((1, 1), (8, 1), (13, 3), (1000, 1)):
        answers = random.random((images, width)) < 0.7
        text = pack_answers(answers)
        assert len(text) <= 4 * (images * width // 24 + 1)
        assert (unpack_answers(text, images, width) == answers).all()
