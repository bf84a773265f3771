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
    prior: str = "auto",
    initial_model: str = "",
    work_directory: str = "",
    run_id: str = "",
) -> NamedTuple("Outputs", [("best_objective", float), ("best_hyperparameters", dict), ("best_trial", str)]):  # type: ignore[valid-type]
    """Search the hyperparameters of an image classifier with the embedded engine, in this pod.

    Trials train side by side, one on each processor or GPU; bad ones are ended early.

    Args:
        dataset: The data set that data preparation wrote.
        search_space: Changes to the preset's ranges by hyperparameter: {"min": 1e-4, "max": 0.1}, a list of choices, or
            a fixed value.
        preset: documented (AWS's ranges exactly) or practical (within them, without what never works).
        strategy: bayesian, random, grid or hyperband.
        search_mode: conditional (a trial gets what its optimizer uses) or flat (everything, and ignores the rest).
        max_trials: Trials in all.
        parallel_trials: Trials at a time; 0: as many as there are processors or GPUs.
        epochs: Epochs of every trial; 0: the algorithm's default, or the search space's.
        max_seconds: Wall time of the search; 0: no limit.
        target_accuracy: Validation accuracy that is good enough to stop, 0 to 1; 0: none.
        patience: Trials in a row without a better one that end the search; 0: no limit.
        max_failed_trials: Failed trials that are tolerated; -1: a quarter of max_trials, at least 3.
        stop_bad_trials: Whether trials that do worse than others at the same point are ended early.
        seed: Seed of the search and of every trial's training.
        prior: auto (bayesian and hyperband look first where values are usually good, but for ranges of the search
            space) or none (they search every range evenly).
        initial_model: Model that every trial starts from: a folder or .tar.gz of one, a path or an s3://, gs:// or
            https:// address; empty: none. With use_pretrained_model 1 in the search space, its last layer starts anew.
        work_directory: Folder on a volume that outlives the pod, so that a restarted run goes on with the search;
            empty: beside the run's artifacts.
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
    from kfp_image_tuning.steps.plain_errors import plain_errors

    with plain_errors():
        from kfp_image_tuning.steps.local_tuning import launch
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
            dataset=dataset.path,
            model=best_model.path,
            result=tuning_result.path,
            prior=prior,
            initial_model=initial_model,
            work_directory=work_directory,
            artifact=best_model.uri,
            artifact_store=dataset.metadata.get("store_session_info", ""),
            run_id=run_id,
        )
        best_model.metadata.update(outcome.model_metadata)
        for name, value in outcome.metrics.items():
            metrics.log_metric(name, value)
    return outcome.best_objective, outcome.best_hyperparameters, outcome.best_trial
