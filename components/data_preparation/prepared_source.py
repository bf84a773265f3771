"""Data sets that have been prepared already, as a source: they are taken over as they are."""

import json
from pathlib import Path

from kfp_image_tuning.components.data_preparation.remote import RemoteSource
from kfp_image_tuning.dataset.document import DOCUMENT_NAME, Dataset
from kfp_image_tuning.tuning.errors import DocumentError


def find_prepared(uri: str) -> Dataset | None:
    """The description of a prepared data set in an object store; None if the folder holds none.

    Args:
        uri: ``s3://``, ``gs://`` or ``minio://``; of others nothing is known before they are downloaded.

    Raises:
        DatasetError: If the store cannot be read.
        DocumentError: If the description is damaged or of an unknown version.
    """
    source = RemoteSource(uri)
    if not source.can_list:
        return None
    content = source.read_small(DOCUMENT_NAME)
    if content is None:
        return None
    try:
        document = json.loads(content)
    except ValueError as error:
        raise DocumentError(f"{uri}/{DOCUMENT_NAME}: is no JSON ({error}); prepare the data set again") from None
    return Dataset.from_document(document, Path(uri))
