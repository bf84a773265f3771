"""The KFP component that searches hyperparameters by a tuning job on Amazon SageMaker."""

from typing import NamedTuple

from kfp import dsl

INSTALLED_EXTRAS = ("sagemaker",)


@dsl.component(base_image="python:3.11-slim", install_kfp_package=False)  # type: ignore[untyped-decorator]
def sagemaker_tuning(
    dataset: dsl.Input[dsl.Dataset],
    best_model: dsl.Output[dsl.Model],
    tuning_result: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    # Options, made by `make generate`.
    role: str,
    bucket: str,
    search_space: dict = {},  # type: ignore[type-arg]  # noqa: B006  # KFP reads the default as JSON
    preset: str = "documented",
    strategy: str = "bayesian",
    search_mode: str = "conditional",
    epochs: int = 0,
    stop_bad_trials: bool = True,
    seed: int = 0,
    initial_model: str = "",
    max_trials: int = 20,
    parallel_trials: int = 0,
    max_seconds: float = 0.0,
    target_accuracy: float = 0.0,
    patience: int = 0,
    max_failed_trials: int = -1,
    region: str = "",
    data: str = "",
    run: str = "",
    sagemaker_options: dict = {},  # type: ignore[type-arg]  # noqa: B006  # KFP reads the default as JSON
    # The end of what is made.
    run_id: str = "",
) -> NamedTuple("Outputs", [("best_objective", float), ("best_hyperparameters", dict), ("best_trial", str)]):  # type: ignore[valid-type]
    """Search the hyperparameters of an image classifier with a tuning job on Amazon SageMaker.

    The tuning job's trials train with the built-in Image Classification algorithm. A pod that is started again takes up
    the tuning job that it has started before; a pod that is told to end stops it.

    Args:
        dataset: The data set that data preparation wrote.
        role: ARN of the execution role that training and transform jobs assume.
        bucket: Where data and models are stored in S3: my-bucket, or s3://my-bucket/folder.
        search_space: Changes to the preset's ranges by hyperparameter, such as {"learning_rate": {"min": 1e-4, "max":
            0.1}, "optimizer": ["sgd", "adam"], "momentum": 0.9}.
        preset: Where the ranges come from: documented (AWS's ranges exactly) or practical (within them, without what
            never works).
        strategy: How the next trial is chosen: bayesian, random, grid or hyperband.
        search_mode: What is tuned: conditional (a trial gets what its optimizer uses) or flat (every trial gets
            everything, and ignores the rest).
        epochs: Epochs of every trial; 0: the search space's, or the algorithm's default of 30.
        stop_bad_trials: Whether trials that do worse than others at the same point are ended early.
        seed: Seed of the search and of every trial's training.
        initial_model: Model that every trial starts from: a folder or .tar.gz of one, a path or an s3://, gs:// or
            https:// address; with use_pretrained_model 1 in the search space, its last layer starts from scratch;
            empty: none.
        max_trials: Trials in all.
        parallel_trials: Trials at a time; 0: as many as the engine has room for.
        max_seconds: Wall time of the search, in seconds; 0: no limit.
        target_accuracy: Validation accuracy that is good enough to stop, from 0 to 1; 0: none.
        patience: Trials in a row without a better one that end the search, at least 3; 0: no limit.
        max_failed_trials: Failed trials that are tolerated; -1: a quarter of the trials, at least 3.
        region: AWS region, such as us-east-1; empty: from the environment (AWS_REGION).
        data: Folder where trials find the prepared data set already: in a store, or on a volume claim, that they reach;
            empty: it is brought there.
        run: Identity of the run: the same one finds what it has started again; empty: Kubeflow's.
        sagemaker_options: Everything else about the tuning job, such as {"instance_type": "ml.g5.xlarge", "spot":
            true}. Fields, which docs/reference.md describes: region, name_prefix, instance_type, nodes, volume_gb,
            instance_configs, instance_configs.instance_type, instance_configs.nodes, instance_configs.volume_gb,
            max_trial_seconds, pending_timeout_seconds, max_seconds, spot, max_wait_seconds, checkpoints,
            retry_attempts, subnets, security_groups, volume_kms_key, output_kms_key, network_isolation,
            encrypt_traffic, tags, env, input_mode, content, channels, shard_data, manifest_attributes,
            manifest_label_format, initial_model, warm_start, warm_start.parents, warm_start.kind, autotune,
            auto_parameters, early_stopping, stop_on_convergence, hyperband_min_epochs, image, on_stopped, assume_role,
            endpoint_url, poll_seconds.
        run_id: Kubeflow's identity of the run; pipelines pass it on, so that no result of another run answers for this
            one when caching is on.

    Returns:
        best_model: The best trial's model: model.tar.gz as the algorithm left it; in its metadata its place in S3,
            hyperparameters (JSON text), objective_metric and objective_value.
        tuning_result: result.json with the search and every trial.
        metrics: Validation accuracy of the best trial, and what the search cost.
        best_objective: Validation accuracy of the best trial.
        best_hyperparameters: The best trial's hyperparameters.
        best_trial: The best trial's name.
    """
    given = dict(locals())
    from kfp_image_tuning.steps.plain_errors import plain_errors

    with plain_errors():
        from kfp_image_tuning.engines.sagemaker.request.config import SageMakerConfig
        from kfp_image_tuning.steps.sagemaker_tuning import launch
        from kfp_image_tuning.steps.tuning_settings import TuningSettings

        outcome = launch(
            TuningSettings.from_parameters(given),
            SageMakerConfig.from_parameters(given, run_id=run_id),
            dataset=dataset.path,
            model=best_model.path,
            result=tuning_result.path,
        )
        best_model.metadata.update(outcome.model_metadata)
        for name, value in outcome.metrics.items():
            metrics.log_metric(name, value)
    return outcome.best_objective, outcome.best_hyperparameters, outcome.best_trial
