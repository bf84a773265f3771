"""The namespace's artifact store: moto's S3 on the loopback, which knows its keys as the real one does.

Recorded: the Service is ``seaweedfs``, its keys are in the Secret ``mlpipeline-minio-artifact``. The port is a free one
instead of 9000, so that stand-ins run side by side. Signatures are not checked, access keys are.
"""

import logging
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import boto3
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

ACCESS_KEY = "minio"
SECRET_KEY = "minio123"
BUCKET = "mlpipeline"
HOST = "seaweedfs.kubeflow"
SIGNED = f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20260101/us-east-1/s3/aws4_request"
REFUSAL = b"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>InvalidAccessKeyId</Code><Message>The access key ID you provided does not exist in our records.</Message>
</Error>"""


_open_stores: list["ArtifactStore"] = []
"""moto keeps one set of buckets for all stores of a process, and what other tests have left in it."""


class ArtifactStore:
    """The store, from its making until `close`.

    Args:
        buckets: Buckets beside KFP's own, for those with keys.
        public: Buckets that anyone may read.
        host: Name by which pods reach it.
    """

    def __init__(
        self, buckets: Iterable[str] = ("images",), public: Iterable[str] = ("public",), host: str = HOST
    ) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._public, self._host = tuple(public), host
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.port = self._server.server_port
        self.client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{self.port}",
            region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
        )
        for bucket in (BUCKET, *buckets, *self._public):
            self.client.create_bucket(Bucket=bucket)
            if not _open_stores:
                for key in self.keys(f"s3://{bucket}/"):
                    self.client.delete_object(Bucket=bucket, Key=key)
        _open_stores.append(self)

    @property
    def endpoint(self) -> str:
        """Host and port, as pods name them."""
        return f"{self._host}:{self.port}"

    @property
    def secret(self) -> dict[str, str]:
        """What the Secret with its keys holds."""
        return {"accesskey": ACCESS_KEY, "secretkey": SECRET_KEY}

    def close(self) -> None:
        _open_stores.remove(self)
        self._server.shutdown()
        self._server.server_close()

    def put(self, path: Path, uri: str) -> None:
        """Bring a file or a folder to an address (``minio://bucket/key``)."""
        bucket, _, key = uri.split("://", 1)[1].partition("/")
        files = [path] if path.is_file() else [entry for entry in sorted(path.rglob("*")) if entry.is_file()]
        for file in files:
            name = key if path.is_file() else f"{key}/{file.relative_to(path)}"
            self.client.upload_file(str(file), bucket, name)

    def get(self, uri: str, folder: Path) -> Path:
        """Fetch what is at an address into a folder; returns the file, or the folder of the files."""
        bucket, _, key = uri.split("://", 1)[1].partition("/")
        place = folder / key.rsplit("/", 1)[-1]
        found = self.keys(uri)
        if not found:
            raise FileNotFoundError(uri)
        for name in found:
            target = place if name == key else place / name[len(key) + 1 :]
            target.parent.mkdir(parents=True, exist_ok=True)
            self.client.download_file(bucket, name, str(target))
        return place

    def keys(self, uri: str) -> list[str]:
        """The keys at and below an address."""
        bucket, _, key = uri.split("://", 1)[1].partition("/")
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key)
        names = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        return [name for name in names if name == key or name.startswith(f"{key}/") or not key]

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        given = environ.get("HTTP_AUTHORIZATION", "") + environ.get("QUERY_STRING", "")
        bucket = environ["PATH_INFO"].lstrip("/").split("/")[0]
        reads_public = environ["REQUEST_METHOD"] in ("GET", "HEAD") and bucket in self._public and not given
        if not reads_public and f"Credential={ACCESS_KEY}/" not in given.replace("%2F", "/"):
            start_response("403 Forbidden", [("Content-Type", "application/xml")])
            return [REFUSAL]
        # moto takes other host names for names of buckets, and sends requests without a signature elsewhere.
        environ["HTTP_HOST"] = f"127.0.0.1:{self.port}"
        if reads_public:
            environ["HTTP_AUTHORIZATION"] = SIGNED
        answer: Iterable[bytes] = self._moto(environ, start_response)
        return answer
