"""The Katib engine: trials are pods of a cluster, and Katib decides what they try."""

from dataclasses import replace
from pathlib import Path

from kfp_image_tuning.engines.katib.request.options import KatibOptions
from kfp_image_tuning.engines.katib.request.planning import KatibPlan, plan_search
from kfp_image_tuning.engines.katib.session.cluster import Cluster
from kfp_image_tuning.engines.katib.session.model_store import ModelStore
from kfp_image_tuning.engines.katib.session.session import KatibSession
from kfp_image_tuning.search.search import Search


class KatibEngine:
    """Runs trials in a cluster with Katib.

    Args:
        options: Where and how.
        model_directory: Gets the best trial's model.
        models_mount: Where this process sees the folder of ``options.output_uri``, if that is on a volume.
        cluster: The connection; None: the pod's own cluster, or that of the kubeconfig.
    """

    def __init__(
        self,
        options: KatibOptions,
        model_directory: Path,
        *,
        models_mount: Path | None = None,
        cluster: Cluster | None = None,
    ) -> None:
        self._options = options
        self._model_directory = model_directory
        self._model_store = ModelStore(options, models_mount)
        self._cluster = cluster

    def plan(self, search: Search) -> KatibPlan:
        """Make and check the documents."""
        plan = plan_search(search, self._options)
        if self._model_store.is_seen:
            return plan
        note = (
            f"the best model stays where its trial leaves it ({self._options.output_uri}), and nothing is kept for a "
            "next attempt when the Experiments are gone; mount it here to collect it"
        )
        return replace(plan, warnings=(*plan.warnings, note))

    def start(self, plan: KatibPlan) -> KatibSession:
        """The session of a plan."""
        cluster = self._cluster or Cluster.connect(self._options.namespace)
        return KatibSession(plan, self._options, self._model_store, self._model_directory, cluster)
