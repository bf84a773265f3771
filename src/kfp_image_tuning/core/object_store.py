"""Folders and files in object stores and on web servers: the one place where a store is opened.

``s3://bucket/key``, ``gs://bucket/key``, ``minio://bucket/key`` (S3 at an address of its own: Kubeflow's store, or any
other) and, for single files, ``https://`` and ``http://``. `store_address` finds where a store is. Keys come from
environment variables and the pod's identity, never from parameters. Failures are told in our own words (`StoreError`).
"""

import base64
import contextlib
import os
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from kfp_image_tuning.core.durable_file import appearing
from kfp_image_tuning.core.errors import StoreError
from kfp_image_tuning.core.store_address import (
    ARTIFACT_STORE_KEYS,
    KUBEFLOW_ADDRESS,
    KUBEFLOW_SECRET,
    KUBEFLOW_SECRET_KEYS,
    StoreAddress,
    find_address,
)
from kfp_image_tuning.core.store_failures import describe_failure

if TYPE_CHECKING:
    from obstore.store import ObjectStore, S3Credential

BUCKET_SCHEMES = ("s3", "gs", "minio")
SCHEMES = (*BUCKET_SCHEMES, "https", "http")
RETRIES = 4
"""Of a single request, in quick succession (about 2 s in all), by the client."""
PATIENT_RETRIES = 10
"""Where hours of training would be lost with what cannot be stored: up to 3 minutes."""
AT_ONCE = 8
CHUNK_BYTES = 8 << 20


def is_remote(place: str) -> bool:
    """Whether a place is a URI rather than a path."""
    return re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://", place) is not None and not place.startswith("file://")


def without_credentials(place: str) -> str:
    """A URI without user, password, query and fragment (signed URLs carry their signature there); a path as it is."""
    if not is_remote(place):
        return place
    parts = urlsplit(place)
    return urlunsplit(SplitResult(parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


@dataclass(frozen=True)
class StorePlace:
    """A folder or file in a store.

    Attributes:
        uri: Its address, without credentials.
        key: Its key in ``store``.
        store: The bucket, or the web server's folder.
        address: Where that is.
    """

    uri: str
    key: str
    store: "ObjectStore"
    address: StoreAddress

    @contextlib.contextmanager
    def failures(self) -> Iterator[None]:
        """Tell failures of the client in our own words.

        Raises:
            StoreError: In place of them.
        """
        import obstore

        try:
            yield
        except (obstore.exceptions.BaseError, OSError) as error:
            raise StoreError(describe_failure(error, self.uri, self.address)) from None

    def below(self, name: str) -> str:
        """The key of something in this folder."""
        return posixpath.join(self.key, name)

    def read(self, name: str) -> bytes | None:
        """A small file of this folder; None if it is not there.

        Raises:
            StoreError: If the store cannot be read, or has no such bucket.
        """
        import obstore

        with self.failures():
            try:
                return bytes(obstore.get(self.store, self.below(name)).bytes())
            except FileNotFoundError as error:
                if _lacks_bucket(error):
                    raise
                return None

    def write(self, name: str, content: bytes) -> None:
        """Write a small file into this folder.

        Raises:
            StoreError: If it cannot be stored.
        """
        import obstore

        with self.failures():
            obstore.put(self.store, self.below(name), content)

    def holds(self, names: Sequence[str]) -> bool:
        """Whether all of some files are in this folder.

        Raises:
            StoreError: If the store cannot be read, or has no such bucket.
        """
        import obstore

        with self.failures():
            try:
                for name in names:
                    # The answer to HEAD has no text, so a bucket that does not exist would look the same.
                    obstore.get(self.store, self.below(name)).meta  # noqa: B018  # a request, whose body stays unread
            except FileNotFoundError as error:
                if _lacks_bucket(error):
                    raise
                return False
            return True

    def download(self, names: Sequence[str], folder: Path) -> None:
        """Download files of this folder; each appears when it is whole.

        Raises:
            StoreError: If one of them cannot be had.
        """
        with ThreadPoolExecutor(AT_ONCE) as threads:
            list(threads.map(lambda name: self._download(name, folder), names))

    def upload(self, folder: Path, names: Sequence[str]) -> None:
        """Upload files of a folder; the last one goes when all others are there.

        Raises:
            StoreError: If they cannot be stored.
        """
        import obstore

        with self.failures(), ThreadPoolExecutor(AT_ONCE) as threads:
            list(threads.map(lambda name: obstore.put(self.store, self.below(name), folder / name), names[:-1]))
            obstore.put(self.store, self.below(names[-1]), folder / names[-1])

    def remove(self, names: Sequence[str]) -> None:
        """Delete files of this folder; those that are not there count as deleted.

        Raises:
            StoreError: If they cannot be deleted.
        """
        import obstore

        with self.failures():
            obstore.delete(self.store, [self.below(name) for name in names])

    def chunks(self, key: str) -> Iterator[bytes]:
        """The content of an object, by its key in the store, piece by piece.

        Raises:
            StoreError: If it cannot be had.
        """
        import obstore

        try:
            yield from map(bytes, obstore.get(self.store, key).stream(min_chunk_size=CHUNK_BYTES))
        except (obstore.exceptions.BaseError, OSError) as error:
            place = self.uri
            if isinstance(error, FileNotFoundError) and key != self.key:
                place += "/" + posixpath.relpath(key, self.key or ".")
            raise StoreError(describe_failure(error, place, self.address)) from None

    def _download(self, name: str, folder: Path) -> None:
        with appearing(folder / name) as temporary, temporary.open("wb") as file:
            for chunk in self.chunks(self.below(name)):
                file.write(chunk)


def open_place(uri: str, *, address: StoreAddress | None = None, retries: int = RETRIES) -> StorePlace:
    """Open the store in which a place is; nothing is asked of it yet.

    Args:
        uri: Its address.
        address: Where the store is reached; None: as `find_address` finds it.
        retries: Of each request.

    Raises:
        StoreError: If its scheme is unknown, or nobody says where the store is or how it is entered.
    """
    parts = urlsplit(uri)
    shown = without_credentials(uri)
    scheme = parts.scheme.lower()
    if scheme not in SCHEMES or not parts.hostname:
        raise StoreError(
            f"{shown}: is neither a path nor one of {', '.join(f'{name}://' for name in SCHEMES)}; "
            "copy it to one of these"
        )
    if scheme in BUCKET_SCHEMES:
        where = address or find_address(uri)
        if scheme == "minio" and not where.endpoint:
            raise StoreError(
                f"{shown}: nothing says where this store is; set AWS_ENDPOINT_URL to its address, such as "
                f"{KUBEFLOW_ADDRESS} for Kubeflow's own in a cluster"
            )
        bucket = parts.netloc.rpartition("@")[2]
        return StorePlace(shown, parts.path.strip("/"), _open_bucket(scheme, bucket, where, retries), where)
    folder, _, name = parts.path.rpartition("/")
    where = StoreAddress(endpoint=f"{scheme}://{parts.netloc.rpartition('@')[2]}")
    return StorePlace(shown, unquote(name), _open_web(parts, folder, retries), where)


def _open_bucket(scheme: str, bucket: str, address: StoreAddress, retries: int) -> "ObjectStore":
    from obstore.store import GCSStore, S3Store

    again = {"max_retries": retries}
    if scheme == "gs":
        return GCSStore(bucket, retry_config=again)  # type: ignore[arg-type]
    config: dict[str, str] = {}
    if address.endpoint:
        config["endpoint"] = address.endpoint
        if "AWS_ENDPOINT_URL_S3" in os.environ:
            # The client puts this variable before everything else.
            config["aws_endpoint_url_s3"] = address.endpoint
    if address.region:
        config["region"] = address.region
    options = {"allow_http": address.endpoint.startswith("http://")}
    keys = _credentials(scheme, bucket, address, os.environ)
    # Not as configuration: to that, the client would add a session token of the environment's own keys.
    provider = (lambda: keys) if keys else None
    return S3Store(
        bucket,
        config=config,  # type: ignore[arg-type]
        client_options=options,  # type: ignore[arg-type]
        retry_config=again,  # type: ignore[arg-type]
        credential_provider=provider,
    )


def _credentials(
    scheme: str, bucket: str, address: StoreAddress, environment: Mapping[str, str]
) -> "S3Credential | None":
    """The keys that belong to an address, where the client would take others; None: those that it finds itself.

    Raises:
        StoreError: If there are none: a client would ask Amazon's service for machines, and wait for it.
    """
    own = [environment.get(name) for name in ARTIFACT_STORE_KEYS] if address.is_kubeflows else []
    access, secret = own if all(own) and own else [environment.get(name) for name in KUBEFLOW_SECRET_KEYS]
    has_usual = bool(environment.get("AWS_ACCESS_KEY_ID"))
    if access and secret and address.endpoint and (address.is_kubeflows or not has_usual):
        return {"access_key_id": access, "secret_access_key": secret, "expires_at": None}
    others = ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_SKIP_SIGNATURE")
    if scheme == "minio" and not has_usual and not any(environment.get(name) for name in others):
        raise StoreError(
            f"{scheme}://{bucket}: there are no keys for the store {address.endpoint} in the environment; set "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or in a pipeline name the secret that holds them (Kubeflow's "
            f"own is {KUBEFLOW_SECRET})"
        )
    return None


def _open_web(parts: SplitResult, folder: str, retries: int) -> "ObjectStore":
    from obstore.store import HTTPStore

    user, at, host = parts.netloc.rpartition("@")
    headers = {"authorization": "Basic " + base64.b64encode(unquote(user).encode()).decode()} if at else {}
    base = urlunsplit(SplitResult(parts.scheme, host, folder, parts.query, ""))
    options: Any = {"allow_http": True, "default_headers": headers}
    return HTTPStore.from_url(base, client_options=options, retry_config={"max_retries": retries})


def _lacks_bucket(error: FileNotFoundError) -> bool:
    return "NoSuchBucket" in str(error)
