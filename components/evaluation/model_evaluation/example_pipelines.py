"""How the component is used in a pipeline."""

from kfp import dsl


@dsl.pipeline  # type: ignore[untyped-decorator]
def model_evaluation_example(images: str = "s3://my-bucket/images") -> None:
    """Search, and continue only with a model that is good enough."""
    from kfp_image_tuning.components.data_processing.data_preparation import data_preparation
    from kfp_image_tuning.components.evaluation.model_evaluation import model_evaluation
    from kfp_image_tuning.components.training.local_tuning import local_tuning

    prepared = data_preparation(images=images)
    tuned = local_tuning(dataset=prepared.outputs["dataset"])
    model_evaluation(
        model=tuned.outputs["best_model"],
        dataset=prepared.outputs["dataset"],
        tuning_result=tuned.outputs["tuning_result"],
        min_accuracy=0.9,
    )
