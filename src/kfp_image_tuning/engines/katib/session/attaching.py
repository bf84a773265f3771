"""Starts a search's Experiments, or attaches to those that an earlier attempt of the same run has started.

The names are the run's, so the API server itself keeps a second search from starting. A fingerprint tells our own
Experiments from foreign ones, and a label finds what an earlier attempt with other settings has left behind. What is
left of a search whose Experiments are gone stands in `search_record`.
"""

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kfp_image_tuning.core.errors import EngineError
from kfp_image_tuning.core.installed_code import config_map_name, install_command
from kfp_image_tuning.core.wording import duration
from kfp_image_tuning.engines.katib.request.names import COUNTS, FINGERPRINT_ANNOTATION, RUN_LABEL
from kfp_image_tuning.engines.katib.request.validation import find_update_problems
from kfp_image_tuning.engines.katib.session.cluster import OWN_NAMESPACE, Cluster

LONGEST_GOING = 120.0
"""Seconds that an Experiment which is being deleted may take to go."""


@dataclass(frozen=True)
class Launched:
    """What runs now.

    Attributes:
        experiments: The Experiments as the API server has them.
        attached: Names of those that were there already.
        notes: What a reader should know.
    """

    experiments: tuple[Mapping[str, Any], ...]
    attached: tuple[str, ...]
    notes: tuple[str, ...]


def find_present(cluster: Cluster, documents: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Find the Experiments of a run that are there already, by name.

    Args:
        cluster: Where.
        documents: All Experiments of the run.

    Raises:
        EngineError: If something else stands in their place.
    """
    found = {document["metadata"]["name"]: _find_own(cluster, document) for document in documents}
    return {name: experiment for name, experiment in found.items() if experiment is not None}


def remove_others(cluster: Cluster, documents: Sequence[Mapping[str, Any]]) -> list[str]:
    """Delete what an earlier attempt of a run, with other settings, has left running; returns what to tell of it.

    Args:
        cluster: Where.
        documents: All Experiments of the run.
    """
    run, wanted = documents[0]["metadata"]["labels"][RUN_LABEL], {entry["metadata"]["name"] for entry in documents}
    names = [found["metadata"]["name"] for found in cluster.find("experiments", f"{RUN_LABEL}={run}")]
    others = [name for name in names if name not in wanted]
    for name in others:
        cluster.delete("experiments", name)
    return [f"Experiment {name} of an earlier attempt is removed" for name in others]


def launch(
    cluster: Cluster, documents: Sequence[Mapping[str, Any]], present: Mapping[str, Mapping[str, Any]]
) -> Launched:
    """Bring the cluster to what the documents say.

    Args:
        cluster: Where.
        documents: Experiments.
        present: `find_present`'s answer: before anything is made, since a foreign Experiment in one place must not
            leave half a search in the others.

    Raises:
        EngineError: If something else stands in their place, or the cluster refuses them.
    """
    notes: list[str] = []
    owner = launcher_pod(cluster)
    experiments, attached = [], []
    for document in documents:
        name = document["metadata"]["name"]
        found: Mapping[str, Any] | None = present.get(name)
        if found is None:
            found = cluster.create("experiments", _owned(document, owner))
        if found is None:
            # Made between our look and our call, or by our own call whose answer was lost.
            found = _find_own(cluster, document)
        elif name in present:
            attached.append(name)
        if found is None:
            raise EngineError(f"Experiment {name}: went while it was being started; run the same again")
        if name in attached:
            found, more = _bring_up_to_date(cluster, found, document, owner)
            notes += more
        experiments.append(found)
    return Launched(tuple(experiments), tuple(attached), tuple(notes))


def check_installation(cluster: Cluster) -> None:
    """See that trials will find our code, before anything is started.

    Raises:
        EngineError: If the ConfigMap with it is not there.
    """
    if cluster.lacks_config_map(config_map_name()):
        raise EngineError(
            f"ConfigMap {config_map_name()}, which has the code of trials, is not in namespace {cluster.namespace}; "
            f"put it there: {install_command(cluster.namespace)}. Or name an image that holds it (image)"
        )


def launcher_pod(cluster: Cluster) -> dict[str, Any] | None:
    """The pod that this process runs in, as an owner: Experiments go when it is deleted. None outside of a pod."""
    name, uid = os.environ.get("KFP_POD_NAME"), os.environ.get("KFP_POD_UID")
    own = OWN_NAMESPACE.read_text().strip() if OWN_NAMESPACE.exists() else os.environ.get("KFP_POD_NAMESPACE", "")
    # An owner in another namespace would count as gone, and take the Experiments with it at once.
    if not name or not uid or own != cluster.namespace:
        return None
    return {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}


def _find_own(cluster: Cluster, document: Mapping[str, Any]) -> dict[str, Any] | None:
    """The Experiment in a document's place, if it is the same search.

    Raises:
        EngineError: If it is another one.
    """
    metadata = document["metadata"]
    name = metadata["name"]
    deadline = time.monotonic() + LONGEST_GOING
    while True:
        found = cluster.get("experiments", name)
        if found is None:
            return None
        theirs = found["metadata"]
        if (theirs.get("labels") or {}).get(RUN_LABEL) != metadata["labels"][RUN_LABEL]:
            raise EngineError(
                f"Experiment {name}: there is one of this name in namespace {cluster.namespace} that this project has "
                "not made; choose another run or name_prefix, or delete it"
            )
        if not theirs.get("deletionTimestamp"):
            break
        if time.monotonic() > deadline:
            raise EngineError(
                f"Experiment {name}: does not go in {duration(LONGEST_GOING)}; see what its finalizers wait for"
            )
        time.sleep(1)
    if (theirs.get("annotations") or {}).get(FINGERPRINT_ANNOTATION) != metadata["annotations"][FINGERPRINT_ANNOTATION]:
        raise EngineError(
            f"Experiment {name}: belongs to the same run, but searches something else; give the new search another "
            f"run, or delete it (kubectl delete experiment {name} -n {cluster.namespace})"
        )
    return found


def _bring_up_to_date(
    cluster: Cluster, found: Mapping[str, Any], document: Mapping[str, Any], owner: dict[str, Any] | None
) -> tuple[dict[str, Any], list[str]]:
    """Make an Experiment that was there ours: this pod owns it now, and it has this budget."""
    name = document["metadata"]["name"]
    changes: dict[str, Any] = {}
    notes: list[str] = []
    if owner is not None and found["metadata"].get("ownerReferences") != [owner]:
        # The pod of the earlier attempt would take the Experiment with it when it is cleaned up.
        changes["metadata"] = {"ownerReferences": [owner]}
    counts = {name: document["spec"][name] for name in COUNTS if document["spec"][name] != found["spec"].get(name)}
    if counts:
        changed = {**found, "spec": {**found["spec"], **counts}}
        if problems := find_update_problems(found, changed):
            notes.append(f"Experiment {name} keeps its old budget: {'; '.join(problems)}")
        else:
            changes["spec"] = counts
    updated = cluster.patch("experiments", name, changes) if changes else dict(json.loads(json.dumps(found)))
    return updated, notes


def _owned(document: Mapping[str, Any], owner: dict[str, Any] | None) -> dict[str, Any]:
    metadata = dict(document["metadata"])
    if owner is not None:
        metadata["ownerReferences"] = [owner]
    return {**document, "metadata": metadata}
