"""ConfigMaps that pods of the backend find in a real namespace, read again whenever a pod looks for one."""

import base64
from collections.abc import Iterator, Mapping

from kubernetes import client


class ConfigMaps(Mapping[str, Mapping[str, Mapping[str, str | bytes]]]):
    """All ConfigMaps of a namespace.

    Args:
        api: The connection.
        namespace: The namespace.
    """

    def __init__(self, api: client.ApiClient, namespace: str) -> None:
        self._core, self._namespace = client.CoreV1Api(api), namespace

    def __getitem__(self, name: str) -> Mapping[str, Mapping[str, str | bytes]]:
        try:
            found = self._core.read_namespaced_config_map(name, self._namespace)
        except client.ApiException as error:
            if error.status == 404:
                raise KeyError(name) from None
            raise
        binary = {key: base64.b64decode(text) for key, text in (found.binary_data or {}).items()}
        return {"data": found.data or {}, "binaryData": binary}

    def __iter__(self) -> Iterator[str]:
        return iter(item.metadata.name for item in self._core.list_namespaced_config_map(self._namespace).items)

    def __len__(self) -> int:
        return sum(1 for _ in self)
