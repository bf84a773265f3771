"""A data set, or images, on a volume claim: where this machine sees what pods name ``pvc://CLAIM/FOLDER``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kfp_image_tuning.core.errors import ParameterError
from kfp_image_tuning.engines.katib.request.locations import Location


def storage_of(data: str, options: Mapping[str, Any]) -> str:
    """The folder for models, ``--storage``; without, that in which the data is.

    Raises:
        ParameterError: If the data's address has another form.
    """
    return str(options.get("storage") or Location.parse("--data", data).parent.uri)


def seen_here(data: str, options: Mapping[str, Any]) -> Path:
    """Where this machine sees a place on a claim.

    Args:
        data: ``pvc://CLAIM/FOLDER``.
        options: The command line's, by their names.

    Raises:
        ParameterError: If it does not see it, or the address has another form.
    """
    place = Location.parse("--data", data)
    if options.get("engine", "local") != "katib":
        raise ParameterError(
            f"--data: {place.uri} is a place for pods of --engine katib; with another engine give the path at which "
            "the claim is mounted here"
        )
    storage = Location.parse("--storage", storage_of(data, options))
    mount = options.get("storage_mount")
    if not mount:
        raise ParameterError(
            f"--data: {place.uri} is on a volume claim, which this machine does not see; mount it here and say where "
            f"{storage.uri} is with --storage-mount, copy it here (kubectl cp), or plan and apply the Experiments, "
            "which needs neither"
        )
    inside = f"{place.uri}/".removeprefix(f"{storage.uri}/")
    if not storage.is_volume or inside == f"{place.uri}/":
        raise ParameterError(
            f"--data: {place.uri} is not in {storage.uri}, whose folder here is {mount}; give a --storage on the "
            f"same claim that holds it, such as {place.parent.uri}"
        )
    folder = Path(mount).expanduser() / inside.strip("/")
    if not folder.exists():
        raise ParameterError(
            f"--storage-mount: {folder} is not there, where {place.uri} should be seen; give the folder at which "
            f"{storage.uri} is mounted"
        )
    return folder
