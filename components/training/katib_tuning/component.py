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
    gpus: int = 1,
    storage: str = "",
    storage_mount: str = "",
    data: str = "",
    run: str = "",
    katib_options: dict = {},  # type: ignore[type-arg]  # noqa: B006  # KFP reads the default as JSON
    # The end of what is made.
    run_id: str = "",
) -> NamedTuple("Outputs", [("best_objective", float), ("best_hyperparameters", dict), ("best_trial", str)]):  # type: ignore[valid-type]
    """Search the hyperparameters of an image classifier with Katib: every trial is a pod of the cluster.

    A pod that is started again attaches to the Experiments that it has started before; one that is told to end deletes
    them. What trials have reached is beside their models, so that a task that is repeated trains nothing twice.
    Resources, tolerations, node selector, affinity, environment and volumes that are set on this task are the
    trials'.

    Args:
        dataset: The data set that data preparation wrote.
        task_config: What is set on this task; KFP fills it in.
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
        gpus: GPUs of each trial; 0: none.
        storage: Where trials read images and leave models: s3://, gs:// or minio://BUCKET/FOLDER, or
            pvc://CLAIM/FOLDER; empty: beside the data set, if pods reach that.
        storage_mount: Where this machine, or the tuning step's pod, sees the folder of storage if that is on a volume
            claim; empty: as the pipeline was compiled.
        data: Folder where trials find the prepared data set already: in a store, or on a volume claim, that they reach;
            empty: it is brought there.
        run: Identity of the run: the same one finds what it has started again; empty: Kubeflow's.
        katib_options: Everything else, such as {"algorithm": "tpe", "pods": {"memory": "16Gi", "queue": "gpus"}}.
            Fields, which docs/reference.md describes: initial_model, namespace, name_prefix, algorithm,
            algorithm_settings, resume_policy, keep_experiments, pending_timeout_seconds, orphan_timeout_seconds,
            credentials_secret, credentials_keys, endpoint_url, region, pods, pods.kind, pods.image, pods.base_image,
            pods.package, pods.packages_index, pods.trusted_host, pods.gpu_resource, pods.nodes, pods.runtime, pods.cpu,
            pods.memory, pods.shared_memory, pods.scratch, pods.node_selector, pods.tolerations, pods.affinity,
            pods.priority_class, pods.service_account, pods.image_pull_secrets, pods.queue, pods.istio,
            pods.max_trial_seconds, pods.user, pods.env, pods.volumes, pods.volume_mounts, pods.labels,
            pods.annotations.
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
        from kfp_image_tuning.engines.katib.request.config import KatibConfig
        from kfp_image_tuning.steps.katib_tuning import launch
        from kfp_image_tuning.steps.tuning_settings import TuningSettings

        outcome = launch(
            TuningSettings.from_parameters(given),
            KatibConfig.from_parameters(
                given,
                artifact=dataset.uri,
                artifact_store=dataset.metadata.get("store_session_info", ""),
                run_id=run_id,
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
