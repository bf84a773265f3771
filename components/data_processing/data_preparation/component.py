"""The KFP component that turns labelled images into a data set of record files."""

from typing import NamedTuple

from kfp import dsl

INSTALLED_EXTRAS = ("parquet",)


@dsl.component(base_image="python:3.11-slim", install_kfp_package=False)  # type: ignore[untyped-decorator]
def data_preparation(
    data: str,
    dataset: dsl.Output[dsl.Dataset],
    image_shape: str = "auto",
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
    shards: int = 1,
    max_invalid_images: str = "1%",
    seed: int = 0,
    work_directory: str = "",
    source_fingerprint: str = "",  # noqa: ARG001  # KFP looks cached results up by it
) -> NamedTuple("Outputs", [("num_classes", int), ("num_training_samples", int)]):  # type: ignore[valid-type]
    """Turn labelled images into training, validation and test sets in RecordIO, the form that every engine reads.

    Splits are stratified and seeded, copies of an image never cross them, and an image that cannot be read is skipped
    and listed.

    Args:
        data: Where the images are: a folder of class folders, a zip or tar of one, a CSV or Parquet file, or .rec
            files; a path, or an s3://, gs://, minio://, https:// or pvc:// address.
        image_shape: Channels, height and width that the network sees, such as 3,224,224; auto: chosen by the images.
        validation_fraction: Fraction of the images on which trials are compared.
        test_fraction: Fraction of the images that no trial sees, for the evaluation.
        shards: Number of files that the training images are written to.
        max_invalid_images: Unreadable images that are tolerated: a percentage such as 1%, or a number of images
            such as 20.
        seed: Seed of the split.
        work_directory: Folder on a volume that outlives the pod, so that a restarted run need not prepare again; empty:
            none.
        source_fingerprint: What changes when the images change: output of preflight, so that with caching on the same
            images are not prepared twice and changed ones are.

    Returns:
        dataset: The data set: dataset.json with train, validation and test record files.
        num_classes: Number of classes.
        num_training_samples: Number of training images.
    """
    from kfp_image_tuning.steps.plain_errors import plain_errors

    with plain_errors():
        from kfp_image_tuning.steps.data_preparation import launch

        prepared = launch(
            data,
            dataset.path,
            image_shape=image_shape,
            validation_fraction=validation_fraction,
            test_fraction=test_fraction,
            shards=shards,
            max_invalid_images=max_invalid_images,
            seed=seed,
            work_directory=work_directory,
        )
        dataset.metadata.update(prepared.metadata)
    return prepared.num_classes, prepared.num_training_samples
