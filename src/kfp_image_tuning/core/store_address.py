"""Where an object store is reached, and which Kubernetes secret holds its keys: nothing here is secret itself.

`find_address` asks, in this order: what the user gave; what KFP's launcher wrote about the store of an artifact
(``store_session_info`` in its metadata); ``AWS_ENDPOINT_URL``; KFP's ConfigMap ``kfp-launcher``, where the pod is given
it; the Services of the namespace, which Kubernetes puts into every pod's environment.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from kfp_image_tuning.core.errors import StoreError

KUBEFLOW_SECRET = "mlpipeline-minio-artifact"
"""The secret of Kubeflow's own store, in every namespace that runs pipelines."""
KUBEFLOW_SECRET_KEYS: Mapping[str, str] = {
    "KUBEFLOW_STORE_ACCESS_KEY": "accesskey",
    "KUBEFLOW_STORE_SECRET_KEY": "secretkey",
}
"""A step's environment variable to key in that secret: names of their own, because a cloud's client would take
``AWS_…`` for the keys of every other store as well."""
ARTIFACT_STORE_KEYS: Mapping[str, str] = {
    "ARTIFACT_STORE_ACCESS_KEY": "accesskey",
    "ARTIFACT_STORE_SECRET_KEY": "secretkey",
}
"""The same in a step that reads other stores with a user's secret, which may have keys of these names too."""
KUBEFLOW_ADDRESS = "http://seaweedfs.kubeflow:9000"
"""Kubeflow's own store (SeaweedFS since KFP 2.15) as pods of every namespace see it."""
KUBEFLOW_REGION = "us-east-1"
LAUNCHER_VARIABLE = "KFP_LAUNCHER_PROVIDERS"
"""Holds the key ``providers`` of the ConfigMap ``kfp-launcher``, in pods that are given it."""

_SERVICES = ("SEAWEEDFS", "MINIO_SERVICE")
_PORT = "9000"
_ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_CLOUDS = (".amazonaws.com", ".googleapis.com")
_KEYS: Mapping[str, Mapping[str, str]] = {
    "minio": {"AWS_ACCESS_KEY_ID": "accessKeyKey", "AWS_SECRET_ACCESS_KEY": "secretKeyKey"},
    "s3": {"AWS_ACCESS_KEY_ID": "accessKeyKey", "AWS_SECRET_ACCESS_KEY": "secretKeyKey"},
    "gs": {"GOOGLE_SERVICE_ACCOUNT_KEY": "tokenKey"},
}
"""Environment variable to the setting of KFP that names its key in the secret, by scheme."""
_KUBEFLOW_KEYS = {"AWS_ACCESS_KEY_ID": "accesskey", "AWS_SECRET_ACCESS_KEY": "secretkey"}
_PROVIDERS = {"minio": "minio", "s3": "s3", "gs": "gs", "gcs": "gs"}


@dataclass(frozen=True, kw_only=True)
class StoreAddress:
    """How a store is reached.

    Attributes:
        endpoint: ``http://HOST:PORT`` or ``https://…``; empty: the cloud's own.
        region: Its region; empty: as the environment says.
        secret: Kubernetes secret with its keys; empty: none is known.
        secret_keys: Usual environment variable (``AWS_ACCESS_KEY_ID``, …) to key in that secret.
        source: Who says so, for messages.
    """

    endpoint: str = ""
    region: str = ""
    secret: str = ""
    secret_keys: Mapping[str, str] = field(default_factory=dict)
    source: str = ""

    @property
    def is_kubeflows(self) -> bool:
        """Whether the keys of Kubeflow's own secret fit."""
        return self.secret == KUBEFLOW_SECRET


def find_address(
    uri: str,
    *,
    endpoint_url: str = "",
    region: str = "",
    session_info: str = "",
    artifact: str = "",
    environment: Mapping[str, str] | None = None,
) -> StoreAddress:
    """Where the store of a URI is reached; without an endpoint where nobody says it.

    Args:
        uri: ``s3://``, ``gs://`` or ``minio://``; of others nothing is found.
        endpoint_url: What the user gave.
        region: The same.
        session_info: ``store_session_info`` of an artifact, JSON text; empty: none.
        artifact: Address of that artifact. In its bucket, what KFP says of it goes before ``AWS_ENDPOINT_URL``.
        environment: Variables; None: this process's.

    Raises:
        StoreError: If what was given cannot be read.
    """
    variables = os.environ if environment is None else environment
    parts = urlsplit(uri)
    if parts.scheme not in _KEYS:
        return StoreAddress()
    session = read_session_info(session_info, parts.scheme) if session_info else None
    in_same_bucket = urlsplit(artifact)[:2] == parts[:2]
    if endpoint_url:
        found = replace(
            session or StoreAddress(), endpoint=_checked(endpoint_url, "endpoint_url"), region="", source="endpoint_url"
        )
    elif session and in_same_bucket:
        found = session
    else:
        is_minio = parts.scheme == "minio"
        found = (
            (_from_variables(variables) if parts.scheme != "gs" else None)
            # Another bucket of a cloud need not be in the same region.
            or (session if is_minio else None)
            or _from_launcher_config(variables.get(LAUNCHER_VARIABLE, ""), parts.scheme, parts.netloc)
            or (_from_services(variables) if is_minio else None)
            or StoreAddress()
        )
    default = KUBEFLOW_REGION if found.endpoint and "AWS_REGION" not in variables else ""
    return replace(found, region=region or found.region or default)


def read_session_info(text: str, scheme: str) -> StoreAddress | None:
    """What KFP wrote about an artifact's store; None if that is a store of another kind.

    Args:
        text: JSON text, such as ``{"Provider": "minio", "Params": {"endpoint": "seaweedfs.kubeflow:9000", …}}``.
        scheme: Of the URI that is to be reached.

    Raises:
        StoreError: If it has another form.
    """
    try:
        document = json.loads(text)
        provider, params = str(document["Provider"]), dict(document.get("Params") or {})
    except (ValueError, TypeError, KeyError, AttributeError):
        raise StoreError(
            "store_session_info: is not the JSON text that Kubeflow Pipelines writes; leave it empty"
        ) from None
    if _PROVIDERS.get(provider) != scheme:
        return None
    return _address(scheme, params, params, "the artifact's store_session_info")


def _from_launcher_config(text: str, scheme: str, bucket: str) -> StoreAddress | None:
    if not text.strip():
        return None
    # Only where there is something to read: it comes with KFP.
    import yaml

    try:
        section = dict((yaml.safe_load(text) or {}).get(scheme) or {})
        overrides = section.get("Overrides") or section.get("overrides") or ()
        fitting = [entry for entry in overrides if entry.get("bucketName") == bucket]
        settings = dict(fitting[0] if fitting else section.get("default") or {})
        credentials = dict(settings.get("credentials") or {})
        credentials |= dict(credentials.get("secretRef") or {})
    except (yaml.YAMLError, TypeError, ValueError, AttributeError):
        raise StoreError(
            f"{LAUNCHER_VARIABLE}: is not what the ConfigMap kfp-launcher has under providers; fix that ConfigMap"
        ) from None
    if not settings:
        return None
    return _address(scheme, settings, credentials, "the ConfigMap kfp-launcher")


def _address(scheme: str, settings: Mapping[str, Any], credentials: Mapping[str, Any], source: str) -> StoreAddress:
    """An address out of KFP's words for it; true and false may be text there."""
    host = str(settings.get("endpoint") or "").rstrip("/")
    if host and "://" not in host:
        host = f"{'http' if _is_true(settings.get('disableSSL')) else 'https'}://{host}"
    if (urlsplit(host).hostname or "").endswith(_CLOUDS):
        # A cloud's client knows its own addresses, region by region.
        host = ""
    secret = str(credentials.get("secretName") or "")
    keys = {name: str(credentials.get(setting) or "") for name, setting in _KEYS[scheme].items()}
    has_secret = bool(secret) and all(keys.values()) and not _is_true(credentials.get("fromEnv"))
    return StoreAddress(
        endpoint=_checked(host, source) if host else "",
        region=str(settings.get("region") or ""),
        secret=secret if has_secret else "",
        secret_keys=keys if has_secret else {},
        source=source,
    )


def _is_true(value: object) -> bool:
    return str(value or "").lower() == "true"


def _from_variables(variables: Mapping[str, str]) -> StoreAddress | None:
    name = next((name for name in _ENDPOINT_VARIABLES if variables.get(name)), None)
    return StoreAddress(endpoint=_checked(variables[name], name), source=name) if name else None


def _from_services(variables: Mapping[str, str]) -> StoreAddress | None:
    """The namespace's own store; in a pod of another namespace, that of the namespace ``kubeflow``."""
    for service in _SERVICES:
        if host := variables.get(f"{service}_SERVICE_HOST"):
            # The port that speaks S3 by the usual name, where there are several.
            has_usual = f"{service}_PORT_{_PORT}_TCP" in variables
            port = _PORT if has_usual else variables.get(f"{service}_SERVICE_PORT", _PORT)
            address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
            source = f"the Service {service.lower().replace('_', '-')} of this namespace"
            return replace(kubeflows_own(), endpoint=address, source=source)
    return kubeflows_own() if "KUBERNETES_SERVICE_HOST" in variables else None


def kubeflows_own() -> StoreAddress:
    """Kubeflow's own store under its usual name, for pods."""
    return StoreAddress(
        endpoint=KUBEFLOW_ADDRESS,
        region=KUBEFLOW_REGION,
        secret=KUBEFLOW_SECRET,
        secret_keys=_KUBEFLOW_KEYS,
        source="Kubeflow's usual name",
    )


def _checked(endpoint: str, source: str) -> str:
    try:
        parts = urlsplit(endpoint.strip())
        is_right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_right = False
    if not is_right:
        raise StoreError(
            f"{source}: {_shown(endpoint)!r} is not an address of an object store; give http://HOST:PORT or https://HOST"
        )
    if parts.username or parts.password or parts.query:
        raise StoreError(
            f"{source}: {_shown(endpoint)!r} holds credentials; give the address alone, and the keys as variables or "
            "in a secret"
        )
    return urlunsplit(parts).rstrip("/")


def _shown(endpoint: str) -> str:
    return endpoint.rpartition("@")[2].partition("?")[0]
