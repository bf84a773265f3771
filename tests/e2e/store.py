"""The artifact store from this machine: where test images go and results are read."""

import json
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from tests.e2e.outcomes import ScenarioFailed


class Store:
    """One bucket.

    Args:
        endpoint: Its address from here.
        bucket: The bucket.
        keys: Access key and secret key.
        namespace: Of the runs, by which KFP with profiles tells their artifacts apart.
    """

    def __init__(self, endpoint: str, bucket: str, keys: tuple[str, str], namespace: str) -> None:
        # Checksums that every S3 knows; stores of other makers refuse newer ones.
        config = Config(
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            retries={"max_attempts": 10, "mode": "standard"},
        )
        self.bucket = bucket
        self._roots = ("v2/artifacts", f"private-artifacts/{namespace}/v2/artifacts")
        self._client: Any = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id=keys[0],
            aws_secret_access_key=keys[1],
            config=config,
        )
        self._client.head_bucket(Bucket=bucket)

    def put(self, folder: Path, prefix: str) -> str:
        """Bring a folder there; returns its address for pods."""
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                key = f"{prefix}/{file.relative_to(folder)}"
                self._client.put_object(Bucket=self.bucket, Key=key, Body=file.read_bytes())
        return f"minio://{self.bucket}/{prefix}"

    def read_output(self, pipeline: str, run_id: str, name: str) -> Any:
        """A JSON artifact of a run.

        Raises:
            ScenarioFailed: If there is none.
        """
        for root in self._roots:
            for key in self._keys(f"{root}/{pipeline}/{run_id}/"):
                if key.rsplit("/", 1)[-1] == name:
                    return json.loads(self._client.get_object(Bucket=self.bucket, Key=key)["Body"].read())
        raise ScenarioFailed(
            f"the run has no artifact {name} below {self.bucket}/{self._roots[0]}/{pipeline}/{run_id}; "
            "has KFP another pipeline root here?"
        )

    def delete(self, prefix: str) -> None:
        """Delete everything below a prefix."""
        for key in self._keys(prefix):
            self._client.delete_object(Bucket=self.bucket, Key=key)

    def _keys(self, prefix: str) -> list[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", ())]
