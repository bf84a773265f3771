"""How the component is used in a pipeline."""

from kfp import dsl


@dsl.pipeline  # type: ignore[untyped-decorator]
def preflight_example(images: str = "s3://my-bucket/images") -> None:
    """Check a run's parameters, and prepare images only if they are right."""
    from kfp_image_tuning.components.data_processing.data_preparation import data_preparation
    from kfp_image_tuning.components.data_processing.preflight import preflight

    checked = preflight(engine="local", run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER, data_images=images)
    data_preparation(images=images, source_fingerprint=checked.outputs["source_fingerprint"])
