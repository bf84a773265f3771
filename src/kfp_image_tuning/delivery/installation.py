"""Installing this release in a namespace: the ConfigMap with its code, by Kubernetes' server-side apply.

Earlier releases' ConfigMaps stay, because pipelines that were compiled with those mount them.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from kfp_image_tuning.core.errors import ImageTuningError
from kfp_image_tuning.core.installed_code import DISTRIBUTION, config_map_name
from kfp_image_tuning.delivery.config_map import DIGEST_ANNOTATION, NAME_LABEL, build_config_map
from kfp_image_tuning.engines.katib.session.cluster import find_access

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

Answer = TypeVar("Answer")

APPLY = "application/apply-patch+yaml"
FIELD_MANAGER = "kubectl"
"""The name under which `kubectl apply --server-side` works: with another one, the one could not follow the other."""
_TIMEOUT = (5.0, 60.0)


class InstallationError(ImageTuningError):
    """What keeps a release from being installed or removed."""

    code = "installation"
    way_out = "Check KUBECONFIG, the namespace and your rights in it, then install again."


@dataclass(frozen=True)
class Installed:
    """What was done, or would be.

    Attributes:
        name: Of the ConfigMap.
        namespace: Where it is.
        change: ``created``, ``updated``, ``unchanged``, ``removed`` or ``not there``.
        others: ConfigMaps of other releases in the namespace.
    """

    name: str
    namespace: str
    change: str
    others: tuple[str, ...]


class Installation:
    """This release in one namespace.

    Args:
        client: The connection.
        namespace: The namespace.
        dry_run: Whether the API server only checks what it is sent.
    """

    def __init__(self, client: "ApiClient", namespace: str, *, dry_run: bool = False) -> None:
        from kubernetes.client import CoreV1Api

        self._core = CoreV1Api(client)
        self._namespace = namespace
        self._options: dict[str, Any] = {"dry_run": "All"} if dry_run else {}

    @classmethod
    def connect(cls, namespace: str, *, dry_run: bool = False) -> "Installation":
        """Use the current context of the kubeconfig, or the pod's service account.

        Raises:
            InstallationError: If there is no cluster.
        """
        from kubernetes import config
        from kubernetes.client import ApiClient
        from yaml import YAMLError

        try:
            configuration, _ = find_access()
        except (config.ConfigException, OSError, ValueError, YAMLError) as error:
            raise InstallationError(f"Kubernetes: no cluster is configured ({error}); set KUBECONFIG") from None
        return cls(ApiClient(configuration), namespace, dry_run=dry_run)

    def install(self) -> Installed:
        """Bring this release's ConfigMap to what this installation has.

        Raises:
            InstallationError: If Kubernetes refuses it.
        """
        document = build_config_map(self._namespace)
        found = self._find()
        name = config_map_name()
        digest = document["metadata"]["annotations"][DIGEST_ANNOTATION]
        change = "created" if name not in found else "unchanged" if found[name] == digest else "updated"
        if change != "unchanged":
            self._call(self._apply, document)
        return Installed(name, self._namespace, change, tuple(sorted(set(found) - {name})))

    def uninstall(self) -> Installed:
        """Remove this release's ConfigMap; those of other releases stay.

        Raises:
            InstallationError: If Kubernetes refuses it.
        """
        found = self._find()
        name = config_map_name()
        if name in found:
            self._call(self._core.delete_namespaced_config_map, name, self._namespace, **self._options)
        change = "removed" if name in found else "not there"
        return Installed(name, self._namespace, change, tuple(sorted(set(found) - {name})))

    def _apply(self, document: dict[str, Any], _request_timeout: tuple[float, float]) -> Any:
        """Server-side apply, which the client's own method for patches does not know."""
        # Forced, because an earlier release may have made it under a name of its own.
        query = {"fieldManager": FIELD_MANAGER, "force": "true", **({"dryRun": "All"} if self._options else {})}
        return self._core.api_client.call_api(
            f"/api/v1/namespaces/{self._namespace}/configmaps/{document['metadata']['name']}",
            "PATCH",
            query_params=list(query.items()),
            header_params={"Content-Type": APPLY, "Accept": "application/json"},
            body=document,
            response_type="V1ConfigMap",
            auth_settings=["BearerToken"],
            _return_http_data_only=True,
            _request_timeout=_request_timeout,
        )

    def _find(self) -> dict[str, str]:
        """ConfigMaps of all releases, to the digest of what is in them."""
        self._call(self._core.read_namespace, self._namespace, may_be_forbidden=True)
        selector = f"{NAME_LABEL}={DISTRIBUTION}"
        answer = self._call(self._core.list_namespaced_config_map, self._namespace, label_selector=selector)
        return {
            item.metadata.name: (item.metadata.annotations or {}).get(DIGEST_ANNOTATION, "") for item in answer.items
        }

    def _call(
        self, function: Callable[..., Answer], *arguments: Any, may_be_forbidden: bool = False, **options: Any
    ) -> Any:
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            return function(*arguments, **options, _request_timeout=_TIMEOUT)
        except ApiException as error:
            if error.status == 403 and may_be_forbidden:
                return None
            raise InstallationError(_explain(error, self._namespace)) from None
        except (HTTPError, OSError) as error:
            raise InstallationError(
                f"Kubernetes: the API server does not answer ({error}); see whether KUBECONFIG names the right cluster"
            ) from None


def _explain(error: Any, namespace: str) -> str:
    try:
        message = json.loads(error.body)["message"]
    except (TypeError, ValueError, KeyError):
        message = str(error.reason)
    if error.status == 404:
        return f"Kubernetes: {message}; there is no namespace {namespace}: make it, or give another one (--namespace)"
    if error.status in (401, 403):
        return (
            f"Kubernetes: {message}; you need the right to list, create, patch and delete ConfigMaps in namespace "
            f"{namespace}: ask its administrator, or have them type this command"
        )
    return f"Kubernetes: {message}"
