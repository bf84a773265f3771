"""An S3 server on the loopback: moto's, as a stand-in for S3 and for the object store that Kubeflow brings."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
from moto import settings
from moto.server import ThreadedMotoServer


@contextmanager
def object_store(bucket: str) -> Iterator[dict[str, str]]:
    """A server with an empty bucket; yields the environment variables by which clients reach it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    access = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }
    client = boto3.client(
        "s3",
        endpoint_url=access["AWS_ENDPOINT_URL"],
        region_name=access["AWS_REGION"],
        aws_access_key_id=access["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=access["AWS_SECRET_ACCESS_KEY"],
    )
    client.create_bucket(Bucket=bucket)
    try:
        yield access
    finally:
        server.stop()


@dataclass(frozen=True)
class GuardedStore:
    """A server that checks signatures and permissions, with one user.

    Attributes:
        endpoint: Its address.
        access_key: The user's.
        secret_key: The user's.
    """

    endpoint: str
    access_key: str
    secret_key: str


@contextmanager
def guarded_object_store(bucket: str, allowed: str, closed: str) -> Iterator[GuardedStore]:
    """A server whose user may do everything in one folder of a bucket; moto's own check of signatures and policies.

    Args:
        bucket: The bucket; it gets an object ``a`` in both folders.
        allowed: Folder that the user may use.
        closed: Folder that the user may not use.
    """
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"

    def client(service: str) -> Any:
        keys = {"aws_access_key_id": "root", "aws_secret_access_key": "root"}
        return boto3.client(service, endpoint_url=endpoint, region_name="us-east-1", **keys)

    client("s3").create_bucket(Bucket=bucket)
    for folder in (allowed, closed):
        client("s3").put_object(Bucket=bucket, Key=f"{folder}/a", Body=b"1")
    iam = client("iam")
    # The accounts of moto outlive its server.
    user = f"user-{uuid.uuid4()}"
    iam.create_user(UserName=user)
    key = iam.create_access_key(UserName=user)["AccessKey"]
    resources = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/{allowed}/*"]
    statement = {"Effect": "Allow", "Action": "s3:*", "Resource": resources}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName=user, PolicyName="own-folder", PolicyDocument=document)
    unguarded = settings.INITIAL_NO_AUTH_ACTION_COUNT
    # For all servers of this process, as long as this one lives.
    settings.INITIAL_NO_AUTH_ACTION_COUNT = 0.0
    try:
        yield GuardedStore(endpoint, key["AccessKeyId"], key["SecretAccessKey"])
    finally:
        settings.INITIAL_NO_AUTH_ACTION_COUNT = unguarded
        server.stop()
