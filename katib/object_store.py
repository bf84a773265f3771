"""Data sets and models in an object store: ``s3://``, ``gs://``, and ``minio://`` (S3 at ``AWS_ENDPOINT_URL``).

Credentials come from where the cloud's own tools look, environment variables and the pod's identity. Requests are
repeated by the store's client itself.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from kfp_image_tuning.dataset.document import DOCUMENT_NAME, Dataset
from kfp_image_tuning.katib.locations import KUBEFLOW_STORE_ADDRESS, KUBEFLOW_STORE_KEYS
from kfp_image_tuning.tuning.errors import EngineError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

AT_ONCE = 8
CHUNK_BYTES = 8 << 20
USED_SPLITS = ("train", "validation")
"""No trial ever sees the test images."""


def download_dataset(uri: str, folder: Path) -> None:
    """Download what a trial needs of a prepared data set.

    Raises:
        EngineError: If it cannot be had.
        DatasetError: If what lies there is no data set.
    """
    with _store(uri) as store:
        _download(store, DOCUMENT_NAME, folder)
        dataset = Dataset.load(folder)
        shards = [shard for name in USED_SPLITS for shard in dataset.split(name).shards]
        names = [name for shard in shards for name in (shard.record, shard.index)]
        outside = [name for name in names if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts]
        if outside:
            raise EngineError(f"{uri}: {DOCUMENT_NAME} names files outside of the data set: {', '.join(outside)}")
        with ThreadPoolExecutor(AT_ONCE) as threads:
            list(threads.map(lambda name: _download(store, name, folder), names))


def download_folder(uri: str, folder: Path, names: tuple[str, ...]) -> None:
    """Download some files of a folder.

    Raises:
        EngineError: If one of them cannot be had.
    """
    with _store(uri) as store:
        for name in names:
            _download(store, name, folder)


def holds_files(uri: str, names: Sequence[str]) -> bool:
    """Whether all of some files lie in a folder.

    Raises:
        EngineError: If the store cannot be read.
    """
    import obstore

    with _store(uri) as store:
        try:
            for name in names:
                obstore.head(store, name)
        except FileNotFoundError:
            return False
        return True


def upload_folder(folder: Path, uri: str) -> None:
    """Upload the files of a folder; its subfolders stay.

    Raises:
        EngineError: If they cannot be stored.
    """
    upload_files(folder, sorted(path.name for path in folder.iterdir() if path.is_file()), uri)


def upload_files(folder: Path, names: Sequence[str], uri: str) -> None:
    """Upload files of a folder; the last one goes when all others are there.

    Raises:
        EngineError: If they cannot be stored.
    """
    import obstore

    with _store(uri) as store, ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(lambda name: obstore.put(store, name, folder / name), names[:-1]))
        obstore.put(store, names[-1], folder / names[-1])


def read_file(uri: str, name: str) -> bytes | None:
    """A small file of a folder, or None if it is not there.

    Raises:
        EngineError: If the store cannot be read.
    """
    import obstore

    with _store(uri) as store:
        try:
            return bytes(obstore.get(store, name).bytes())
        except FileNotFoundError:
            return None


def write_file(uri: str, name: str, content: bytes) -> None:
    """Write a small file into a folder.

    Raises:
        EngineError: If it cannot be stored.
    """
    import obstore

    with _store(uri) as store:
        obstore.put(store, name, content)


@contextlib.contextmanager
def _store(uri: str) -> Iterator["ObjectStore"]:
    """The folder at a URI, as a store; its failures are told in our own words."""
    import obstore
    from obstore.store import from_url

    try:
        if uri.startswith("minio://"):
            # MinIO and SeaweedFS take the bucket as a part of the path.
            address = uri.replace("minio://", "s3://", 1)
            options = {"virtual_hosted_style_request": False, **_kubeflow_store_access(os.environ)}
            yield from_url(address, client_options={"allow_http": True}, **options)  # type: ignore[call-overload]
        else:
            yield from_url(uri, client_options={"allow_http": True})
    except FileNotFoundError as error:
        raise EngineError(f"{uri}: {_name_in(error)} is not there; check the bucket and the path") from None
    except (obstore.exceptions.BaseError, OSError) as error:
        # Only the kind of error: its text may hold a signed address.
        raise EngineError(
            f"{uri}: the object store does not do it ({type(error).__name__}); check the bucket, the endpoint and that "
            "the secret holds credentials for it"
        ) from None


def _kubeflow_store_access(environment: Mapping[str, str]) -> dict[str, str]:
    """How to reach Kubeflow's own store, as far as the usual variables do not say it."""
    access: dict[str, str] = {}
    if "AWS_ENDPOINT_URL" not in environment:
        access |= {"endpoint": KUBEFLOW_STORE_ADDRESS, "region": "us-east-1"}
    keys = [environment.get(name) for name in KUBEFLOW_STORE_KEYS]
    if "AWS_ACCESS_KEY_ID" not in environment and keys[0] and keys[1]:
        access |= {"access_key_id": keys[0], "secret_access_key": keys[1]}
    return access


def _name_in(error: Exception) -> str:
    found = [word.strip("\"'") for word in str(error).split() if DOCUMENT_NAME in word or "model" in word]
    return found[0] if found else "an object"


def _download(store: "ObjectStore", name: str, folder: Path) -> None:
    import obstore

    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.part")
    with partial.open("wb") as file:
        for chunk in obstore.get(store, name).stream(min_chunk_size=CHUNK_BYTES):
            file.write(bytes(chunk))
    partial.replace(target)
