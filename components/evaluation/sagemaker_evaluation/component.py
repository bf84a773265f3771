"""The KFP component that measures the best model of a SageMaker tuning job on test images that no trial saw."""

from typing import NamedTuple

from kfp import dsl

INSTALLED_EXTRAS = ("train", "sagemaker")


@dsl.component(base_image="pytorch/pytorch:2.9.1-cuda12.8-cudnn9-runtime", install_kfp_package=False)  # type: ignore[untyped-decorator]
def sagemaker_evaluation(
    model: dsl.Input[dsl.Model],
    dataset: dsl.Input[dsl.Dataset],
    tuning_result: dsl.Input[dsl.Artifact],
    evaluation: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    classification_metrics: dsl.Output[dsl.ClassificationMetrics],
    report: dsl.Output[dsl.HTML],
    # Options, made by `make generate`.
    min_accuracy: float = 0.0,
    baseline: str = "",
    mode: str = "transform",
    instance_type: str = "ml.m5.xlarge",
    # The end of what is made.
    role: str = "",
    bucket: str = "",
    region: str = "",
    run: str = "",
    run_id: str = "",
    nodes: int = 1,
    max_seconds: float = 0.0,
    sagemaker_options: dict = {},  # type: ignore[type-arg]  # noqa: B006  # KFP reads the default as JSON
) -> NamedTuple("Outputs", [("accuracy", float), ("passed", bool)]):  # type: ignore[valid-type]
    """Measure the best model of a SageMaker tuning job on the test images that no trial saw.

    A batch transform job predicts every image; the scores are computed here, as for any other engine's model. Where
    single images fail, the others are scored and the coverage is told. Offline, the model is run in this pod instead.

    Args:
        model: The model that SageMaker tuning left behind.
        dataset: The data set; its test split is used.
        tuning_result: The search that the model comes from.
        min_accuracy: Test accuracy below which the model does not pass, from 0 to 1; 0: every model passes.
        baseline: What must be beaten by more than noise: path or address of the evaluation.json of a model; empty:
            none.
        mode: Where the best model is tested: transform (by batch transform on SageMaker, as the algorithm serves it) or
            offline (the same network in this pod or on this machine).
        instance_type: Machine of the transform job; a processor is enough.
        role: ARN of the execution role that the transform job assumes; offline: none is needed.
        bucket: Where images and predictions are stored in S3: my-bucket, or s3://my-bucket/folder.
        region: AWS region; empty: that of the tuning job.
        run: Identity of the run: the same one finds its own transform job again; empty: Kubeflow's.
        run_id: Kubeflow's identity of the run; pipelines pass it on, so that no result of another run answers for this
            one when caching is on.
        nodes: Machines of the transform job.
        max_seconds: Seconds after which the transform job is stopped; 0: four hours.
        sagemaker_options: The same as of SageMaker tuning; what concerns training alone is left aside.

    Returns:
        evaluation: evaluation.json with every measure.
        metrics: The main numbers.
        classification_metrics: The confusion matrix.
        report: The whole run on one page.
        accuracy: Fraction of the test images that are classified right.
        passed: Whether the model is good enough.
    """
    given = dict(locals())
    from kfp_image_tuning.steps.plain_errors import plain_errors

    with plain_errors():
        from kfp_image_tuning.engines.sagemaker.request.config import SageMakerConfig
        from kfp_image_tuning.options.declared import GateOptions, TransformOptions
        from kfp_image_tuning.steps.sagemaker_evaluation import launch

        outcome = launch(
            SageMakerConfig.from_parameters(given, run_id=run_id),
            GateOptions.from_parameters(given),
            TransformOptions.from_parameters(given),
            model=model.path,
            dataset=dataset.path,
            tuning_result=tuning_result.path,
            evaluation=evaluation.path,
            report=report.path,
            machines=nodes,
            max_seconds=max_seconds,
        )
        for name, value in outcome.metrics.items():
            metrics.log_metric(name, value)
        classification_metrics.log_confusion_matrix(outcome.confusion_names, outcome.confusion_matrix)
        classification_metrics.log_roc_curve(*outcome.roc_curve)
    return outcome.accuracy, outcome.passed
