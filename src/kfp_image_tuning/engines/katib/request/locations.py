"""Where data and models are stored, as a pod sees them: on a volume claim, or in an object store."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from kfp_image_tuning.core.errors import EngineOptionsError
from kfp_image_tuning.core.object_store import RETRIES, StorePlace, open_place
from kfp_image_tuning.core.store_address import StoreAddress, find_address, kubeflows_own
from kfp_image_tuning.engines.katib.request.options import KatibOptions

_CREDENTIALS: Mapping[str, Mapping[str, str]] = {
    "s3": {"AWS_ACCESS_KEY_ID": "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY": "AWS_SECRET_ACCESS_KEY"},
    "minio": {"AWS_ACCESS_KEY_ID": "accesskey", "AWS_SECRET_ACCESS_KEY": "secretkey"},
    "gs": {"GOOGLE_SERVICE_ACCOUNT_KEY": "key.json"},
}
"""Environment variable to key in the secret, as each store's secrets are usually made."""

_FORM = re.compile(r"(?P<scheme>pvc|s3|gs|minio)://(?P<place>[^/?#@\s]+)(?P<path>/[^?#\s]*)?")


@dataclass(frozen=True)
class Location:
    """A folder.

    Attributes:
        scheme: ``pvc``, ``s3``, ``gs`` or ``minio``.
        place: Volume claim or bucket.
        path: Below it, without slashes at its ends.
    """

    scheme: str
    place: str
    path: str

    @classmethod
    def parse(cls, field: str, uri: str) -> "Location":
        """Read a URI.

        Raises:
            EngineError: If it has another form.
        """
        match = _FORM.fullmatch(uri)
        if match is None or ".." in (match["path"] or "").split("/"):
            # A URI of another form may hold a password or a signature.
            shown = re.sub(r"//[^/]*@", "//", uri).partition("?")[0]
            raise EngineOptionsError(
                f"{field}: {shown!r} is not a place that a pod can reach; give pvc://CLAIM/path, s3://BUCKET/path, "
                "gs://BUCKET/path or minio://BUCKET/path, without credentials in it"
            )
        return cls(match["scheme"], match["place"], (match["path"] or "").strip("/"))

    @property
    def uri(self) -> str:
        """Its full name."""
        return f"{self.scheme}://{self.place}/{self.path}".rstrip("/")

    @property
    def is_volume(self) -> bool:
        """Whether pods mount it."""
        return self.scheme == "pvc"

    @property
    def parent(self) -> "Location":
        """The folder that it is in; a whole claim or bucket is its own."""
        return Location(self.scheme, self.place, self.path.rpartition("/")[0])

    def below(self, *parts: str) -> "Location":
        """A folder in it."""
        return Location(self.scheme, self.place, "/".join([*([self.path] if self.path else []), *parts]))


def volume_and_mount(
    location: Location, name: str, path: str, read_only: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The pod's volume for a location on a claim, and the container's mount of it."""
    mount: dict[str, Any] = {"name": name, "mountPath": path}
    if read_only:
        mount["readOnly"] = True
    if location.path:
        mount["subPath"] = location.path
    return {"name": name, "persistentVolumeClaim": {"claimName": location.place}}, mount


def store_environment(options: KatibOptions) -> list[dict[str, Any]]:
    """Environment variables by which a pod reaches the object store; credentials come from the secret alone."""
    uris = {"data": options.data, "output_uri": options.output_uri}
    stores = [location for name, uri in uris.items() if not (location := Location.parse(name, uri)).is_volume]
    if not stores:
        return []
    scheme = stores[0].scheme
    usual = kubeflows_own() if scheme == "minio" else StoreAddress()
    environment: list[dict[str, Any]] = []
    if endpoint := options.endpoint_url or usual.endpoint:
        environment.append({"name": "AWS_ENDPOINT_URL", "value": endpoint})
    if region := options.region or usual.region:
        environment.append({"name": "AWS_REGION", "value": region})
    if secret := options.credentials_secret or usual.secret:
        keys = options.credentials_keys or _CREDENTIALS[scheme]
        environment += [
            {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}} for name, key in keys.items()
        ]
    return environment


def open_from_here(uri: str, options: KatibOptions, retries: int = RETRIES) -> StorePlace:
    """Open a folder in a store, from this process.

    Outside of a cluster the address that pods use may be out of reach, and ``AWS_ENDPOINT_URL`` that of a forwarded
    port.

    Raises:
        StoreError: If nobody says where the store is.
    """
    is_pod = "KUBERNETES_SERVICE_HOST" in os.environ
    has_own_way = not is_pod and bool(find_address(uri).endpoint)
    address = find_address(uri, endpoint_url="" if has_own_way else options.endpoint_url, region=options.region)
    if options.credentials_secret:
        address = replace(address, secret=options.credentials_secret)
    return open_place(uri, address=address, retries=retries)
