"""The KFP component that searches hyperparameters by a tuning job on Amazon SageMaker."""

from typing import NamedTuple

from kfp import dsl

INSTALLED_EXTRAS = ("sagemaker",)


@dsl.component(base_image="python:3.11-slim", install_kfp_package=False)  # type: ignore[untyped-decorator]
def sagemaker_tuning(
    dataset: dsl.Input[dsl.Dataset],
    role: str,
    bucket: str,
    best_model: dsl.Output[dsl.Model],
    tuning_result: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    search_space: dict = {},  # type: ignore[type-arg]  # noqa: B006  # KFP reads the default as JSON
    preset: str = "documented",
    strategy: str = "bayesian",
    search_mode: str = "conditional",
    max_trials: int = 20,
    parallel_trials: int = 0,
    epochs: int = 0,
    max_seconds: float = 0.0,
    target_accuracy: float = 0.0,
    patience: int = 0,
    max_failed_trials: int = -1,
    stop_bad_trials: bool = True,
    seed: int = 0,
    region: str = "",
    data: str = "",
    run: str = "",
    run_id: str = "",
    sagemaker_options: dict = {},  # type: ignore[type-arg]  # noqa: B006  # KFP reads the default as JSON
) -> NamedTuple("Outputs", [("best_objective", float), ("best_hyperparameters", dict), ("best_trial", str)]):  # type: ignore[valid-type]
    """Search the hyperparameters of an image classifier with a tuning job on Amazon SageMaker.

    The tuning job's trials train with the built-in Image Classification algorithm. A pod that is started again takes up
    the tuning job that it has started before; a pod that is told to end stops it.

    Args:
        dataset: The data set that data preparation wrote.
        role: ARN of the execution role that the training jobs assume.
        bucket: Where data and models lie in S3: my-bucket, or s3://my-bucket/folder.
        search_space: Changes to the preset's ranges by hyperparameter: {"min": 1e-4, "max": 0.1}, a list of choices, or
            a fixed value.
        preset: documented (AWS's ranges exactly) or practical (within them, without what never works).
        strategy: bayesian, random, grid or hyperband.
        search_mode: conditional (a trial gets what its optimizer uses) or flat (everything, and ignores the rest).
        max_trials: Trials in all.
        parallel_trials: Trials at a time; 0: as many as the usual quota allows and the strategy learns from.
        epochs: Epochs of every trial; 0: the algorithm's default, or the search space's.
        max_seconds: Wall time of the search; 0: no limit.
        target_accuracy: Validation accuracy that is good enough to stop, 0 to 1; 0: none.
        patience: Trials in a row without a better one that end the search; 0: no limit.
        max_failed_trials: Failed trials that are tolerated; -1: a quarter of max_trials, at least 3.
        stop_bad_trials: Whether trials that do worse than others at the same point are ended early.
        seed: Seed of the search.
        region: AWS region, such as us-east-1; empty: from the pod's environment (AWS_REGION).
        data: S3 folder in which this data set lies already; empty: it is sent to the bucket.
        run: Identity of the run: the same one finds its own tuning job again; empty: Kubeflow's.
        run_id: Kubeflow's identity of the run; pipelines pass it on, so that no result of another run answers for this
            one when caching is on.
        sagemaker_options: Everything else about the tuning job, such as {"instance_type": "ml.g5.xlarge"} or
            {"spot": true}; docs/sagemaker.md lists them.

    Returns:
        best_model: The best trial's model: model.tar.gz as the algorithm left it; in its metadata its place in S3,
            hyperparameters (JSON text), objective_metric and objective_value.
        tuning_result: result.json with the search and every trial.
        metrics: Validation accuracy of the best trial, and what the search cost.
        best_objective: Validation accuracy of the best trial.
        best_hyperparameters: The best trial's hyperparameters.
        best_trial: The best trial's name.
    """
    from kfp_image_tuning.steps.plain_errors import plain_errors

    with plain_errors():
        from kfp_image_tuning.engines.sagemaker.request.job_options import Account
        from kfp_image_tuning.steps.sagemaker_tuning import launch
        from kfp_image_tuning.steps.tuning_settings import TuningSettings

        outcome = launch(
            TuningSettings(
                search_space=search_space,
                preset=preset,
                strategy=strategy,
                search_mode=search_mode,
                max_trials=max_trials,
                parallel_trials=parallel_trials,
                epochs=epochs,
                max_seconds=max_seconds,
                target_accuracy=target_accuracy,
                patience=patience,
                max_failed_trials=max_failed_trials,
                stop_bad_trials=stop_bad_trials,
                seed=seed,
            ),
            Account(
                role=role,
                bucket=bucket,
                region=region,
                run=run,
                run_id=run_id,
                more=sagemaker_options,
                data=data,
            ),
            dataset=dataset.path,
            model=best_model.path,
            result=tuning_result.path,
        )
        best_model.metadata.update(outcome.model_metadata)
        for name, value in outcome.metrics.items():
            metrics.log_metric(name, value)
    return outcome.best_objective, outcome.best_hyperparameters, outcome.best_trial
