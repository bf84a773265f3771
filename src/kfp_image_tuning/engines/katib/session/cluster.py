"""The Kubernetes API as the engine uses it: few verbs, each of which outlives an API server that is busy or restarts.

Objects are plain dicts, as in the documents that are applied.
"""

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode, urlsplit

from kfp_image_tuning.core.backoff import pauses
from kfp_image_tuning.core.errors import EngineError
from kfp_image_tuning.core.stop_guard import StopRequest
from kfp_image_tuning.core.wording import duration

if TYPE_CHECKING:
    from kubernetes.client import ApiClient, Configuration

GROUP, VERSION = "kubeflow.org", "v1beta1"
EXPERIMENT_LABEL = "katib.kubeflow.org/experiment"
TRIAL_LABEL = "katib.kubeflow.org/trial"
INJECTION_LABEL = "katib.kubeflow.org/metrics-collector-injection"
"""Katib adds its collector to pods of namespaces with this label, ``enabled``, alone."""
PATIENCE = 600.0
"""Seconds without the API server, at most; Experiments continue without us meanwhile."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 20.0
CALL_TIMEOUT = (5.0, 60.0)
"""Seconds to connect and to answer."""
OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
PASSING_STATUSES = (429, 500, 502, 503, 504)

Answer = TypeVar("Answer")


def find_access() -> tuple["Configuration", str]:
    """How the cluster is reached, and the own namespace: by the pod's service account, or the kubeconfig's context.

    Raises:
        kubernetes.config.ConfigException: If there is no cluster.
        OSError: If what is there cannot be read.
    """
    from kubernetes import config
    from kubernetes.client import Configuration

    configuration = Configuration()
    configuration.retries = False
    if OWN_NAMESPACE.exists():
        config.load_incluster_config(client_configuration=configuration)
        return configuration, OWN_NAMESPACE.read_text().strip()
    config.load_kube_config(client_configuration=configuration)
    context = config.list_kube_config_contexts()[1]["context"]
    return configuration, str(context.get("namespace", "default"))


class Cluster:
    """One namespace of a cluster.

    Args:
        client: The connection.
        namespace: The namespace.
        patience: Seconds for which calls are repeated.
    """

    def __init__(
        self,
        client: "ApiClient",
        namespace: str,
        patience: float = PATIENCE,
    ) -> None:
        from kubernetes.client import BatchV1Api, CoreV1Api, CustomObjectsApi

        self.namespace = namespace
        self._client = client
        self._patience = patience
        self._core, self._batch, self._custom = CoreV1Api(client), BatchV1Api(client), CustomObjectsApi(client)

    @classmethod
    def connect(cls, namespace: str = "", patience: float = PATIENCE) -> "Cluster":
        """Use the pod's service account, or the current context of the kubeconfig.

        Args:
            namespace: The namespace; empty: the pod's own, or the context's.
            patience: Seconds for which calls are repeated.

        Raises:
            EngineError: If there is no cluster.
        """
        from kubernetes import config
        from kubernetes.client import ApiClient
        from yaml import YAMLError

        try:
            configuration, own = find_access()
        except (config.ConfigException, OSError, ValueError, YAMLError) as error:
            raise EngineError(
                f"Kubernetes: no cluster is configured ({error}); set KUBECONFIG, or run in a pod of the cluster"
            ) from None
        return cls(ApiClient(configuration), namespace or own, patience)

    def get(self, plural: str, name: str) -> dict[str, Any] | None:
        """A Katib object, or None if there is none of this name."""
        with contextlib.suppress(_NotFoundError):
            found: dict[str, Any] = self._call(self._custom.get_namespaced_custom_object, *self._place(plural), name)
            return found
        return None

    def find(self, plural: str, selector: str) -> list[dict[str, Any]]:
        """Katib objects by label."""
        answer: dict[str, Any] = self._call(
            self._custom.list_namespaced_custom_object, *self._place(plural), label_selector=selector
        )
        return list(answer["items"])

    def create(self, plural: str, document: Mapping[str, Any]) -> dict[str, Any] | None:
        """Create a Katib object; None if one of this name is there already.

        Raises:
            EngineError: If it is refused.
        """
        with contextlib.suppress(_ConflictError):
            made: dict[str, Any] = self._call(
                self._custom.create_namespaced_custom_object, *self._place(plural), dict(document)
            )
            return made
        return None

    def patch(self, plural: str, name: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Change fields of a Katib object; lists in it are replaced whole.

        Raises:
            EngineError: If the change is refused.
        """
        return self._call(self._custom.patch_namespaced_custom_object, *self._place(plural), name, dict(changes))

    def delete(self, plural: str, name: str) -> None:
        """Delete a Katib object and all that it owns; nothing happens if it is gone."""
        with contextlib.suppress(_NotFoundError):
            self._call(self._custom.delete_namespaced_custom_object, *self._place(plural), name)

    def deletion(self, plural: str, selector: str, *, again: bool) -> StopRequest:
        """The call that deletes Katib objects by label, for the stop guard.

        Args:
            plural: Their kind.
            selector: Their labels.
            again: Whether some may still be in the making.
        """
        settings = self._client.configuration
        host = urlsplit(settings.host)
        authorization = [setting for setting in settings.auth_settings().values() if setting["in"] == "header"]
        headers = {setting["key"]: setting["value"] for setting in authorization}
        folder = f"apis/{GROUP}/{VERSION}/namespaces/{self.namespace}/{plural}"
        return StopRequest(
            method="DELETE",
            url=f"{settings.host.rstrip('/')}/{folder}?{urlencode({'labelSelector': selector})}",
            headers={"Accept": "application/json", **headers},
            ca_file=settings.ssl_ca_cert or "",
            certificate_file=settings.cert_file or "",
            key_file=settings.key_file or "",
            verify=bool(settings.verify_ssl),
            server_name=settings.tls_server_name or "",
            proxy="" if _is_reached_directly(host.hostname or "", settings.no_proxy) else settings.proxy or "",
            proxy_headers=settings.proxy_headers or {},
            # A token that has just expired is another one in the next request.
            passing=("Unauthorized",),
            again=again,
        )

    def lacks_config_map(self, name: str) -> bool:
        """Whether there is no ConfigMap of this name; not, where we may not look."""
        try:
            self._call(self._core.read_namespaced_config_map, name, self.namespace)
        except _NotFoundError:
            return True
        except _ForbiddenError:
            return False
        return False

    def pods(self, selector: str) -> list[dict[str, Any]]:
        """Pods by label."""
        answer = self._call(self._core.list_namespaced_pod, self.namespace, label_selector=selector)
        return [self._plain(pod) for pod in answer.items]

    def job(self, name: str) -> dict[str, Any] | None:
        """A Job, or None if there is none of this name."""
        with contextlib.suppress(_NotFoundError):
            return self._plain(self._call(self._batch.read_namespaced_job, name, self.namespace))
        return None

    def warnings(self) -> list[dict[str, Any]]:
        """The namespace's latest warnings; none if we may not read events."""
        try:
            answer = self._call(self._core.list_namespaced_event, self.namespace, field_selector="type=Warning")
        except EngineError:
            return []
        return [self._plain(event) for event in answer.items]

    def log(self, pod: str, container: str, seconds: float | None = None, lines: int | None = None) -> str:
        """What a container wrote; empty if that cannot be read any more.

        Args:
            pod: The pod's name.
            container: The container's.
            seconds: Only what was written in the last so many.
            lines: Only the last so many.
        """
        limits: dict[str, Any] = {"container": container}
        if seconds is not None:
            limits["since_seconds"] = max(1, round(seconds))
        if lines is not None:
            limits["tail_lines"] = lines
        try:
            # Bytes, because the client would make Python of a log that looks like JSON.
            answer = self._core.read_namespaced_pod_log(
                pod, self.namespace, **limits, _preload_content=False, _request_timeout=CALL_TIMEOUT
            )
            return str(answer.data.decode("utf-8", errors="replace"))
        except Exception:
            # A log is a courtesy: the search does not depend on it.
            return ""

    def open_watch(self, plural: str, selector: str, version: str, seconds: int) -> Any:
        """The stream of changes since a resourceVersion, as urllib3's response.

        Raises:
            kubernetes.client.ApiException: If it cannot be opened.
        """
        options = {
            "label_selector": selector,
            "resource_version": version,
            "watch": True,
            "allow_watch_bookmarks": True,
            "timeout_seconds": seconds,
            "_preload_content": False,
            "_request_timeout": (CALL_TIMEOUT[0], seconds + 15),
        }
        if plural == "pods":
            return self._core.list_namespaced_pod(self.namespace, **options)
        return self._custom.list_namespaced_custom_object(*self._place(plural), **options)

    def snapshot(self, plural: str, selector: str) -> tuple[list[dict[str, Any]], str]:
        """Objects by label, and the resourceVersion from which to watch.

        Raises:
            kubernetes.client.ApiException: If they cannot be listed.
        """
        if plural == "pods":
            answer = self._core.list_namespaced_pod(
                self.namespace, label_selector=selector, _request_timeout=CALL_TIMEOUT
            )
            return [self._plain(pod) for pod in answer.items], str(answer.metadata.resource_version)
        found: dict[str, Any] = self._custom.list_namespaced_custom_object(
            *self._place(plural), label_selector=selector, _request_timeout=CALL_TIMEOUT
        )
        return list(found["items"]), str(found["metadata"]["resourceVersion"])

    def _place(self, plural: str) -> tuple[str, str, str, str]:
        return GROUP, VERSION, self.namespace, plural

    def _plain(self, value: Any) -> dict[str, Any]:
        plain: dict[str, Any] = self._client.sanitize_for_serialization(value)
        return plain

    def _call(self, function: Callable[..., Answer], *arguments: Any, **options: Any) -> Answer:
        """Make a call, and again after what passes."""
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        deadline = time.monotonic() + self._patience
        for pause in pauses(FIRST_PAUSE, LONGEST_PAUSE):
            try:
                return function(*arguments, **options, _request_timeout=CALL_TIMEOUT)
            except ApiException as error:
                if error.status not in PASSING_STATUSES or time.monotonic() + pause > deadline:
                    raise _translate(error, self.namespace) from None
                if error.status == 429:
                    pause = max(pause, float((error.headers or {}).get("Retry-After", 0)))
            except (HTTPError, OSError) as error:
                if time.monotonic() + pause > deadline:
                    raise EngineError(
                        f"Kubernetes: the API server has not answered for {duration(self._patience)} ({error}); the "
                        "Experiments continue without us: run the same again to attach to them"
                    ) from None
            time.sleep(pause)
        raise AssertionError("pauses never end")


def _is_reached_directly(host: str, no_proxy: str | None) -> bool:
    """Whether a list of exceptions from the proxy names a host."""
    names = [name.strip().lstrip(".") for name in (no_proxy or "").split(",")]
    return any(name == "*" or (name and (host == name or host.endswith(f".{name}"))) for name in names)


class _NotFoundError(EngineError):
    """An object, or a kind of object, that the cluster does not have."""

    code = "cluster-not-found"
    way_out = "See whether Katib is installed in the cluster, and whether the namespace and the object exist."


class _ConflictError(EngineError):
    """An object whose name is taken, or that was changed meanwhile."""

    code = "cluster-conflict"
    way_out = "Run the same again; if another run uses the same names, wait for its end."


class _ForbiddenError(EngineError):
    """A request that the cluster's access rules do not allow."""

    code = "cluster-forbidden"
    way_out = "Have the rights given that [Kubeflow](kubeflow.md) lists, or use another namespace."


def _translate(error: Any, namespace: str) -> EngineError:
    """An answer of the API server in our words."""
    import json

    try:
        message = json.loads(error.body)["message"]
    except (TypeError, ValueError, KeyError):
        message = str(error.reason)
    if error.status == 404:
        if "could not find the requested resource" in message or "page not found" in message:
            return EngineError(
                "Katib: the cluster does not know Experiments (kubeflow.org/v1beta1); install Katib, or use another "
                "engine"
            )
        return _NotFoundError(f"Kubernetes: {message}")
    if error.status == 409:
        return _ConflictError(f"Kubernetes: {message}")
    if error.status in (401, 403):
        return _ForbiddenError(
            f"Kubernetes: {message}; the launcher's service account in namespace {namespace} needs the Role of "
            "manifests/katib, or kubeflow-edit"
        )
    return EngineError(f"Kubernetes: {message}")
