"""Data sets that have been prepared already, as a source: they are used as they are."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from kfp_image_tuning.core.errors import DatasetError, DocumentError
from kfp_image_tuning.core.object_store import is_remote
from kfp_image_tuning.core.remote_source import RemoteSource
from kfp_image_tuning.dataset.document import DOCUMENT_NAME, Dataset
from kfp_image_tuning.preparation.workspace import Workspace


def find_prepared(data: str) -> Dataset | None:
    """The description of the prepared data set at a place; None if there is none.

    Args:
        data: A folder, or ``s3://``, ``gs://`` or ``minio://``; of other addresses nothing is known before a download.

    Raises:
        DatasetError: If the store cannot be read.
        DocumentError: If the description is damaged or of an unknown version.
    """
    if not is_remote(data):
        folder = Path(data).expanduser()
        return Dataset.load(folder) if (folder / DOCUMENT_NAME).is_file() else None
    source = RemoteSource(data)
    content = source.read_small(DOCUMENT_NAME) if source.can_list else None
    if content is None:
        return None
    try:
        document = json.loads(content)
    except ValueError as error:
        raise DocumentError(
            f"{source.uri}/{DOCUMENT_NAME}: is not valid JSON ({error}); prepare the data set again"
        ) from None
    return Dataset.from_dict(document, Path(data))


def take_over(prepared: Dataset, data: str, workspace: Workspace, say: Callable[[str], object]) -> None:
    """Copy a prepared data set into the workspace, and check it.

    Args:
        prepared: Its description.
        data: Where it is.
        workspace: Where to.
        say: Takes a line now and then.

    Raises:
        DatasetError: If it is not whole, or not what its description says.
    """
    shards = [shard for split in prepared.splits.values() for shard in split.shards]
    names = [DOCUMENT_NAME, *(name for shard in shards for name in (shard.record, shard.index, shard.list))]
    counts = ", ".join(f"{split.images:,} {name}" for name, split in prepared.splits.items())
    say(f"Prepared already: {counts} images; used as they are, with their split and their order")
    files = _fetch(names, data, workspace, say)
    for name in names:
        target = workspace.data / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(files[name], target)
    Dataset.load(workspace.data).verify()


def _fetch(names: list[str], data: str, workspace: Workspace, say: Callable[[str], object]) -> dict[str, Path]:
    if not is_remote(data):
        files = {name: Path(data).expanduser() / name for name in names}
        missing = [name for name, path in files.items() if not path.is_file()]
    else:
        source = RemoteSource(data)
        objects = {item.key.removeprefix(source.key).strip("/"): item for item in source.list()}
        missing = [name for name in names if name not in objects]
        files = {}
        if not missing:
            paths = source.download([objects[name] for name in names], workspace.downloads, say)
            missing = [name for name in names if objects[name].key not in paths]
            files = {name: paths[objects[name].key] for name in names if name not in missing}
    if missing:
        raise DatasetError(
            f"{data}: is a data set that is not whole, {', '.join(missing[:5])} {'is' if len(missing) == 1 else 'are'} "
            "missing; copy it again, or give the images that it was prepared from"
        )
    return files
