"""Models where trials left them, as the launcher sees them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kfp_image_tuning.core.errors import ImageTuningError
from kfp_image_tuning.core.object_store import open_place
from kfp_image_tuning.engines.katib.request.locations import Location
from kfp_image_tuning.engines.katib.request.options import KatibOptions
from kfp_image_tuning.engines.katib.session.model_store import MODEL_FILES, ModelStore
from tests.emulators.object_store import object_store

Leave = Callable[[str, tuple[str, ...]], str]


@pytest.fixture(params=["volume", "store"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[ModelStore, Leave]]:
    """The store, and what leaves some files of a trial's model there and returns its address."""
    if request.param == "volume":
        models = Location.parse("models", "pvc://claim/models")

        def leave(trial: str, names: tuple[str, ...]) -> str:
            write_files(tmp_path / "mount" / "ic-1" / trial, names)
            return models.below("ic-1", trial).uri

        yield ModelStore(options_for(models), tmp_path / "mount"), leave
        return
    with object_store("bucket") as access:
        for name, value in access.items():
            monkeypatch.setenv(name, value)
        models = Location.parse("models", "s3://bucket/models")

        def upload(trial: str, names: tuple[str, ...]) -> str:
            open_place(models.below("ic-1", trial).uri).upload(write_files(tmp_path / trial, names), names)
            return models.below("ic-1", trial).uri

        yield ModelStore(options_for(models), None), upload


def options_for(models: Location) -> KatibOptions:
    return KatibOptions(data="pvc://claim/data", output_uri=models.uri)


def write_files(folder: Path, names: tuple[str, ...]) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_text(f"content of {name}")
    return folder


def test_a_whole_model_is_there_and_comes_as_it_is(place: tuple[ModelStore, Leave], tmp_path: Path) -> None:
    store, leave = place
    uri = leave("whole", MODEL_FILES)
    assert store.is_seen
    assert store.holds(uri)
    store.fetch(uri, tmp_path / "model")
    assert {path.name: path.read_text() for path in (tmp_path / "model").iterdir()} == {
        name: f"content of {name}" for name in MODEL_FILES
    }


def test_half_a_model_is_none(place: tuple[ModelStore, Leave], tmp_path: Path) -> None:
    store, leave = place
    uri = leave("half", ("model.json",))
    assert not store.holds(uri)
    with pytest.raises(ImageTuningError, match=r"model\.safetensors|is not there"):
        store.fetch(uri, tmp_path / "model")


def test_what_cannot_be_seen_is_believed(tmp_path: Path) -> None:
    store = ModelStore(options_for(Location.parse("models", "pvc://claim/models")), None)
    assert not store.is_seen
    assert store.holds("pvc://claim/models/ic-1/trial")
    store.fetch("pvc://claim/models/ic-1/trial", tmp_path / "model")
    assert not (tmp_path / "model").exists()
