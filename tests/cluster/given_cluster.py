"""A cluster that KUBECONFIG names (kind, k3s, a real one), in place of a control plane of our own.

It must be one for tests: Katib's kinds, a node without a machine and webhooks are put into it, and taken out again.
Its API server must reach this machine, at KFP_IMAGE_TUNING_CALLBACK (for kind, the gateway of Docker's network
``kind``), for the webhooks and the logs of pods.
"""

from pathlib import Path
from typing import Any

import yaml
from kubernetes import client

from tests.cluster.control_plane import connect


class GivenCluster:
    """A cluster that somebody else looks after.

    Attributes:
        kubeconfig: For the administrator.
        audit_log: None: it is not ours to read.
        access: How to reach the API server, in a kubeconfig's form.
    """

    audit_log: Path | None = None

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        document: dict[str, Any] = yaml.safe_load(kubeconfig.read_text())
        current = next(c["context"] for c in document["contexts"] if c["name"] == document["current-context"])
        self.access = next(c["cluster"] for c in document["clusters"] if c["name"] == current["cluster"])

    def client(self) -> client.ApiClient:
        """A connection as administrator."""
        return connect(self.kubeconfig)

    def close(self) -> None:
        """It continues."""
