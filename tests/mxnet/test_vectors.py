"""The committed vectors are still what MXNet computes."""

import gzip
import json
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from kfp_image_tuning.dataset.recordio import ImageRecord, RecordReader

ROOT = Path(__file__).parents[2]
VECTORS = ROOT / "tests" / "data" / "mxnet"
NAMES = sorted(path.name for path in VECTORS.iterdir())


@pytest.fixture(scope="module")
def regenerated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vectors")
    command: list[str | Path] = [os.environ["MXNET_PYTHON"], "-m", "tests.mxnet.make_vectors", folder]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 0, ended.stderr[-4000:]
    return folder


def test_every_vector_is_made_by_the_script(regenerated: Path) -> None:
    assert sorted(path.name for path in regenerated.iterdir()) == NAMES


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(".npz")])
def test_arrays_are_what_mxnet_computes_here(regenerated: Path, name: str) -> None:
    with np.load(VECTORS / name) as committed, np.load(regenerated / name) as found:
        assert sorted(committed) == sorted(found)
        for key in committed:
            np.testing.assert_allclose(found[key], committed[key], rtol=1e-4, atol=1e-5, err_msg=key)


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith((".json", ".json.gz"))])
def test_documents_are_what_mxnet_computes_here(regenerated: Path, name: str) -> None:
    committed, found = (flat(read_json(folder / name)) for folder in (VECTORS, regenerated))
    assert found.keys() == committed.keys()
    for place, value in committed.items():
        # Losses and probes of a few training steps, and what random numbers did: the rest is exact.
        expected = pytest.approx(value, rel=1e-3, abs=1e-3) if isinstance(value, float) else value
        assert found[place] == expected, place


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(".rec")])
def test_records_are_what_mxnet_writes_here(regenerated: Path, name: str) -> None:
    with RecordReader(VECTORS / name) as committed, RecordReader(regenerated / name) as found:
        pairs = zip(committed, found, strict=True)
        records = [(ImageRecord.unpack(one), ImageRecord.unpack(other)) for one, other in pairs]
    for one, other in records:
        assert (one.identifier, one.labels, content(one)) == (other.identifier, other.labels, content(other))


@pytest.mark.parametrize("name", ["arrays.params", "im2rec.lst"])
def test_files_are_what_mxnet_writes_here(regenerated: Path, name: str) -> None:
    assert (regenerated / name).read_bytes() == (VECTORS / name).read_bytes()


def read_json(path: Path) -> Any:
    content = path.read_bytes()
    return json.loads(gzip.decompress(content) if path.suffix == ".gz" else content)


def flat(document: Any, place: str = "") -> dict[str, Any]:
    """Every leaf by its place."""
    children: Iterable[tuple[object, Any]]
    if isinstance(document, dict):
        children = document.items()
    elif isinstance(document, list):
        children = enumerate(document)
    else:
        return {place: document}
    return {key: leaf for name, child in children for key, leaf in flat(child, f"{place}/{name}").items()}


def content(record: ImageRecord) -> Any:
    """The pixels of a picture, which another release of OpenCV may compress differently; the bytes of all else."""
    if record.image.startswith(b"\x89PNG"):
        pixels = cv2.imdecode(np.frombuffer(record.image, np.uint8), cv2.IMREAD_COLOR)
        assert pixels is not None
        return pixels.tolist()
    return record.image
