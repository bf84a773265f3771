"""The evaluation of the model that has to be beaten: a file, or an address in an object store or on the web."""

import tempfile
from pathlib import Path

from kfp_image_tuning.core.errors import DocumentError
from kfp_image_tuning.core.object_store import is_remote
from kfp_image_tuning.core.remote_source import RemoteSource
from kfp_image_tuning.core.volume_claims import mounted_path
from kfp_image_tuning.evaluation.evaluation import Evaluation


def load_baseline(place: str) -> Evaluation:
    """Read ``evaluation.json``.

    Args:
        place: A path, or an ``s3://``, ``gs://``, ``minio://`` or ``https://`` address.

    Raises:
        DocumentError: If there is none, or it is not an evaluation of a known version and form.
        DatasetError: If the store does not deliver.
    """
    place = mounted_path(place)
    if not is_remote(place):
        return Evaluation.load(Path(place))
    source = RemoteSource(place)
    item = source.look_up()
    with tempfile.TemporaryDirectory() as directory:
        files = source.download([item], Path(directory), lambda _line: None)
        if item.key not in files:
            raise DocumentError(f"{source.uri}: there is no such file; give the address of an evaluation.json")
        return Evaluation.load(files[item.key])
