"""How the component is used in a pipeline."""

from kfp import dsl


@dsl.pipeline  # type: ignore[untyped-decorator]
def katib_tuning_example(images: str = "s3://my-bucket/images") -> None:
    """Search with Katib; what is set on the task is set on the trials' pods."""
    from kfp_image_tuning.components.data_processing.data_preparation import data_preparation
    from kfp_image_tuning.components.training.katib_tuning import katib_tuning

    prepared = data_preparation(images=images)
    tuned = katib_tuning(dataset=prepared.outputs["dataset"], max_trials=30, parallel_trials=4, gpus=1)
    tuned.set_memory_limit("16Gi")
