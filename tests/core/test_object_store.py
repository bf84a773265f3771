"""Object stores: servers that check keys, closed ports, names that do not exist, TLS where none is expected."""

import http.server
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kfp_image_tuning.core.errors import StoreError
from kfp_image_tuning.core.object_store import open_place
from kfp_image_tuning.core.store_address import StoreAddress
from tests.emulators.object_store import GuardedStore, guarded_object_store, object_store

SECRET = "v3ry/secret+key"
ACCESS = "AKACCESSKEY"


@pytest.fixture
def guarded() -> Iterator[GuardedStore]:
    with guarded_object_store("photos", "open", "closed") as store:
        yield store


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT", "AWS_REGION", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    use_keys(monkeypatch, ACCESS, SECRET)


def use_keys(monkeypatch: pytest.MonkeyPatch, access: str, secret: str) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", access)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)


def failure_of(uri: str, endpoint: str) -> str:
    """What a user reads when a file is read, after it was seen to hold no secret."""
    with pytest.raises(StoreError) as raised:
        open_place(uri, address=StoreAddress(endpoint=endpoint, region="us-east-1", source="endpoint_url")).read("a")
    message = str(raised.value)
    assert message.startswith(f"{uri}: ")
    assert "\n" not in message
    assert SECRET not in message
    assert ACCESS not in message
    return message


@pytest.fixture(scope="module")
def tls_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a server that speaks TLS, with a certificate that nobody trusts."""
    folder = tmp_path_factory.mktemp("tls")
    names = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem"), "-subj", "/CN=localhost"]
    making = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names]
    subprocess.run(making, check=True, capture_output=True)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_a_name_that_does_not_resolve() -> None:
    message = failure_of("minio://photos/open", "http://seaweedfs.kubeflow.invalid:9000")
    assert "the name seaweedfs.kubeflow.invalid does not resolve" in message
    assert "(http://seaweedfs.kubeflow.invalid:9000 (from endpoint_url))" in message
    assert "set endpoint_url or AWS_ENDPOINT_URL to one that does" in message


def test_a_refused_connection() -> None:
    with socket.socket() as taken:
        # Bound, but not listening: nobody else gets the port, and nobody answers.
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        message = failure_of("s3://photos/open", f"http://127.0.0.1:{port}")
    assert f"127.0.0.1:{port} refuses the connection" in message
    assert "check the port and that the store runs there" in message


def test_tls_where_none_is_spoken(guarded: GuardedStore) -> None:
    message = failure_of("s3://photos/open", guarded.endpoint.replace("http://", "https://"))
    assert "does not speak TLS; use http:// in its address" in message


def test_no_tls_where_it_is_spoken(tls_server: int) -> None:
    message = failure_of("minio://photos/open", f"http://127.0.0.1:{tls_server}")
    assert "speaks TLS only; use https:// in its address" in message


def test_a_certificate_that_is_not_trusted(tls_server: int) -> None:
    message = failure_of("s3://photos/open", f"https://localhost:{tls_server}")
    assert "the certificate of https://localhost" in message
    assert "SSL_CERT_FILE" in message


def test_an_access_key_that_the_store_does_not_know(guarded: GuardedStore) -> None:
    message = failure_of("s3://photos/open", guarded.endpoint)
    assert "does not know the access key, or the secret key is wrong" in message
    assert "AWS_ACCESS_KEY_ID" in message


def test_a_secret_key_that_is_wrong(guarded: GuardedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    use_keys(monkeypatch, guarded.access_key, SECRET)
    message = failure_of("minio://photos/open", guarded.endpoint)
    assert "does not know the access key, or the secret key is wrong" in message
    assert "accesskey and secretkey" in message
    assert guarded.access_key not in message


def test_a_folder_that_is_closed_to_the_user(guarded: GuardedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    use_keys(monkeypatch, guarded.access_key, guarded.secret_key)
    address = StoreAddress(endpoint=guarded.endpoint, region="us-east-1")
    assert open_place("s3://photos/open", address=address).read("a") == b"1"
    message = failure_of("s3://photos/closed", guarded.endpoint)
    assert "no permission in the bucket 'photos'; allow these credentials" in message


@pytest.mark.parametrize("scheme", ["s3", "minio"])
def test_what_is_missing_in_a_store(plain_store: str, tmp_path: Path, scheme: str) -> None:
    address = StoreAddress(endpoint=plain_store, region="us-east-1")
    place = open_place(f"{scheme}://photos/folder", address=address)
    assert place.read("nothing") is None
    assert not place.holds(["nothing"])
    with pytest.raises(StoreError, match=r"://photos/folder/nothing: is not there .*check the bucket and the path"):
        place.download(["nothing"], tmp_path)
    nowhere = open_place(f"{scheme}://no-such-bucket/folder", address=address)
    (tmp_path / "a").write_bytes(b"1")
    for attempt in (
        lambda: nowhere.read("a"),
        lambda: nowhere.holds(["a"]),
        lambda: nowhere.write("a", b"1"),
        lambda: nowhere.download(["a"], tmp_path),
        lambda: nowhere.upload(tmp_path, ["a"]),
    ):
        with pytest.raises(StoreError, match=r"the bucket 'no-such-bucket' does not exist at http://127.0.0.1"):
            attempt()


@pytest.fixture
def plain_store() -> Iterator[str]:
    with object_store("photos") as access:
        yield access["AWS_ENDPOINT_URL"]


def test_files_go_there_and_back(plain_store: str, tmp_path: Path) -> None:
    place = open_place("minio://photos/a folder", address=StoreAddress(endpoint=plain_store, region="minio"))
    (tmp_path / "one").mkdir()
    (tmp_path / "one/big").write_bytes(b"x" * 100_000)
    (tmp_path / "one/small").write_bytes(b"y")
    place.upload(tmp_path / "one", ["big", "small"])
    assert place.holds(["big", "small"])
    assert not place.holds(["big", "other"])
    place.download(["big", "small"], tmp_path / "two")
    assert (tmp_path / "two/big").read_bytes() == b"x" * 100_000
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == ["big", "small"]
    place.write("small", b"z")
    assert place.read("small") == b"z"


def test_an_endpoint_that_was_asked_for_goes_before_every_variable(
    plain_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    place = open_place("s3://photos", address=StoreAddress(endpoint=plain_store, region="us-east-1"))
    assert place.read("nothing") is None


def test_kubeflows_keys_are_for_kubeflows_store(guarded: GuardedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEFLOW_STORE_ACCESS_KEY", guarded.access_key)
    monkeypatch.setenv("KUBEFLOW_STORE_SECRET_KEY", guarded.secret_key)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-other-keys")
    own = StoreAddress(endpoint=guarded.endpoint, region="us-east-1", secret="mlpipeline-minio-artifact")
    assert open_place("minio://photos/open", address=own).read("a") == b"1"
    # Another store gets the user's keys, which this one does not know.
    assert "does not know the access key" in failure_of("s3://photos/open", guarded.endpoint)
    # A store that is named, and no other keys: Kubeflow's or those of the secret that the user named in their place.
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    other = StoreAddress(endpoint=guarded.endpoint, region="us-east-1")
    assert open_place("minio://photos/open", address=other).read("a") == b"1"
    # A user's secret may use the same names: a step that writes artifacts has the keys of their store apart.
    monkeypatch.setenv("KUBEFLOW_STORE_ACCESS_KEY", "of-another-minio")
    monkeypatch.setenv("ARTIFACT_STORE_ACCESS_KEY", guarded.access_key)
    monkeypatch.setenv("ARTIFACT_STORE_SECRET_KEY", guarded.secret_key)
    assert open_place("minio://photos/open", address=own).read("a") == b"1"
    with pytest.raises(StoreError, match="does not know the access key"):
        open_place("minio://photos/open", address=other).read("a")


def test_a_store_without_keys_is_an_error_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(StoreError, match=r"there are no keys for the store http://127.0.0.1:1 .*name the secret that"):
        open_place("minio://photos", address=StoreAddress(endpoint="http://127.0.0.1:1"))


def test_a_store_that_nobody_describes() -> None:
    with pytest.raises(StoreError, match="minio://photos/x: nothing says where this store is; set AWS_ENDPOINT_URL"):
        open_place("minio://photos/x")
