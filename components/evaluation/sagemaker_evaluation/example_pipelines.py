"""How the component is used in a pipeline."""

from kfp import dsl


@dsl.pipeline  # type: ignore[untyped-decorator]
def sagemaker_evaluation_example(images: str, role: str, bucket: str) -> None:
    """Search on Amazon SageMaker, and measure the best model there."""
    from kfp_image_tuning.components.data_processing.data_preparation import data_preparation
    from kfp_image_tuning.components.evaluation.sagemaker_evaluation import sagemaker_evaluation
    from kfp_image_tuning.components.training.sagemaker_tuning import sagemaker_tuning

    prepared = data_preparation(images=images)
    tuned = sagemaker_tuning(dataset=prepared.outputs["dataset"], role=role, bucket=bucket)
    sagemaker_evaluation(
        model=tuned.outputs["best_model"],
        dataset=prepared.outputs["dataset"],
        tuning_result=tuned.outputs["tuning_result"],
        role=role,
        bucket=bucket,
    )
