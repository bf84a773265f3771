"""How the component is used in a pipeline."""

from kfp import dsl


@dsl.pipeline  # type: ignore[untyped-decorator]
def local_tuning_example(images: str = "s3://my-bucket/images") -> None:
    """Search in one pod, on its GPU."""
    from kfp_image_tuning.components.data_processing.data_preparation import data_preparation
    from kfp_image_tuning.components.training.local_tuning import local_tuning

    prepared = data_preparation(images=images)
    tuned = local_tuning(dataset=prepared.outputs["dataset"], max_trials=30, target_accuracy=0.95)
    tuned.set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(1)
