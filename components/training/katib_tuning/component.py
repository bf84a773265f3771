"""The KFP component that searches hyperparameters with Katib, in GPU pods of the cluster that it runs in."""

from typing import NamedTuple

from kfp import dsl

INSTALLED_EXTRAS = ("katib",)


@dsl.component(  # type: ignore[untyped-decorator]
    base_image="python:3.11-slim",
    install_kfp_package=False,
    task_config_passthroughs=[
        dsl.TaskConfigField.RESOURCES,
        dsl.TaskConfigField.KUBERNETES_TOLERATIONS,
        dsl.TaskConfigField.KUBERNETES_NODE_SELECTOR,
        dsl.TaskConfigField.KUBERNETES_AFFINITY,
        dsl.TaskConfigPassthrough(field=dsl.TaskConfigField.ENV, apply_to_task=True),
        dsl.TaskConfigPassthrough(field=dsl.TaskConfigField.KUBERNETES_VOLUMES, apply_to_task=True),
    ],
)
def katib_tuning(
    dataset: dsl.Input[dsl.Dataset],
    best_model: dsl.Output[dsl.Model],
    tuning_result: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    task_config: dsl.TaskConfig,
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
    gpus: int = 1,
    storage: str = "",
    storage_mount: str = "",
    data: str = "",
    run: str = "",
    run_id: str = "",
    katib_options: dict = {},  # type: ignore[type-arg]  # noqa: B006  # KFP reads the default as JSON
) -> NamedTuple("Outputs", [("best_objective", float), ("best_hyperparameters", dict), ("best_trial", str)]):  # type: ignore[valid-type]
    """Search the hyperparameters of an image classifier with Katib: every trial is a pod of the cluster.

    A pod that is started again takes up the Experiments that it has started before; one that is told to end deletes
    them. What trials have reached lies beside their models, so that a task that is repeated trains nothing twice.
    Resources, tolerations, node selector, affinity, environment and volumes that are set on this task are the
    trials'.

    Args:
        dataset: The data set that data preparation wrote.
        task_config: What is set on this task; KFP fills it in.
        search_space: Changes to the preset's ranges by hyperparameter: {"min": 1e-4, "max": 0.1}, a list of choices, or
            a fixed value.
        preset: documented (AWS's ranges exactly) or practical (within them, without what never works).
        strategy: bayesian, random, grid or hyperband.
        search_mode: conditional (one Experiment for each optimizer, with what it uses) or flat (one Experiment; trials
            ignore the rest).
        max_trials: Trials in all.
        parallel_trials: Trials at a time; 0: three, or one for each Experiment.
        epochs: Epochs of every trial; 0: the algorithm's default, or the search space's.
        max_seconds: Wall time of the search; 0: no limit.
        target_accuracy: Validation accuracy that is good enough to stop, 0 to 1; 0: none.
        patience: Trials in a row without a better one that end the search; 0: no limit.
        max_failed_trials: Failed trials that are tolerated; -1: a quarter of max_trials, at least 3.
        stop_bad_trials: Whether trials that do worse than others at the same point are ended early (medianstop).
        seed: Seed of the search and of every trial's training.
        gpus: GPUs of each trial; 0: none.
        storage: Where trials read images and leave models: s3://, gs:// or minio://bucket/folder, or
            pvc://claim/folder; empty: the store of the pipeline's artifacts.
        storage_mount: Where this pod sees that folder, if it is on a volume claim; empty: as the pipeline was compiled.
        data: Where the trials find this data set already, in the same forms; empty: it is in storage, or brought there.
        run: Identity of the run: the same one finds its own Experiments again; empty: Kubeflow's.
        run_id: Kubeflow's identity of the run; pipelines pass it on, so that no result of another run answers for this
            one when caching is on.
        katib_options: Everything else, such as {"algorithm": "tpe", "pods": {"memory": "16Gi", "queue": "gpus"}};
            docs/katib.md lists them.

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
        from kfp_image_tuning.steps.katib_placement import Placement
        from kfp_image_tuning.steps.katib_tuning import launch
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
            Placement(
                storage=storage,
                storage_mount=storage_mount,
                data=data,
                artifact=dataset.uri,
                artifact_store=dataset.metadata.get("store_session_info", ""),
                gpus=gpus,
                run=run,
                run_id=run_id,
                more=katib_options,
                task_config=vars(task_config),
            ),
            dataset=dataset.path,
            model=best_model.path,
            result=tuning_result.path,
        )
        best_model.metadata.update(outcome.model_metadata)
        for name, value in outcome.metrics.items():
            metrics.log_metric(name, value)
    return outcome.best_objective, outcome.best_hyperparameters, outcome.best_trial
