"""How the component is used in a pipeline."""

from kfp import dsl


@dsl.pipeline  # type: ignore[untyped-decorator]
def data_preparation_example(images: str = "s3://my-bucket/images") -> None:
    """Prepare images, with a fifth of them for the evaluation."""
    from kfp_image_tuning.components.data_processing.data_preparation import data_preparation

    data_preparation(images=images, test_fraction=0.2)
