"""The pipeline on a cluster: images → data set → best model by Katib's trial pods → evaluation.

Parameters carry the prefix of the step that they belong to, because the KFP console sorts them by name.
"""

from kfp import dsl

from kfp_image_tuning.components.evaluation.model_evaluation import model_evaluation
from kfp_image_tuning.components.training.katib_tuning import katib_tuning
from kfp_image_tuning.core.store_address import KUBEFLOW_SECRET
from kfp_image_tuning.pipelines.step_resources import NO_ACCELERATORS, NO_LIMIT, limit
from kfp_image_tuning.pipelines.steps import ImageTuningOutputs, check, collect, evaluate, prepare, search
from kfp_image_tuning.pipelines.store_access import reach_own_store, reach_stores


@dsl.pipeline(  # type: ignore[untyped-decorator]
    name="image-tuning-katib",
    display_name="Image classification tuning, with Katib",
    description="Prepare labelled images, search a classifier's hyperparameters in GPU pods, evaluate the best model.",
)
def image_tuning_katib(
    data_images: str,
    data_image_shape: str = "auto",
    data_validation_fraction: float = 0.1,
    data_test_fraction: float = 0.1,
    data_shards: int = 1,
    data_max_invalid_images: str = "1%",
    data_seed: int = 0,
    data_work_directory: str = "",
    data_secret: str = KUBEFLOW_SECRET,
    data_cpu: str = NO_LIMIT,
    data_memory: str = NO_LIMIT,
    tune_search_space: dict = {},  # type: ignore[type-arg]  # noqa: B006  # KFP reads the default as JSON
    tune_preset: str = "documented",
    tune_strategy: str = "bayesian",
    tune_search_mode: str = "conditional",
    tune_max_trials: int = 20,
    tune_parallel_trials: int = 0,
    tune_epochs: int = 0,
    tune_max_seconds: float = 0.0,
    tune_target_accuracy: float = 0.0,
    tune_patience: int = 0,
    tune_max_failed_trials: int = -1,
    tune_stop_bad_trials: bool = True,
    tune_seed: int = 0,
    tune_gpus: int = 1,
    tune_storage: str = "",
    tune_storage_mount: str = "",
    tune_data: str = "",
    tune_run: str = "",
    tune_katib_options: dict = {},  # type: ignore[type-arg]  # noqa: B006  # KFP reads the default as JSON
    eval_min_accuracy: float = 0.0,
    eval_baseline: str = "",
    eval_cpu: str = NO_LIMIT,
    eval_memory: str = NO_LIMIT,
    eval_accelerator: str = "",
    eval_accelerator_count: str = NO_ACCELERATORS,
) -> ImageTuningOutputs:
    """Prepare images, search in GPU pods of the cluster, evaluate the best model.

    Args:
        data_images: Where the images are: a folder of class folders, a zip or tar of one, a CSV or Parquet file, or
            .rec files; a path, or an s3://, gs://, minio://, https:// or pvc:// address.
        data_image_shape: Channels, height and width that the network sees, such as 3,224,224; auto: chosen by the
            images.
        data_validation_fraction: Fraction of the images on which trials are compared.
        data_test_fraction: Fraction of the images that no trial sees, for the evaluation.
        data_shards: Number of files that the training images are written to.
        data_max_invalid_images: Unreadable images that are tolerated: a percentage such as 1%, or a number of images
            such as 20.
        data_seed: Seed of the split.
        data_work_directory: Folder on a volume that outlives the pod, so that a restarted run need not prepare again;
            {run} in it stands for the run; empty: none.
        data_secret: Secret with the keys of the object store where the images are: accesskey and secretkey, or
            AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_ENDPOINT_URL, AWS_REGION), or key.json for gs://; the
            default is that of Kubeflow's own store.
        data_cpu: Processors of the pod that prepares images, such as 4; 0: no limit.
        data_memory: Its memory, such as 16Gi; 0: no limit.
        tune_search_space: Changes to the preset's ranges by hyperparameter: {"min": 1e-4, "max": 0.1}, a list of
            choices, or a fixed value.
        tune_preset: documented (AWS's ranges exactly) or practical (within them, without what never works).
        tune_strategy: bayesian, random, grid or hyperband.
        tune_search_mode: conditional (one Experiment for each optimizer, with what it uses) or flat (one Experiment;
            trials ignore the rest).
        tune_max_trials: Trials in all.
        tune_parallel_trials: Trials at a time; 0: three, or one for each Experiment.
        tune_epochs: Epochs of every trial; 0: the algorithm's default, or the search space's.
        tune_max_seconds: Wall time of the search; 0: no limit.
        tune_target_accuracy: Validation accuracy that is good enough to stop, 0 to 1; 0: none.
        tune_patience: Trials in a row without a better one that end the search; 0: no limit.
        tune_max_failed_trials: Failed trials that are tolerated; -1: a quarter of tune_max_trials, at least 3.
        tune_stop_bad_trials: Whether trials that do worse than others at the same point are ended early
            (medianstop).
        tune_seed: Seed of the search and of every trial's training.
        tune_gpus: GPUs of each trial; 0: none.
        tune_storage: Where trials read images and leave models: s3://, gs:// or minio://bucket/folder, or
            pvc://claim/folder; empty: the store of the pipeline's artifacts.
        tune_storage_mount: Where the tuning step's pod sees that folder, if it is on a claim; empty: as compiled.
        tune_data: Where trials find the prepared data set already, in the same forms; empty: it is brought there.
        tune_run: Identity of the run: the same one finds its own Experiments again; empty: Kubeflow's.
        tune_katib_options: Everything else, such as {"algorithm": "tpe", "pods": {"memory": "16Gi", "queue": "gpus"}};
            docs/katib.md lists them.
        eval_min_accuracy: Test accuracy below which the model does not pass; 0: every model passes.
        eval_baseline: Path or address of the evaluation.json of a model that must be beaten by more than noise;
            empty: none.
        eval_cpu: Processors of the pod that evaluates, such as 4; 0: no limit.
        eval_memory: Its memory, such as 16Gi; 0: no limit.
        eval_accelerator: What its GPUs are called on the nodes, such as nvidia.com/gpu; empty: none.
        eval_accelerator_count: How many, such as 1.

    Returns:
        dataset: The data set: dataset.json with train, validation and test record files.
        best_model: The best trial's model: model.safetensors and model.json.
        tuning_result: result.json with the search and every trial.
        evaluation: evaluation.json with every measure on the test images.
        report: The whole run on one page.
        best_hyperparameters: The best trial's hyperparameters.
        accuracy: Fraction of the test images that are classified right.
        passed: Whether the model is good enough.
    """
    checked = check("katib", dict(locals()))
    reach_stores(checked, data_secret)
    prepared = prepare(
        checked,
        data=data_images,
        image_shape=data_image_shape,
        validation_fraction=data_validation_fraction,
        test_fraction=data_test_fraction,
        shards=data_shards,
        max_invalid_images=data_max_invalid_images,
        seed=data_seed,
    )
    reach_stores(prepared, data_secret)
    limit(prepared, cpu=data_cpu, memory=data_memory)
    tuned = search(
        katib_tuning,
        dataset=prepared.outputs["dataset"],
        search_space=tune_search_space,
        preset=tune_preset,
        strategy=tune_strategy,
        search_mode=tune_search_mode,
        max_trials=tune_max_trials,
        parallel_trials=tune_parallel_trials,
        epochs=tune_epochs,
        max_seconds=tune_max_seconds,
        target_accuracy=tune_target_accuracy,
        patience=tune_patience,
        max_failed_trials=tune_max_failed_trials,
        stop_bad_trials=tune_stop_bad_trials,
        seed=tune_seed,
        gpus=tune_gpus,
        storage=tune_storage,
        storage_mount=tune_storage_mount,
        data=tune_data,
        run=tune_run,
        katib_options=tune_katib_options,
    )
    # Where the trials' models lie if no other storage is given.
    reach_own_store(tuned)
    evaluated = evaluate(
        model_evaluation,
        prepared,
        tuned,
        secret=data_secret,
        min_accuracy=eval_min_accuracy,
        baseline_evaluation=eval_baseline,
    )
    limit(
        evaluated,
        cpu=eval_cpu,
        memory=eval_memory,
        accelerator=eval_accelerator,
        accelerator_count=eval_accelerator_count,
    )
    return collect(prepared, tuned, evaluated)
