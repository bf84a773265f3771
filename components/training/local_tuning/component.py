"""The KFP component that searches hyperparameters within one pod (or on one machine), on its processors or GPU."""

from typing import NamedTuple

from kfp import dsl

INSTALLED_EXTRAS = ("local",)


@dsl.component(base_image="pytorch/pytorch:2.9.1-cuda12.8-cudnn9-runtime", install_kfp_package=False)  # type: ignore[untyped-decorator]
def local_tuning(
    dataset: dsl.Input[dsl.Dataset],
    best_model: dsl.Output[dsl.Model],
    tuning_result: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    # Options, made by `make generate`.
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
    prior: str = "auto",
    work_directory: str = "",
    # The end of what is made.
    run_id: str = "",
) -> NamedTuple("Outputs", [("best_objective", float), ("best_hyperparameters", dict), ("best_trial", str)]):  # type: ignore[valid-type]
    """Search the hyperparameters of an image classifier with the embedded engine, in this pod.

    Trials train side by side, one on each processor or GPU; bad ones are ended early.

    Args:
        dataset: The data set that data preparation wrote.
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
        prior: Where the search looks first: auto (with bayesian and hyperband where values are usually good, in ranges
            that you do not give) or none (evenly everywhere).
        work_directory: Folder on a volume that outlives the pod, so that a restarted run continues with the search;
            pipelines write the run's identity in place of {run}; empty: beside the run's artifacts.
        run_id: Kubeflow's identity of the run; pipelines pass it on, so that no result of another run answers for this
            one when caching is on.

    Returns:
        best_model: The best trial's model: model.safetensors and model.json; in its metadata hyperparameters (JSON
            text), objective_metric and objective_value.
        tuning_result: result.json with the search and every trial.
        metrics: Validation accuracy of the best trial, and what the search cost.
        best_objective: Validation accuracy of the best trial.
        best_hyperparameters: The best trial's hyperparameters.
        best_trial: The best trial's name.
    """
    given = dict(locals())
    from kfp_image_tuning.steps.plain_errors import plain_errors

    with plain_errors():
        from kfp_image_tuning.options.declared import LocalOptions
        from kfp_image_tuning.steps.local_tuning import launch
        from kfp_image_tuning.steps.tuning_settings import TuningSettings

        outcome = launch(
            TuningSettings.from_parameters(given),
            LocalOptions.from_parameters(given),
            dataset=dataset.path,
            model=best_model.path,
            result=tuning_result.path,
            artifact=best_model.uri,
            artifact_store=dataset.metadata.get("store_session_info", ""),
            run_id=run_id,
        )
        best_model.metadata.update(outcome.model_metadata)
        for name, value in outcome.metrics.items():
            metrics.log_metric(name, value)
    return outcome.best_objective, outcome.best_hyperparameters, outcome.best_trial
