"""The KFP component that measures a model on test images that no trial saw, and says whether it is good enough."""

from typing import NamedTuple

from kfp import dsl

INSTALLED_EXTRAS = ("train",)


@dsl.component(base_image="pytorch/pytorch:2.9.1-cuda12.8-cudnn9-runtime", install_kfp_package=False)  # type: ignore[untyped-decorator]
def model_evaluation(
    model: dsl.Input[dsl.Model],
    dataset: dsl.Input[dsl.Dataset],
    evaluation: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    classification_metrics: dsl.Output[dsl.ClassificationMetrics],
    report: dsl.Output[dsl.HTML],
    tuning_result: dsl.Input[dsl.Artifact] = None,  # KFP makes an object of what stands here
    # Options, made by `make generate`.
    min_accuracy: float = 0.0,
    baseline: str = "",
    # The end of what is made.
    run_id: str = "",  # KFP looks cached results up by it
) -> NamedTuple("Outputs", [("accuracy", float), ("passed", bool)]):  # type: ignore[valid-type]
    """Measure a model on the test images: accuracy with its interval, scores of each class, confusion, calibration.

    Args:
        model: The model that tuning left behind.
        dataset: The data set; its test split is used.
        tuning_result: The search that the model comes from, for the report.
        min_accuracy: Test accuracy below which the model does not pass, from 0 to 1; 0: every model passes.
        baseline: What must be beaten by more than noise: path or address of the evaluation.json of a model; empty:
            none.
        run_id: Kubeflow's identity of the run; pipelines pass it on, so that no result of another run answers for this
            one when caching is on.

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
        from kfp_image_tuning.options.declared import GateOptions
        from kfp_image_tuning.steps.model_evaluation import launch

        outcome = launch(
            GateOptions.from_parameters(given),
            model=model.path,
            dataset=dataset.path,
            evaluation=evaluation.path,
            report=report.path,
            tuning_result=tuning_result.path if tuning_result else "",
        )
        for name, value in outcome.metrics.items():
            metrics.log_metric(name, value)
        classification_metrics.log_confusion_matrix(outcome.confusion_names, outcome.confusion_matrix)
        classification_metrics.log_roc_curve(*outcome.roc_curve)
    return outcome.accuracy, outcome.passed
