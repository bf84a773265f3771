"""Object stores and web servers, by real requests to servers on this machine."""

import contextlib
import http.server
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import boto3
import pytest
from moto.server import ThreadedMotoServer

from kfp_image_tuning.core import remote_source as remote
from kfp_image_tuning.core.errors import DatasetError, ImageTuningError, StoreError
from kfp_image_tuning.core.object_store import without_credentials
from kfp_image_tuning.core.remote_source import RemoteSource
from kfp_image_tuning.preparation.preparation import prepare_dataset
from tests.preparation.corpus import make_folder, silent, snapshot


@pytest.fixture(scope="module")
def s3_address() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_address: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "very-secret",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": s3_address,
    }.items():
        monkeypatch.setenv(name, value)
    bucket = boto3.resource("s3", endpoint_url=s3_address, region_name="us-east-1").Bucket("photos")
    bucket.create()
    yield bucket
    bucket.objects.all().delete()
    bucket.delete()


def upload(bucket: Any, folder: Path, prefix: str) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            bucket.upload_file(str(path), f"{prefix}{path.relative_to(folder)}")


def start_of(headers: dict[str, str]) -> int:
    """Where the range that a request asks for begins."""
    asked = {name.lower(): value for name, value in headers.items()}.get("range", "bytes=0-")
    return int(asked.removeprefix("bytes=").split("-")[0])


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files with ETags and ranges; what the test wants to go wrong goes wrong."""

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        server: Any = self.server
        server.requests.append((self.path, dict(self.headers)))
        path = Path(server.root) / unquote(self.path.split("?")[0]).lstrip("/")
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        start = start_of(dict(self.headers))
        end = start + server.cut_after if server.cuts > 0 else len(data)
        server.cuts -= 1
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.send_header("ETag", '"one"')
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(data[start:end])


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Any]:
    server: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.root, server.requests, server.cuts, server.cut_after = tmp_path / "www", [], 0, 0
    server.root.mkdir()
    server.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def pack(folder: Path, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for image in sorted(folder.rglob("*.jpg")):
            archive.write(image, image.relative_to(folder))


def test_lists_and_manifests_in_a_bucket(tmp_path: Path, bucket: Any) -> None:
    folder = make_folder(tmp_path / "data", classes=("cat", "dog"))
    names = [f"{cls}/{number:03d}.jpg" for number in range(10) for cls in ("cat", "dog")]
    rows = [f"{number}\t{number % 2}.000000\t{name}\n" for number, name in enumerate(names)]
    (folder / "set_train.lst").write_text("".join(rows[:14]))
    (folder / "set_val.lst").write_text("".join(rows[14:]))
    upload(bucket, folder, "set/")
    options: dict[str, Any] = {"workers": 1, "progress": silent}
    pair = prepare_dataset("s3://photos/set", tmp_path / "pair", **options)
    assert (pair.classes, pair.split("validation").images) == (("cat", "dog"), 6)
    alone = prepare_dataset("s3://photos/set/set_train.lst", tmp_path / "alone", **options)
    assert sum(split.images for split in alone.splits.values()) == 14
    lines = [
        json.dumps({"source-ref": f"s3://photos/set/{name}", "kind": int(name[0] == "d"), "kind-metadata": {}})
        for name in [*names, "cat/gone.jpg"]
    ]
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/out.manifest").write_text("\n".join(lines))
    dataset = prepare_dataset(
        str(tmp_path / "labels/out.manifest"), tmp_path / "manifest", max_invalid_images=1, **options
    )
    assert dataset.classes == ("0", "1")
    assert sum(split.images for split in dataset.splits.values()) == 20
    assert [item.reason for item in dataset.skipped] == ["is not in the store"]


def comparable(output: Path) -> dict[str, str]:
    """A data set's files without those that name the source."""
    files = snapshot(output)
    return {name: files[name] for name in files if not name.startswith((".preparation", "dataset.json"))}


@pytest.mark.parametrize("scheme", ["s3", "minio"])
def test_folder_in_a_bucket_gives_the_same_as_on_disk(tmp_path: Path, bucket: Any, scheme: str) -> None:
    folder = make_folder(tmp_path / "data")
    (folder / "cat/000.jpg").rename(folder / "cat/günther & 100%25 #1.jpg")
    upload(bucket, folder, "a set/")
    bucket.put_object(Key="a set/notes.txt", Body=b"x")
    dataset = prepare_dataset(f"{scheme}://photos/a set", tmp_path / "out", workers=1, progress=silent)
    local = prepare_dataset(str(folder), tmp_path / "local", workers=1, progress=silent)
    assert comparable(tmp_path / "out") == comparable(tmp_path / "local")
    assert dataset.source.fingerprint == local.source.fingerprint
    assert dataset.source.uri == f"{scheme}://photos/a set"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "local", "out"]


def test_prepared_bucket_is_recognised_by_its_etags(tmp_path: Path, bucket: Any) -> None:
    upload(bucket, make_folder(tmp_path / "data"), "")
    prepare_dataset("s3://photos", tmp_path / "out", workers=1, progress=silent)
    lines: list[str] = []
    prepare_dataset("s3://photos", tmp_path / "out", workers=1, progress=lines.append)
    assert len(lines) == 1
    assert "is prepared already" in lines[0]
    bucket.put_object(Key="cat/new.jpg", Body=b"bad")
    dataset = prepare_dataset("s3://photos", tmp_path / "out", workers=1, progress=silent)
    assert [item.image for item in dataset.skipped] == ["cat/new.jpg"]


def test_csv_in_a_bucket(tmp_path: Path, bucket: Any) -> None:
    folder = make_folder(tmp_path / "data")
    upload(bucket, folder, "deep/images/")
    rows = [f"images/{path.relative_to(folder)},{path.parent.name}" for path in sorted(folder.rglob("*.jpg"))]
    bucket.put_object(Key="deep/labels.csv", Body="\n".join([*rows, "images/cat/missing.jpg,cat"]).encode())
    dataset = prepare_dataset("s3://photos/deep/labels.csv", tmp_path / "out", workers=1, progress=silent)
    assert sum(split.images for split in dataset.splits.values()) == 30
    assert [(item.image, item.reason) for item in dataset.skipped] == [
        ("images/cat/missing.jpg", "is not in the store")
    ]
    bucket.put_object(Key="deep/labels.csv", Body=b"../../other/secret.jpg,cat\n")
    with pytest.raises(DatasetError, match="leads out of the CSV's folder"):
        prepare_dataset("s3://photos/deep/labels.csv", tmp_path / "out", workers=1, progress=silent)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("s3://photos/nothing-here", "nothing is there"),
        ("s3://no-such-bucket/x", "the bucket 'no-such-bucket' does not exist at http"),
        ("s3://photos/missing.zip", r"s3://photos/missing.zip: is not there \(404 Not Found\)"),
        ("ftp://host/x.zip", "is neither a path nor one of s3://"),
        ("https:///x.zip", "is neither a path nor one of"),
    ],
)
def test_unreachable_sources(tmp_path: Path, bucket: Any, uri: str, message: str) -> None:
    with pytest.raises(ImageTuningError, match=message):
        prepare_dataset(uri, tmp_path / "out", workers=1, progress=silent)
    assert list(tmp_path.iterdir()) == []


def test_minio_needs_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(StoreError, match="set AWS_ENDPOINT_URL to its address"):
        prepare_dataset("minio://photos/x", tmp_path / "out", progress=silent)


def test_archive_from_the_web_without_a_trace_of_the_credentials(tmp_path: Path, web: Any) -> None:
    folder = make_folder(tmp_path / "data")
    (web.root / "sets").mkdir()
    pack(folder, web.root / "sets/my photos.zip")
    uri = web.address.replace("://", "://user:s3cret@") + "/sets/my%20photos.zip?X-Signature=s3cret%2Fabc"
    lines: list[str] = []
    dataset = prepare_dataset(uri, tmp_path / "out", workers=1, progress=lines.append)
    assert dataset.source.uri == f"{web.address}/sets/my%20photos.zip"
    path, headers = web.requests[-1]
    assert path == "/sets/my%20photos.zip?X-Signature=s3cret%2Fabc"
    assert {name.lower(): value for name, value in headers.items()}["authorization"] == "Basic dXNlcjpzM2NyZXQ="
    for text in (*lines, (tmp_path / "out/dataset.json").read_text(), json.dumps(snapshot(tmp_path / "out"))):
        assert "s3cret" not in text
    prepare_dataset(str(folder), tmp_path / "local", workers=1, progress=silent)
    assert comparable(tmp_path / "out") == comparable(tmp_path / "local")
    with pytest.raises(StoreError) as caught:
        prepare_dataset(uri.replace("photos", "phones"), tmp_path / "other", progress=silent)
    assert "404 Not Found" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_broken_download_goes_on_where_it_was(tmp_path: Path, web: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(remote, "CHUNK_BYTES", 1000)
    pack(make_folder(tmp_path / "data"), web.root / "photos.zip")
    size = (web.root / "photos.zip").stat().st_size
    source = RemoteSource(f"{web.address}/photos.zip")
    item = source.look_up()
    web.requests.clear()
    web.cuts, web.cut_after = 2, size // 3
    files = source.download([item], tmp_path / "downloads", silent)
    assert files["photos.zip"].read_bytes() == (web.root / "photos.zip").read_bytes()
    starts = [start_of(headers) for _, headers in web.requests]
    assert starts[0] == 0 < starts[1] < starts[2]

    # The next run finds it, and asks for nothing.
    web.requests.clear()
    source.download([item], tmp_path / "downloads", silent)
    assert web.requests == []


def test_store_that_never_delivers_is_an_error_and_the_part_is_kept(
    tmp_path: Path, web: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(remote, "CHUNK_BYTES", 100)
    pack(make_folder(tmp_path / "data"), web.root / "photos.zip")
    web.cuts, web.cut_after = 100, 500
    with pytest.raises(DatasetError, match="could not be downloaded in 5 attempts"):
        prepare_dataset(f"{web.address}/photos.zip", tmp_path / "out", workers=1, progress=silent)
    [part] = (tmp_path / ".out.partial/downloads").iterdir()
    assert part.stat().st_size > 500
    web.cuts = 0
    web.requests.clear()
    prepare_dataset(f"{web.address}/photos.zip", tmp_path / "out", workers=1, progress=silent)
    assert any(start_of(headers) > 0 for _, headers in web.requests)
    assert not (tmp_path / ".out.partial").exists()


@pytest.mark.parametrize(
    ("uri", "stripped"),
    [
        ("https://user:pass@host:8443/a/b.zip?sig=x#frag", "https://host:8443/a/b.zip"),
        ("s3://bucket/a?b", "s3://bucket/a"),
        ("http://host/a", "http://host/a"),
    ],
)
def test_credentials_are_stripped(uri: str, stripped: str) -> None:
    assert without_credentials(uri) == stripped


def test_web_folder_cannot_be_listed(tmp_path: Path, web: Any, bucket: Callable[[], None]) -> None:
    with pytest.raises(DatasetError, match="a web folder cannot be listed; give an archive"):
        prepare_dataset(f"{web.address}/photos/", tmp_path / "out", progress=silent)


def test_prepared_data_set_in_a_bucket_is_taken_over(bucket: Any, tmp_path: Path) -> None:
    make_folder(tmp_path / "folder")
    here = prepare_dataset(str(tmp_path / "folder"), tmp_path / "here", progress=silent)
    upload(bucket, tmp_path / "here", "data/")
    there = prepare_dataset("s3://photos/data", tmp_path / "there", progress=silent)
    assert there.fingerprint == here.fingerprint
    assert there.source == here.source
