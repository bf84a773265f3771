"""The KFP component that turns labelled images into a data set of record files."""

from typing import NamedTuple

from kfp import dsl

INSTALLED_EXTRAS = ("parquet",)


@dsl.component(base_image="python:3.11-slim", install_kfp_package=False)  # type: ignore[untyped-decorator]
def data_preparation(
    dataset: dsl.Output[dsl.Dataset],
    # Options, made by `make generate`.
    images: str,
    image_shape: str = "auto",
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
    shards: int = 1,
    max_invalid_images: str = "1%",
    seed: int = 0,
    encoding: str = "auto",
    quality: int = 95,
    training_margin: float = -1.0,
    splits: str = "",
    classes_from: str = "",
    image_column: str = "",
    label_column: str = "",
    split_column: str = "",
    label_separator: str = "",
    folder: str = "",
    extension: str = "",
    class_names: str = "",
    classes: str = "",
    merge: str = "",
    group_by: str = "",
    allow_empty_classes: bool = False,
    work_directory: str = "",
    # The end of what is made.
    source_fingerprint: str = "",  # KFP looks cached results up by it
) -> NamedTuple("Outputs", [("num_classes", int), ("num_training_samples", int)]):  # type: ignore[valid-type]
    """Turn labelled images into training, validation and test sets in RecordIO, the form that every engine reads.

    Splits are stratified and seeded, copies of an image never cross them, and an image that cannot be read is skipped
    and listed.

    Args:
        images: Where the images are: a folder of class folders, a zip or tar of one, a table of images (CSV, JSON
            Lines, Parquet, .lst, .manifest), .rec files, or a data set that is prepared already; a path, or an s3://,
            gs://, minio://, https:// or pvc:// address.
        image_shape: Channels, height and width that the network sees, such as 3,224,224; auto: chosen by the images.
        validation_fraction: Fraction of the images on which trials are compared, from 0 to 1.
        test_fraction: Fraction of the images that no trial sees, for the evaluation, from 0 to 1.
        shards: Number of files that the training images are written to.
        max_invalid_images: Unreadable images that are tolerated: a number such as 20, or a percentage such as 1%.
        seed: Seed of the split.
        encoding: How images are stored: auto (PNG up to 64 pixels, else JPEG), jpeg or png.
        quality: Quality of stored JPEG images, at most 100.
        training_margin: How much larger training images are stored than the image shape, from 0 to 1; -1: 1/7 where
            nine of ten images are so large, else 0.
        splits: The folders that are the splits, such as train=fold1,train=fold2,test=fold3; others are not read; empty:
            by the folders' names.
        classes_from: Which of nested folders name the classes: top, leaf, or the folder whose folders are the classes;
            empty: by the layout, which must tell.
        image_column: The table's column with the images' file names; empty: by the columns' names.
        label_column: The table's column with the classes; empty: by the columns' names.
        split_column: The table's column with the splits; empty: by the columns' names.
        label_separator: What stands between several labels of an image in a table; empty: |.
        folder: The folder that a table's file names are relative to, itself relative to the table's folder; empty:
            found out.
        extension: What a table's file names lack, such as .jpg; empty: found out.
        class_names: Names for classes that the source only numbers, by number, with commas between them; empty: the
            source's.
        classes: The classes to keep, with commas between them; empty: all.
        merge: Classes to rename or merge, such as puppy=dog,hound=dog; empty: none.
        group_by: Images that belong together, such as those of one patient or video, stay in one split: the table's
            column that says it, or a regular expression whose first group is found in their names; empty: each image by
            itself.
        allow_empty_classes: Accept classes without an image to train on.
        work_directory: Folder on a volume that outlives the pod, so that a restarted run need not prepare again;
            pipelines write the run's identity in place of {run}; empty: none.
        source_fingerprint: What changes when the images change: output of preflight, so that with caching on the same
            images are not prepared twice and changed ones are.

    Returns:
        dataset: The data set: dataset.json with train, validation and test record files.
        num_classes: Number of classes.
        num_training_samples: Number of training images.
    """
    given = dict(locals())
    from kfp_image_tuning.steps.plain_errors import plain_errors

    with plain_errors():
        from kfp_image_tuning.options.declared import ImageOptions
        from kfp_image_tuning.steps.data_preparation import launch

        prepared = launch(ImageOptions.from_parameters(given), dataset.path)
        dataset.metadata.update(prepared.metadata)
    return prepared.num_classes, prepared.num_training_samples
