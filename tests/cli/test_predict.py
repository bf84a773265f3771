"""``predict``: the model's answers for images of a user, in forms that programs read."""

import csv
import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import boto3
import numpy as np
import pytest
from moto.server import ThreadedMotoServer
from PIL import Image

from kfp_image_tuning.cli.command_line import main
from kfp_image_tuning.dataset.document import Dataset
from kfp_image_tuning.evaluation.prediction import predict_split, split_records
from kfp_image_tuning.model.model_files import load_model
from kfp_image_tuning.steps.prediction import predict
from tests.model.random_model import write_random_model

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, prepared_digits: Path) -> Path:
    return write_random_model(tmp_path_factory.mktemp("model"), Dataset.load(prepared_digits))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images, one of them below, one file that is cut off, and one that is not an image."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "more").mkdir()
    random = np.random.default_rng(0)
    for name in ("a.png", "b, c.jpg", "more/d.PNG"):
        Image.fromarray(random.integers(0, 255, (40, 30, 3), dtype=np.uint8)).save(folder / name)
    (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:200])
    (folder / "notes.txt").write_text("no image")
    return folder


def test_answers_are_the_evaluations_to_the_bit(model: Path, prepared_digits: Path, tmp_path: Path) -> None:
    dataset = Dataset.load(prepared_digits)
    split = dataset.split("test")
    expected = predict_split(load_model(model), dataset, split, batch_size=7)
    for number, (_, record) in enumerate(split_records(split)):
        (tmp_path / f"{number:04}.png").write_bytes(record.image)
    found = list(predict(model, [str(tmp_path)], top=len(dataset.classes), batch_size=7))
    assert len(found) == split.images
    for prediction, row in zip(found, expected.probabilities, strict=True):
        assert dict(prediction.classes) == {name: float(row[number]) for number, name in enumerate(dataset.classes)}
        assert [p for _, p in prediction.classes] == sorted(row.tolist(), reverse=True)


def test_what_cannot_be_read_is_told_and_the_others_are_classified(
    model: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", "--model", str(model), "--format", "jsonl", "--top", "2", str(photos)]) == 1
    rows = {row["image"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert sorted(rows) == [str(photos / name) for name in ("a.png", "b, c.jpg", "cut.png", "more/d.PNG")]
    assert "cut off" in rows[str(photos / "cut.png")]["error"]
    answers = rows[str(photos / "b, c.jpg")]["predictions"]
    assert len(answers) == 2
    assert answers[0]["probability"] >= answers[1]["probability"] > 0


def test_a_table_and_csv_say_the_same(model: Path, photos: Path, tmp_path: Path) -> None:
    images = [str(photos / "b, c.jpg"), str(photos / "a.png")]
    for form in ("csv", "table", "jsonl"):
        typed = ["predict", "--model", str(model), "--format", form, "--top", "3", "--output", str(tmp_path / form)]
        assert main([*typed, *images]) == 0
    rows = list(csv.DictReader(io.StringIO((tmp_path / "csv").read_text())))
    assert [row["image"] for row in rows] == images
    documents = [json.loads(line) for line in (tmp_path / "jsonl").read_text().splitlines()]
    for row, document, line in zip(rows, documents, (tmp_path / "table").read_text().splitlines(), strict=True):
        best = document["predictions"]
        assert (row["class"], float(row["probability"])) == (best[0]["class"], best[0]["probability"])
        assert (row["class_3"], row["error"]) == (best[2]["class"], "")
        assert line == f"{row['image']}: " + ", ".join(f"{p['class']} {p['probability']:.1%}" for p in best)


def test_an_image_comes_in_by_a_pipe_and_the_model_in_an_archive(model: Path, photos: Path, tmp_path: Path) -> None:
    archive = tmp_path / "model.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(model, ".")
    command = [sys.executable, "-m", "kfp_image_tuning", "predict", "--model", str(archive), "--format", "jsonl", "-"]
    found = subprocess.run(command, input=(photos / "a.png").read_bytes(), capture_output=True, check=True)
    (expected,) = predict(model, [str(photos / "a.png")])
    row = json.loads(found.stdout)
    assert (row["image"], row["predictions"][0]["class"]) == ("-", expected.classes[0][0])
    assert row["predictions"][0]["probability"] == pytest.approx(expected.classes[0][1], abs=1e-5)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of S3, with its keys in the environment."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    yield f"http://{host}:{port}"
    server.stop()


def test_images_in_a_bucket_are_named_by_their_addresses(model: Path, photos: Path, store: str) -> None:
    client = boto3.client("s3", endpoint_url=store, region_name="us-east-1")
    client.create_bucket(Bucket="predict")
    for name in ("a.png", "more/d.PNG"):
        client.upload_file(str(photos / name), "predict", f"new/{name}")
    local = [*predict(model, [str(photos / "a.png"), str(photos / "more")])]
    folder = [*predict(model, ["s3://predict/new"])]
    assert [found.image for found in folder] == ["s3://predict/new/a.png", "s3://predict/new/more/d.PNG"]
    assert [found.classes for found in folder] == [found.classes for found in local]
    (alone,) = predict(model, ["s3://predict/new/more/d.PNG"])
    assert alone == folder[1]


@pytest.mark.parametrize(
    ("images", "exit_code", "said"),
    [
        (["nowhere.jpg", "neither/"], 2, ["nowhere.jpg: is not there", "neither/: is not there"]),
        (["EMPTY"], 2, ["holds no images"]),
        (["-", "-"], 2, ["more than once"]),
    ],
)
def test_a_place_without_images_is_told_before_the_model_is_read(
    images: list[str], exit_code: int, said: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "EMPTY").mkdir()
    places = [str(tmp_path / place) if place == "EMPTY" else place for place in images]
    assert main(["predict", "--model", "no/such/model", *places]) == exit_code
    error = capsys.readouterr().err
    assert error.startswith("Error [parameters]: ")
    assert all(sentence in error for sentence in said)


def test_a_model_that_is_not_there_is_told(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "--model", "no/such/model", str(photos)]) == 1
    assert capsys.readouterr().err.startswith("Error [training]: no/such/model")


def test_earlier_predictions_stay_when_a_command_fails(photos: Path, tmp_path: Path) -> None:
    earlier = tmp_path / "predictions.csv"
    earlier.write_text("earlier")
    typed = ["predict", "--format", "csv", "--output", str(earlier), "--model"]
    assert main([*typed, "no/such/model", str(photos)]) == 1
    assert main([*typed, "no/such/model", "nowhere.jpg"]) == 2
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("predictions.csv", "earlier")]
