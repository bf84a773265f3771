"""Places on volume claims, ``pvc://CLAIM/folder``: where this process sees them.

A pod is told what it mounts by a variable that compiling a pipeline sets from a team's values file; Kubernetes tells a
container its mounts, but not the claims behind them.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from kfp_image_tuning.core.errors import StoreError

SCHEME = "pvc://"
CLAIMS_VARIABLE = "KFP_IMAGE_TUNING_CLAIMS"
"""JSON: ``{"pvc://CLAIM/folder": "/where/it/is/mounted", …}``."""


def is_on_claim(place: str) -> bool:
    """Whether a place is named by its volume claim."""
    return place.startswith(SCHEME)


def find_mounted(place: str, environment: Mapping[str, str] = os.environ) -> Path | None:
    """Where this process sees a place on a claim; None if nothing says that it does.

    Args:
        place: ``pvc://CLAIM/folder``.
        environment: Variables.
    """
    mounts: Mapping[str, str] = json.loads(environment.get(CLAIMS_VARIABLE, "{}"))
    parts = place.rstrip("/").split("/")
    if ".." in parts:
        return None
    # The innermost folder that is mounted holds it.
    for length in range(len(parts), 2, -1):
        if mount := mounts.get("/".join(parts[:length])):
            return Path(mount, *parts[length:])
    return None


def mounted_path(place: str) -> str:
    """A place that is named by its claim as the path at which this process sees it; any other place as it is.

    Args:
        place: A path or an address.

    Raises:
        StoreError: If this process does not see that claim.
    """
    if not is_on_claim(place):
        return place
    if (found := find_mounted(place)) is not None:
        return str(found)
    raise StoreError(f"{place}: {_way_out(place)}")


def _way_out(place: str) -> str:
    claim = place.removeprefix(SCHEME).partition("/")[0] or "CLAIM"
    if "KFP_POD_NAME" not in os.environ:
        return (
            "is on a volume claim, which only pods see that mount it; give the path at which it is mounted here, or "
            "copy it here (kubectl cp)"
        )
    mounts = json.loads(os.environ.get(CLAIMS_VARIABLE, "{}"))
    seen = f"sees of claims only {', '.join(sorted(mounts))}" if mounts else "mounts no claim"
    return (
        f"the step {seen}; compile the pipeline with --values FILE, and in that file "
        f"all: {{volume_claims: [{{claim: {claim}, mount_path: /mnt/{claim}}}]}}"
    )
