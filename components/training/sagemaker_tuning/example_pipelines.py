"""How the component is used in a pipeline."""

from kfp import dsl


@dsl.pipeline  # type: ignore[untyped-decorator]
def sagemaker_tuning_example(images: str, role: str, bucket: str) -> None:
    """Search with a tuning job on Spot machines of Amazon SageMaker."""
    from kfp_image_tuning.components.data_processing.data_preparation import data_preparation
    from kfp_image_tuning.components.training.sagemaker_tuning import sagemaker_tuning

    prepared = data_preparation(images=images)
    sagemaker_tuning(dataset=prepared.outputs["dataset"], role=role, bucket=bucket, sagemaker_options={"spot": True})
