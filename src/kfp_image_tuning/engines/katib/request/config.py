"""Where in a cluster a search runs and what its trials read, from the few words that users give."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from kfp_image_tuning.core.errors import EngineOptionsError
from kfp_image_tuning.core.object_forms import find_misfits, restore_whole_numbers
from kfp_image_tuning.core.store_address import find_address
from kfp_image_tuning.core.volume_claims import find_mounted, is_on_claim
from kfp_image_tuning.engines.katib.request.locations import Location
from kfp_image_tuning.engines.katib.request.options import TITLE, KatibOptions, TrialPodOptions
from kfp_image_tuning.options.declared import KatibPlaceOptions
from kfp_image_tuning.search.search import Search

_DECIDED_HERE = ("data", "output_uri", "run")
_IDENTITY_LENGTH = 16
_DELIVERY_VARIABLES = {
    "image": "KFP_IMAGE_TUNING_IMAGE",
    "package": "KFP_IMAGE_TUNING_PACKAGE",
    "base_image": "KFP_IMAGE_TUNING_BASE_IMAGE",
    "packages_index": "PIP_INDEX_URL",
    "trusted_host": "PIP_TRUSTED_HOST",
}
"""Field of a trial's pod to the variable of the step's own environment that has its value."""


@dataclass(frozen=True, kw_only=True)
class KatibConfig(KatibPlaceOptions):
    """What users say about the cluster.

    Attributes:
        artifact: Address of the KFP artifact; on this machine, a path.
        artifact_store: What Kubeflow says about that artifact's store (``store_session_info``); empty: nothing.
        run_id: Kubeflow's identity of the run; empty outside of it.
        task_config: What was set on the KFP task, as plain data.
    """

    artifact: str = ""
    artifact_store: str = ""
    run_id: str = ""
    task_config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def data_in_place(self) -> str:
        """Where pods find the data set already; empty: it must be brought to the storage."""
        return self.data or ("" if self.storage else _without_query(self.artifact))

    @property
    def folder(self) -> str:
        """The folder for everything; that of the data set where none is given.

        Raises:
            EngineOptionsError: If neither is a place that pods reach.
        """
        if self.storage:
            return Location.parse("storage", self.storage).uri
        if "://" in self.data_in_place:
            return Location.parse("data", self.data_in_place).parent.uri
        raise EngineOptionsError(
            "storage: trials run in other pods, which do not see this machine's files; give a folder that they reach, "
            "such as s3://my-bucket/images, gs://…, minio://… or pvc://CLAIM/folder"
        )

    @property
    def mount(self) -> Path | None:
        """Where this process sees the folder for everything, if that is on a volume claim that it mounts."""
        if self.storage_mount:
            return Path(self.storage_mount)
        return find_mounted(self.folder) if is_on_claim(self.folder) else None

    def data_location(self, fingerprint: str) -> str:
        """Where trials find the data set.

        Args:
            fingerprint: The data set's.
        """
        identity = fingerprint.removeprefix("sha256:")[:_IDENTITY_LENGTH]
        return self.data_in_place or f"{self.folder}/datasets/{identity}"

    def to_repeat(self) -> Self:
        """What to ask for to run the same search from elsewhere; what was set on the KFP task is among the options."""
        more = restore_whole_numbers(self.katib_options)
        pods = replace(TrialPodOptions(**more.get("pods", {})), gpus=self.gpus).with_task_config(self.task_config)
        usual = TrialPodOptions(gpus=pods.gpus)
        if asked := {name: value for name, value in vars(pods).items() if value != getattr(usual, name)}:
            more["pods"] = asked
        # The folder, because the images that are prepared again are not where the trials have read them.
        return replace(self, storage=self.folder, gpus=pods.gpus, katib_options=more)

    def options(self, search: Search, initial_model: str | None = None) -> KatibOptions:
        """The engine's options; a task that Kubeflow starts again gets the same run, another search another one.

        Args:
            search: The search.
            initial_model: What every trial starts from.

        Raises:
            EngineOptionsError: With everything that is unknown, missing or given twice.
        """
        more = restore_whole_numbers(self.katib_options)
        if problems := find_misfits(KatibOptions, more, TITLE):
            raise EngineOptionsError.from_problems(problems)
        pods: Mapping[str, Any] = more.get("pods", {})
        problems = [
            f"katib_options: {name} is decided elsewhere (storage, data, run); leave it out"
            for name in _DECIDED_HERE
            if name in more
        ]
        if "gpus" in pods:
            problems.append("katib_options: pods.gpus is given by gpus; leave it out")
        if initial_model and "initial_model" in more:
            problems.append("katib_options: initial_model is given twice; give it as initial_model alone")
        if initial_model and "://" not in initial_model and not initial_model.startswith("/"):
            problems.append(
                f"initial_model: {initial_model!r} is a path of this machine, which trials do not see; give an "
                "address such as s3://my-bucket/model, or an absolute path on a volume that their pods mount"
            )
        if problems:
            raise EngineOptionsError.from_problems(problems)
        run = self.run
        if not run and self.run_id:
            run = f"{self.run_id}/{search.fingerprint[:8]}"
        options = KatibOptions.from_dict(
            {
                **more,
                "data": self.data_location(search.dataset.fingerprint),
                "output_uri": f"{self.folder}/models",
                "run": run or "",
                **({"initial_model": initial_model} if initial_model else {}),
                "pods": {**_own_delivery(pods), **pods, "gpus": self.gpus},
            }
        )
        options = replace(options, pods=options.pods.with_task_config(self.task_config))
        return self._with_store(options)

    def _with_store(self, options: KatibOptions) -> KatibOptions:
        """Add what Kubeflow says about the store, as far as the user does not: pods of Katib see none of it."""
        uri = next((uri for uri in (options.data, options.output_uri) if not uri.startswith("pvc://")), "")
        # What this process's variables say need not be true elsewhere.
        shared = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        found = find_address(
            uri,
            endpoint_url=options.endpoint_url,
            region=options.region,
            session_info=self.artifact_store,
            artifact=_without_query(self.artifact),
            environment=shared,
        )
        own_secret = bool(options.credentials_secret)
        return replace(
            options,
            endpoint_url=found.endpoint,
            region=found.region,
            credentials_secret=options.credentials_secret or found.secret,
            credentials_keys=options.credentials_keys or ({} if own_secret else found.secret_keys),
        )


def _own_delivery(pods: Mapping[str, Any]) -> dict[str, str]:
    """How this step got our code, for trials: `pipelines.delivery` has said it in the environment.

    Args:
        pods: What the user says of trials' pods; an image or a package there takes the place of ours.
    """
    given = {name: os.environ.get(variable, "") for name, variable in _DELIVERY_VARIABLES.items()}
    if any(pods.get(name) for name in ("image", "package")):
        given["image"] = given["package"] = ""
    if pods.get("image"):
        given["base_image"] = ""
    return {name: value for name, value in given.items() if value}


def _without_query(uri: str) -> str:
    """An artifact's address without the store's settings, which Kubeflow may have put behind it."""
    return uri.partition("?")[0]
