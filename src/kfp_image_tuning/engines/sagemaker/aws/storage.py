"""Files in S3: the data set on its way to the training jobs, models and predictions on their way back.

What is sent carries its checksum as metadata, and what is there with the same checksum is not sent again: a
restarted run, and the next search on the same images, send nothing.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kfp_image_tuning.core.errors import EngineError
from kfp_image_tuning.engines.sagemaker.aws.clients import make_storage_client
from kfp_image_tuning.engines.sagemaker.request.options import SageMakerOptions

CONNECTIONS = 16
CHECKSUM = "sha256"


class Storage:
    """S3 as one role sees it.

    Args:
        options: Where and as whom to call.
    """

    def __init__(self, options: SageMakerOptions) -> None:
        with _plain_errors("S3"):
            self._client = make_storage_client(options, CONNECTIONS)

    def upload(self, files: Mapping[str, Path]) -> int:
        """Send files, each to its address, unless the same content is there.

        Returns:
            Bytes that were sent.

        Raises:
            EngineError: If S3 does not take one.
        """
        return sum(self._each(lambda item: self._upload(*item), files.items()))

    def upload_contents(self, contents: Mapping[str, bytes]) -> int:
        """Send small contents, each to its address; the addresses must be made from the contents.

        Returns:
            Bytes that were sent.

        Raises:
            EngineError: If S3 does not take one.
        """

        def put(item: tuple[str, bytes]) -> int:
            bucket, key = split_uri(item[0])
            with _plain_errors(item[0]):
                self._client.put_object(Bucket=bucket, Key=key, Body=item[1])
            return len(item[1])

        return sum(self._each(put, contents.items()))

    def sizes(self, folder: str) -> dict[str, int]:
        """The size of each object below a folder, by its key relative to it.

        Raises:
            EngineError: If it cannot be listed.
        """
        bucket, prefix = split_uri(folder.rstrip("/") + "/")
        found: dict[str, int] = {}
        with _plain_errors(folder):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                found |= {entry["Key"][len(prefix) :]: entry["Size"] for entry in page.get("Contents", ())}
        return found

    def read(self, folder: str, names: list[str]) -> dict[str, bytes]:
        """The contents of small objects in a folder, by name.

        Raises:
            EngineError: If one cannot be read.
        """

        def get(name: str) -> bytes:
            uri = f"{folder.rstrip('/')}/{name}"
            bucket, key = split_uri(uri)
            with _plain_errors(uri):
                body: bytes = self._client.get_object(Bucket=bucket, Key=key)["Body"].read()
            return body

        return dict(zip(names, self._each(get, names), strict=True))

    def download(self, uri: str, path: Path) -> None:
        """Fetch one object.

        Raises:
            EngineError: If it is not there or not to be read.
        """
        bucket, key = split_uri(uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        with _plain_errors(uri):
            self._client.download_file(bucket, key, str(path))

    def _upload(self, uri: str, path: Path) -> int:
        bucket, key = split_uri(uri)
        with path.open("rb") as file:
            checksum = hashlib.file_digest(file, CHECKSUM).hexdigest()
        with _plain_errors(uri):
            if self._checksum(bucket, key) == checksum:
                return 0
            self._client.upload_file(str(path), bucket, key, ExtraArgs={"Metadata": {CHECKSUM: checksum}})
        return path.stat().st_size

    def _checksum(self, bucket: str, key: str) -> str | None:
        from botocore.exceptions import ClientError

        try:
            metadata: Mapping[str, str] = self._client.head_object(Bucket=bucket, Key=key)["Metadata"]
        except ClientError as error:
            if error.response["ResponseMetadata"].get("HTTPStatusCode") == 404:
                return None
            raise
        return metadata.get(CHECKSUM)

    @staticmethod
    def _each(work: Callable[[Any], Any], items: Any) -> list[Any]:
        with ThreadPoolExecutor(CONNECTIONS) as threads:
            return list(threads.map(work, items))


@contextmanager
def _plain_errors(uri: str) -> Iterator[None]:
    """Say in one sentence what S3 or the way there did not do."""
    from boto3.exceptions import S3UploadFailedError
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError, S3UploadFailedError) as error:
        raise EngineError(
            f"{uri}: {error}; check that the bucket exists in this account, and that credentials and IAM policy allow "
            "s3:ListBucket, s3:GetObject and s3:PutObject there"
        ) from None


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of an ``s3://`` address."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key
